-- Ends a credential for a caller of the gateway: its own, one that it minted, or another session of an organization whose secret key it is.
-- Answer: {"outcome": "ended", "id", "ended": [id, ..]} (empty when it had ended before) or {"outcome": "refused", "error"}:
-- capability_not_found, server_side_only, forbidden.
-- SECURITY DEFINER: credentials are private.
CREATE OR REPLACE FUNCTION pgsync.end_credential_v1(p_identity jsonb, p_id text)
  RETURNS jsonb
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_caller pgsync_private.credential;
  v_target pgsync_private.credential;
  v_problem jsonb;
BEGIN
  SELECT c.*
  INTO v_caller
  FROM pgsync_private.credential AS c
  WHERE c.id = p_identity ->> 'capabilityId';
  SELECT c.*
  INTO v_target
  FROM pgsync_private.credential AS c
  WHERE c.id = p_id;
  v_problem := pgsync_private.check_manages(v_caller, v_target);
  IF v_problem IS NOT NULL THEN
    RETURN v_problem;
  END IF;
  RETURN pg_catalog.jsonb_build_object('outcome', 'ended', 'id', p_id, 'ended', pg_catalog.to_jsonb(pgsync_private.revoke(p_id)));
END
$function$;

ALTER FUNCTION pgsync.end_credential_v1(jsonb, text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.end_credential_v1(jsonb, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.end_credential_v1(jsonb, text) TO pgsync_gateway;
COMMENT ON FUNCTION pgsync.end_credential_v1(jsonb, text) IS 'Ends a credential for a caller of the gateway who may.';
