-- The answer to whoever asks for a claim: 201 with the lease, or 202 with the place in line and who is in the way.
-- p_in_the_way: of one that waits, the first claim that it collides with.
CREATE OR REPLACE FUNCTION pgsync_private.claim_state(
  p_claim pgsync_private.claim,
  p_model_key text,
  p_in_the_way pgsync_private.claim
)
  RETURNS jsonb
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_answer jsonb := pg_catalog.jsonb_build_object(
    'id', p_claim.id,
    'object', 'claim',
    'status', p_claim.status,
    'expiresAt', pgsync_private.claim_ms(p_claim.expires_at));
BEGIN
  IF p_claim.status = 'active' THEN
    RETURN pgsync_private.claim_answer(
      v_answer || pg_catalog.jsonb_build_object(
        'fenceToken', p_claim.fence_token,
        'claim', pgsync_private.claim_json(p_claim, p_model_key, NULL)),
      201);
  END IF;
  v_answer := v_answer || pg_catalog.jsonb_build_object('position', pgsync_private.claim_position(p_claim));
  IF p_in_the_way.organization_id = p_claim.organization_id THEN
    v_answer := v_answer || pg_catalog.jsonb_build_object(
      'heldBy', p_in_the_way.participant_id,
      'heldByClaim', pgsync_private.claim_summary(p_in_the_way, p_model_key));
  END IF;
  RETURN pgsync_private.claim_answer(v_answer, 202);
END
$function$;

ALTER FUNCTION pgsync_private.claim_state(pgsync_private.claim, text, pgsync_private.claim) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.claim_state(pgsync_private.claim, text, pgsync_private.claim) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.claim_state(pgsync_private.claim, text, pgsync_private.claim) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.claim_state(pgsync_private.claim, text, pgsync_private.claim) IS 'The answer to whoever asks for a claim.';
