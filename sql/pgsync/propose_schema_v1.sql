-- Stores a schema that came over HTTP until somebody with DDL rights pushes it. Sending the same one again changes nothing; the last
-- twenty are kept. Only a secret key with every right may: a schema is the whole database's matter.
-- Raises: PS305 for any other credential.
-- SECURITY DEFINER: proposals are private.
CREATE OR REPLACE FUNCTION pgsync.propose_schema_v1(p_identity jsonb, p_hash text, p_document jsonb, p_options jsonb)
  RETURNS void
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_credential pgsync_private.credential;
BEGIN
  SELECT c.*
  INTO v_credential
  FROM pgsync_private.credential AS c
  WHERE c.id = p_identity ->> 'capabilityId';
  IF pgsync_private.check_secret_key(v_credential) IS NOT NULL OR v_credential.operations <> '{}' THEN
    RAISE EXCEPTION USING
      ERRCODE = 'PS305',
      MESSAGE = 'a schema is pushed with a secret key (sk_) that has every right',
      HINT = 'Create one: pgsync keys create --organization ID';
  END IF;
  INSERT INTO pgsync_private.schema_proposal AS p (hash, document, options, proposed_by)
  VALUES (
    p_hash,
    p_document,
    p_options,
    v_credential.participant_kind || ':' || v_credential.participant_id
  )
  ON CONFLICT (hash) DO UPDATE
  SET document = EXCLUDED.document,
      options = EXCLUDED.options,
      proposed_at = pg_catalog.clock_timestamp(),
      proposed_by = EXCLUDED.proposed_by;
  DELETE FROM pgsync_private.schema_proposal AS p
  WHERE p.hash IN (
    SELECT o.hash
    FROM pgsync_private.schema_proposal AS o
    ORDER BY o.proposed_at DESC
    OFFSET 20
  );
END
$function$;

ALTER FUNCTION pgsync.propose_schema_v1(jsonb, text, jsonb, jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.propose_schema_v1(jsonb, text, jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.propose_schema_v1(jsonb, text, jsonb, jsonb) TO pgsync_gateway;
COMMENT ON FUNCTION pgsync.propose_schema_v1(jsonb, text, jsonb, jsonb) IS 'Stores a schema that came over HTTP until it is pushed.';
