-- The fence token of a lease of the organization; null when there is no such lease or it has not been granted.
CREATE OR REPLACE FUNCTION pgsync_private.claim_fence_token(p_organization text, p_claim_id text)
  RETURNS bigint
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off'
AS $function$
DECLARE
  v_token bigint;
BEGIN
  SELECT c.fence_token
  INTO v_token
  FROM pgsync_private.claim AS c
  WHERE c.organization_id = p_organization
    AND c.id = p_claim_id;
  RETURN v_token;
END
$function$;

ALTER FUNCTION pgsync_private.claim_fence_token(text, text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.claim_fence_token(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.claim_fence_token(text, text) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.claim_fence_token(text, text) IS 'The fence token of a lease.';
