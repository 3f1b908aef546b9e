-- Ends somebody's claim now: for administrators, when a holder has to make way. False: there is no such claim that lives.
-- For administrators: no EXECUTE for the gateway.
CREATE OR REPLACE FUNCTION pgsync.end_claim_v1(p_organization text, p_claim_id text)
  RETURNS boolean
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_claim pgsync_private.claim;
BEGIN
  SELECT c.*
  INTO v_claim
  FROM pgsync_private.claim AS c
  WHERE c.organization_id = p_organization
    AND c.id = p_claim_id
    AND c.ended_at IS NULL;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  PERFORM pg_catalog.pg_advisory_xact_lock(pgsync_private.claim_lock_key(v_claim.scope, v_claim.model, v_claim.row_id));
  UPDATE pgsync_private.claim AS c
  SET expires_at = pg_catalog.clock_timestamp()
  WHERE c.organization_id = p_organization
    AND c.id = p_claim_id
    AND c.ended_at IS NULL;
  PERFORM pgsync_private.advance_claims(v_claim.scope, v_claim.model, v_claim.row_id);
  RETURN FOUND;
END
$function$;

ALTER FUNCTION pgsync.end_claim_v1(text, text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.end_claim_v1(text, text) FROM PUBLIC;
COMMENT ON FUNCTION pgsync.end_claim_v1(text, text) IS 'Ends somebody''s claim now, for administrators.';
