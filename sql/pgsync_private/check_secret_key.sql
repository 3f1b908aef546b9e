-- Why a credential may not mint, rotate or revoke others: null, or the refusal. Only a secret key that is alive may.
CREATE OR REPLACE FUNCTION pgsync_private.check_secret_key(p_credential pgsync_private.credential)
  RETURNS jsonb
  LANGUAGE sql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
  SELECT CASE
    WHEN (p_credential).id IS NULL OR (p_credential).kind <> 'sk' THEN
      pgsync_private.refusal('server_side_only', 'only a secret key (sk_) of the organization may do this')
    WHEN (p_credential).revoked_at IS NOT NULL THEN
      pgsync_private.refusal('apikey_revoked', 'this key was revoked')
    WHEN (p_credential).expires_at <= pg_catalog.clock_timestamp() THEN
      pgsync_private.refusal('apikey_expired', 'this key has expired')
  END;
$function$;

ALTER FUNCTION pgsync_private.check_secret_key(pgsync_private.credential) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.check_secret_key(pgsync_private.credential) FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.check_secret_key(pgsync_private.credential) IS
  'Why a credential may not mint, rotate or revoke others; null when it may.';
