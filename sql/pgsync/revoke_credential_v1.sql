-- Ends a credential now and tells every gateway to forget it. False: there is no such credential, or it had ended.
-- For administrators: no EXECUTE for the gateway.
CREATE OR REPLACE FUNCTION pgsync.revoke_credential_v1(p_id text)
  RETURNS boolean
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = ''
AS $function$
BEGIN
  UPDATE pgsync_private.credential AS c
  SET revoked_at = pg_catalog.clock_timestamp()
  WHERE c.id = p_id
    AND c.revoked_at IS NULL;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  PERFORM pg_catalog.pg_notify('pgsync', pg_catalog.jsonb_build_object('t', 'revoked', 'capabilityId', p_id)::text);
  RETURN true;
END
$function$;

ALTER FUNCTION pgsync.revoke_credential_v1(text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.revoke_credential_v1(text) FROM PUBLIC;
COMMENT ON FUNCTION pgsync.revoke_credential_v1(text) IS 'Ends a credential now and tells every gateway.';
