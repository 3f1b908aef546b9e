-- What became of a claim of the caller's organization: active, queued, committed, expired or canceled. Ended ones are known for an hour.
-- Answer: {"outcome": "answered", "answer": {"id", "object", "status", ..}}, or refused with claim_not_found.
-- SECURITY DEFINER: claims are private.
CREATE OR REPLACE FUNCTION pgsync.claim_v1(p_identity jsonb, p_claim_id text)
  RETURNS jsonb
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off'
AS $function$
DECLARE
  v_claim pgsync_private.claim;
  v_ignored text; -- an assignment is cheaper than PERFORM, which goes through the executor
BEGIN
  v_ignored := pgsync.set_identity_v1(p_identity);
  SELECT c.*
  INTO v_claim
  FROM pgsync_private.claim AS c
  WHERE c.organization_id = p_identity ->> 'organizationId'
    AND c.id = p_claim_id;
  IF NOT FOUND OR NOT pgsync_private.sees_claim(p_identity, v_claim) THEN
    RETURN pgsync_private.refusal(
      'claim_not_found',
      pg_catalog.format('there is no claim %s', p_claim_id),
      pg_catalog.jsonb_build_object('claimId', p_claim_id));
  END IF;
  IF v_claim.ended_at IS NULL AND v_claim.expires_at <= pg_catalog.clock_timestamp() THEN
    v_claim.status := 'expired'; -- whoever touches the row next writes it down
  END IF;
  RETURN pgsync_private.claim_answer(pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
    'id', v_claim.id,
    'object', 'claim',
    'status', v_claim.status,
    'expiresAt', pgsync_private.claim_ms(v_claim.expires_at),
    'fenceToken', v_claim.fence_token,
    'position', CASE v_claim.status WHEN 'queued' THEN pgsync_private.claim_position(v_claim) END)));
END
$function$;

ALTER FUNCTION pgsync.claim_v1(jsonb, text) OWNER TO pgsync_writer;
REVOKE ALL ON FUNCTION pgsync.claim_v1(jsonb, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.claim_v1(jsonb, text) TO pgsync_gateway;
COMMENT ON FUNCTION pgsync.claim_v1(jsonb, text) IS 'What became of a claim.';
