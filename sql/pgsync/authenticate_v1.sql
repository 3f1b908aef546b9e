-- Finds the credential of a key by the SHA-256 of the whole key. Null: no such key.
-- The answer says whether the key is active, expired or revoked; refusing is the caller's part. syncGroups are the credential's own; for one
-- that follows memberships ("edges": true), edgeGroups are those that it has through them now, edgeKinds the kinds that it may come to have.
-- SECURITY DEFINER: credentials are private.
CREATE OR REPLACE FUNCTION pgsync.authenticate_v1(p_key_hash bytea)
  RETURNS jsonb
  LANGUAGE plpgsql
  STABLE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_credential pgsync_private.credential;
BEGIN
  SELECT c.*
  INTO v_credential
  FROM pgsync_private.credential AS c
  WHERE c.key_hash = p_key_hash;

  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  RETURN pgsync_private.credential_json(v_credential) || pgsync_private.edges_of(v_credential);
END
$function$;

ALTER FUNCTION pgsync.authenticate_v1(bytea) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.authenticate_v1(bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.authenticate_v1(bytea) TO pgsync_gateway;
COMMENT ON FUNCTION pgsync.authenticate_v1(bytea) IS 'The identity behind a key, found by the SHA-256 of the key; null when unknown.';
