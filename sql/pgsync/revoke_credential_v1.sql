-- Ends a credential now, with what it minted, and tells every gateway to forget them. False: there is no such credential, or it had ended.
-- For administrators: no EXECUTE for the gateway.
-- SECURITY DEFINER: credentials are private.
CREATE OR REPLACE FUNCTION pgsync.revoke_credential_v1(p_id text)
  RETURNS boolean
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  RETURN p_id = ANY (pgsync_private.revoke(p_id));
END
$function$;

ALTER FUNCTION pgsync.revoke_credential_v1(text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.revoke_credential_v1(text) FROM PUBLIC;
COMMENT ON FUNCTION pgsync.revoke_credential_v1(text) IS 'Ends a credential now, with what it minted, and tells every gateway.';
