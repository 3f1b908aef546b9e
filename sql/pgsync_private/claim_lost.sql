-- The answer to a participant whose claim has ended: what became of it and who holds the row now, if somebody does whom the participant is
-- shown. The identity must have been set.
CREATE OR REPLACE FUNCTION pgsync_private.claim_lost(p_claim pgsync_private.claim, p_model_key text)
  RETURNS jsonb
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_holder pgsync_private.claim;
BEGIN
  SELECT c.*
  INTO v_holder
  FROM pgsync_private.claim AS c
  WHERE c.scope = p_claim.scope
    AND c.model = p_claim.model
    AND c.row_id = p_claim.row_id
    AND c.ended_at IS NULL
    AND c.status = 'active'
    AND c.expires_at > pg_catalog.clock_timestamp()
    AND c.organization_id IS NOT DISTINCT FROM p_claim.organization_id
    AND (c.participant_kind, c.participant_id) <> (p_claim.participant_kind, p_claim.participant_id)
    AND (c.parts IS NULL OR p_claim.parts IS NULL OR c.parts && p_claim.parts)
  ORDER BY c.place
  LIMIT 1;
  v_holder := (pgsync_private.shown_claims(ARRAY[v_holder]))[1];
  RETURN pgsync_private.refusal(
    'claim_lost',
    pg_catalog.format('claim %s on %s/%s has ended', p_claim.id, p_model_key, p_claim.row_id),
    pg_catalog.jsonb_build_object(
      'claimId', p_claim.id,
      'reason', pgsync_private.claim_end_reason(p_claim))
    || CASE
      WHEN v_holder.id IS NULL THEN '{}'
      ELSE pg_catalog.jsonb_build_object(
        'heldBy', v_holder.participant_id,
        'heldByClaim', pgsync_private.claim_summary(v_holder, p_model_key))
    END);
END
$function$;

ALTER FUNCTION pgsync_private.claim_lost(pgsync_private.claim, text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.claim_lost(pgsync_private.claim, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.claim_lost(pgsync_private.claim, text) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.claim_lost(pgsync_private.claim, text) IS 'The answer to a participant whose claim has ended.';
