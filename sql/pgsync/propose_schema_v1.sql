-- Stores a schema that came over HTTP until somebody with DDL rights pushes it. Sending the same one again changes nothing.
-- SECURITY DEFINER: proposals are private.
CREATE OR REPLACE FUNCTION pgsync.propose_schema_v1(p_identity jsonb, p_hash text, p_document jsonb, p_options jsonb)
  RETURNS void
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  INSERT INTO pgsync_private.schema_proposal AS p (hash, document, options, proposed_by)
  VALUES (
    p_hash,
    p_document,
    p_options,
    (p_identity ->> 'participantKind') || ':' || (p_identity ->> 'participantId')
  )
  ON CONFLICT (hash) DO UPDATE
  SET document = EXCLUDED.document,
      options = EXCLUDED.options,
      proposed_at = pg_catalog.clock_timestamp(),
      proposed_by = EXCLUDED.proposed_by;
END
$function$;

ALTER FUNCTION pgsync.propose_schema_v1(jsonb, text, jsonb, jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.propose_schema_v1(jsonb, text, jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.propose_schema_v1(jsonb, text, jsonb, jsonb) TO pgsync_gateway;
COMMENT ON FUNCTION pgsync.propose_schema_v1(jsonb, text, jsonb, jsonb) IS 'Stores a schema that came over HTTP until it is pushed.';
