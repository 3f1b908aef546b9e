-- Says that the participant still holds, or still waits for, one of its claims: extends the lease, or the ticket.
-- p_model and p_id: the row of the route, null when only the claim is named. p_request: {"ttl", "details"}; details become the claim's
-- meta.progress for others to see. Who waits learns here that its turn has come.
-- Answer: {"outcome": "answered", "answer": {"object", "claimId", "status": held or queued, ..}}, or refused with claim_lost, claim_not_found,
-- claim_id_required, malformed_claim.
-- SECURITY DEFINER: claims are private.
CREATE OR REPLACE FUNCTION pgsync.heartbeat_claim_v1(p_identity jsonb, p_claim_id text, p_model text, p_id text, p_request jsonb)
  RETURNS jsonb
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off'
AS $function$
DECLARE
  v_organization text := p_identity ->> 'organizationId';
  v_ttl interval := CASE WHEN COALESCE(p_request -> 'ttl', 'null') <> 'null' THEN pgsync_private.claim_ttl(p_request -> 'ttl') END;
  v_problem jsonb;
  v_claim pgsync_private.claim;
  v_beaten pgsync_private.claim;
  v_ignored text; -- an assignment is cheaper than PERFORM, which goes through the executor
BEGIN
  IF p_claim_id IS NULL THEN
    RETURN pgsync_private.refusal('claim_id_required', 'a heartbeat names its claim', '{"param": "claimId"}');
  END IF;
  v_problem := pgsync_private.check_claim_request(p_request - 'target');
  IF v_problem IS NOT NULL THEN
    RETURN pgsync_private.claim_refusal(v_problem);
  END IF;
  SELECT c.*
  INTO v_claim
  FROM pgsync_private.claim AS c
  WHERE c.organization_id = v_organization
    AND c.id = p_claim_id
    AND (c.participant_kind, c.participant_id) IS NOT DISTINCT FROM (p_identity ->> 'participantKind', p_identity ->> 'participantId');
  IF NOT FOUND OR (p_model IS NOT NULL AND (v_claim.model, v_claim.row_id) IS DISTINCT FROM ((pgsync_generated.resolve_model(p_model))[1], p_id)) THEN
    RETURN pgsync_private.refusal(
      'claim_not_found',
      pg_catalog.format('you have no claim %s%s', p_claim_id, COALESCE(' on ' || p_model || '/' || p_id, '')),
      pg_catalog.jsonb_build_object('claimId', p_claim_id));
  END IF;
  -- Only time can have unsettled the line. Whoever has the lock settles it too, so nobody waits for it here.
  IF v_claim.status = 'queued'
    AND EXISTS (
      SELECT
      FROM pgsync_private.claim AS c
      WHERE c.scope = v_claim.scope
        AND c.model = v_claim.model
        AND c.row_id = v_claim.row_id
        AND c.ended_at IS NULL
        AND c.expires_at <= pg_catalog.clock_timestamp()
    )
    AND pgsync_private.try_lock_claim_target(v_claim.scope, v_claim.model, v_claim.row_id)
  THEN
    v_ignored := pgsync_private.advance_claims(v_claim.scope, v_claim.model, v_claim.row_id);
  END IF;
  UPDATE pgsync_private.claim AS c
  SET ttl = COALESCE(v_ttl, c.ttl),
      expires_at = pg_catalog.clock_timestamp()
        + CASE c.status WHEN 'active' THEN COALESCE(v_ttl, c.ttl) ELSE pgsync_private.claim_ticket_lease() END,
      progress = COALESCE(NULLIF(p_request -> 'details', 'null'), c.progress),
      also_through = pgsync_private.claim_through(c.capability_id, c.also_through, p_identity ->> 'capabilityId')
  WHERE c.organization_id = v_organization
    AND c.id = p_claim_id
    AND c.ended_at IS NULL
    AND c.expires_at > pg_catalog.clock_timestamp()
  RETURNING c.* INTO v_beaten;
  IF NOT FOUND THEN
    SELECT c.*
    INTO v_claim
    FROM pgsync_private.claim AS c
    WHERE c.organization_id = v_organization
      AND c.id = p_claim_id;
    v_ignored := pgsync.set_identity_v1(p_identity);
    RETURN pgsync_private.claim_lost(v_claim, COALESCE(p_model, v_claim.model_key));
  END IF;
  IF COALESCE(p_request -> 'details', 'null') <> 'null' THEN
    v_ignored := pgsync_private.tell_claim(v_beaten, 'progress');
  END IF;
  RETURN pgsync_private.claim_answer(pgsync_private.claim_beat(v_beaten) || '{"object": "claim_heartbeat"}');
END
$function$;

ALTER FUNCTION pgsync.heartbeat_claim_v1(jsonb, text, text, text, jsonb) OWNER TO pgsync_writer;
REVOKE ALL ON FUNCTION pgsync.heartbeat_claim_v1(jsonb, text, text, text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.heartbeat_claim_v1(jsonb, text, text, text, jsonb) TO pgsync_gateway;
COMMENT ON FUNCTION pgsync.heartbeat_claim_v1(jsonb, text, text, text, jsonb) IS 'Extends a lease or a place in line.';
