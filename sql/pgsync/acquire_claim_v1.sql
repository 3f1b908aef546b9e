-- Takes a lease on a row, or on parts of it, for an authenticated identity, or a place in line for it. The row need not exist. One that is
-- there and that the participant does not see is to him as one that is not: he gets what he asks for, and keeps nobody from it who sees it
-- (pgsync_private.claim_lane).
-- p_request: {"model", "id", "claimId", "description" (or "reason"), "queue", "ttl", "meta", "target": {"model", "id", "field", "fields", "meta"},
-- "preempt"}
-- p_new_id: the id of a new claim whose claimId the request leaves open; a repeated call with the same one finds what the first one made.
-- A claim belongs to the participant: one that holds these parts already, with whichever credential, gets the same lease again.
-- A newcomer overtakes nobody: it is let in beside holders and waiters only if its parts are disjoint from theirs. With preempt it goes ahead
-- of the line, and takes the leases in its way from their holders, where model and credential allow that (pgsync_private.check_preempt).
-- On a model with claims="enforced" it waits for the writers of the row that are under way, whoever they are.
-- Answer: {"outcome": "answered", "status": 201 or 202, "answer"}, or {"outcome": "refused", "error": {"code", "message", ..}} with
-- entity_claimed (when queue is false), claim_lost (claimId has ended), queue_too_deep, malformed_claim and those of grants and models.
-- Raises: PS101 for another isolation level than READ COMMITTED, PS106 for an id that the key's type does not take.
-- SECURITY DEFINER: claims are private; owned by the writer because it looks at rows under row-level security.
CREATE OR REPLACE FUNCTION pgsync.acquire_claim_v1(p_identity jsonb, p_request jsonb, p_new_id text DEFAULT NULL)
  RETURNS jsonb
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off'
AS $function$
DECLARE
  v_organization text := p_identity ->> 'organizationId';
  v_kind text := p_identity ->> 'participantKind';
  v_participant text := p_identity ->> 'participantId';
  v_target jsonb := COALESCE(NULLIF(p_request -> 'target', 'null'), '{}');
  v_model_key text := COALESCE(p_request ->> 'model', v_target ->> 'model');
  v_id text := COALESCE(p_request ->> 'id', v_target ->> 'id');
  v_claim_id text := p_request ->> 'claimId';
  v_model text[] := pgsync_generated.resolve_model(v_model_key);
  v_ttl interval := pgsync_private.claim_ttl(p_request -> 'ttl');
  v_row_seen boolean;
  v_scope text;
  v_lane text;
  v_parts text[];
  v_problem jsonb;
  v_in_the_way pgsync_private.claim[];
  v_claim pgsync_private.claim;
  v_now timestamptz;
  v_waiting integer;
  v_token bigint;
  v_ignored text; -- an assignment is cheaper than PERFORM, which goes through the executor
BEGIN
  IF pg_catalog.current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION USING
      ERRCODE = 'PS101',
      MESSAGE = 'a claim needs the isolation level READ COMMITTED',
      DETAIL = pg_catalog.format('transaction_isolation=%s', pg_catalog.current_setting('transaction_isolation')),
      HINT = 'Whoever waited for a row must see what happened meanwhile: begin the transaction with READ COMMITTED.';
  END IF;
  v_ignored := pgsync.set_identity_v1(p_identity);
  v_problem := COALESCE(
    pgsync_private.check_claim_request(p_request),
    pgsync_private.check_claim_target(p_identity, v_model, v_model_key, v_id, true),
    CASE WHEN p_request -> 'preempt' = 'true' THEN pgsync_private.check_preempt(p_identity, v_model[1], v_model_key) END);
  IF v_problem IS NOT NULL THEN
    RETURN pgsync_private.claim_refusal(v_problem);
  END IF;
  v_scope := pgsync_generated.claim_scope(v_model[1], v_organization);
  SELECT pg_catalog.array_agg(DISTINCT pg_catalog.lower(f.f))
  INTO v_parts
  FROM pg_catalog.jsonb_array_elements_text(
    COALESCE(NULLIF(v_target -> 'fields', 'null'), '[]') || COALESCE(NULLIF(v_target -> 'field', 'null'), '[]')) AS f(f);

  v_ignored := pgsync_private.lock_claim_target(v_organization, v_model[1], v_id, true);
  IF pgsync_generated.claims_enforced(v_model[1]) THEN
    v_ignored := pgsync_generated.lock_row(v_model[1], v_id, true);
  END IF;
  v_ignored := pgsync_private.advance_claims(v_scope, v_model[1], v_id);
  v_row_seen := pgsync_generated.sees_row(v_model[1], v_id);
  v_lane := pgsync_private.claim_lane(v_scope, v_model[1], v_id);
  IF v_lane <> v_scope THEN
    v_scope := v_lane;
    v_ignored := pg_catalog.pg_advisory_xact_lock(pgsync_private.claim_lock_key(v_scope, v_model[1], v_id));
    v_ignored := pgsync_private.advance_claims(v_scope, v_model[1], v_id);
  END IF;
  v_now := pg_catalog.clock_timestamp();

  -- Again: the same claim by its id, or a lease that the participant has on these parts.
  IF COALESCE(v_claim_id, p_new_id) IS NOT NULL THEN
    SELECT c.*
    INTO v_claim
    FROM pgsync_private.claim AS c
    WHERE c.organization_id = v_organization
      AND c.id = COALESCE(v_claim_id, p_new_id);
    IF FOUND AND (v_claim.participant_kind, v_claim.participant_id, v_claim.model, v_claim.row_id) <> (v_kind, v_participant, v_model[1], v_id) THEN
      RETURN pgsync_private.refusal('malformed_claim', 'this claimId belongs to another claim', '{"param": "claimId"}');
    END IF;
    -- One that was taken when the participant did not see the row is worth nothing now that he does.
    IF v_row_seen AND v_claim.ended_at IS NULL AND v_claim.scope <> v_scope THEN
      v_ignored := pg_catalog.pg_advisory_xact_lock(pgsync_private.claim_lock_key(v_claim.scope, v_model[1], v_id));
      UPDATE pgsync_private.claim AS c
      SET expires_at = v_now
      WHERE c.organization_id = v_organization
        AND c.id = v_claim.id;
      v_ignored := pgsync_private.advance_claims(v_claim.scope, v_model[1], v_id);
      SELECT c.*
      INTO v_claim
      FROM pgsync_private.claim AS c
      WHERE c.organization_id = v_organization
        AND c.id = v_claim.id;
    END IF;
    IF v_claim.ended_at IS NOT NULL THEN
      RETURN pgsync_private.refusal(
        'claim_lost',
        pg_catalog.format('claim %s on %s/%s has ended', v_claim_id, v_model_key, v_id),
        pg_catalog.jsonb_build_object('claimId', v_claim_id, 'reason', pgsync_private.claim_end_reason(v_claim)));
    END IF;
  END IF;
  IF v_claim_id IS NULL AND v_claim.id IS NULL THEN
    SELECT c.*
    INTO v_claim
    FROM pgsync_private.claim AS c
    WHERE c.scope = v_scope
      AND c.model = v_model[1]
      AND c.row_id = v_id
      AND c.ended_at IS NULL
      AND c.status = 'active'
      AND (c.organization_id, c.participant_kind, c.participant_id) IS NOT DISTINCT FROM (v_organization, v_kind, v_participant)
      AND (c.parts IS NULL OR v_parts <@ c.parts)
    ORDER BY c.place
    LIMIT 1;
  END IF;
  IF v_claim.id IS NOT NULL THEN
    v_parts := v_claim.parts;
    UPDATE pgsync_private.claim AS c
    SET expires_at = GREATEST(c.expires_at, v_now + CASE c.status WHEN 'active' THEN v_ttl ELSE pgsync_private.claim_ticket_lease() END),
        ttl = GREATEST(c.ttl, v_ttl),
        also_through = pgsync_private.claim_through(c.capability_id, c.also_through, p_identity ->> 'capabilityId')
    WHERE c.organization_id = v_organization
      AND c.id = v_claim.id
    RETURNING c.* INTO v_claim;
  END IF;

  v_in_the_way := CASE
    WHEN v_claim.status = 'active' THEN '{}'
    ELSE pgsync_private.shown_claims(
      pgsync_private.claims_in_the_way(v_scope, v_model[1], v_id, v_organization, v_kind, v_participant, v_parts, v_claim.place))
  END;
  IF p_request -> 'preempt' = 'true' AND v_claim.status = 'queued' THEN
    v_token := pgsync_private.preempt_claims(p_identity, v_scope, v_model[1], v_id, v_parts);
    IF v_token IS NOT NULL THEN
      UPDATE pgsync_private.claim AS c
      SET status = 'active',
          fence_token = v_token,
          granted_at = v_now,
          granted_snapshot = pg_catalog.pg_current_snapshot(),
          expires_at = v_now + v_ttl
      WHERE c.organization_id = v_organization
        AND c.id = v_claim.id
      RETURNING c.* INTO v_claim;
      v_ignored := pgsync_private.record_claim_event(v_claim, 'granted', NULL, true);
      v_ignored := pgsync_private.advance_claims(v_scope, v_model[1], v_id);
    END IF;
  END IF;
  IF v_claim.id IS NOT NULL THEN
    RETURN pgsync_private.claim_state(v_claim, v_model_key, v_in_the_way[1]);
  END IF;

  -- Another handle of a participant that holds these parts already stands in nobody's line.
  IF v_claim_id IS NOT NULL AND EXISTS (
    SELECT
    FROM pgsync_private.claim AS c
    WHERE c.scope = v_scope
      AND c.model = v_model[1]
      AND c.row_id = v_id
      AND c.ended_at IS NULL
      AND c.status = 'active'
      AND (c.organization_id, c.participant_kind, c.participant_id) IS NOT DISTINCT FROM (v_organization, v_kind, v_participant)
      AND (c.parts IS NULL OR v_parts <@ c.parts)
  ) THEN
    v_in_the_way := '{}'::pgsync_private.claim[];
  END IF;

  v_claim.status := 'active';
  IF p_request -> 'preempt' = 'true' AND pg_catalog.cardinality(v_in_the_way) > 0 THEN
    v_token := pgsync_private.preempt_claims(p_identity, v_scope, v_model[1], v_id, v_parts);
  END IF;
  IF v_token IS NULL AND pg_catalog.cardinality(v_in_the_way) > 0 THEN
    IF p_request -> 'queue' = 'false' THEN
      RETURN pgsync_private.claim_refusal(
        pgsync_private.claim_conflict('entity_claimed', v_organization, v_model_key, v_id, v_in_the_way));
    END IF;
    SELECT pg_catalog.count(*)::integer
    INTO v_waiting
    FROM pgsync_private.claim AS c
    WHERE c.scope = v_scope
      AND c.model = v_model[1]
      AND c.row_id = v_id
      AND c.ended_at IS NULL;
    IF v_waiting >= 1000 THEN
      RETURN pgsync_private.refusal('queue_too_deep', pg_catalog.format('the line for %s/%s is full: try again later', v_model_key, v_id));
    END IF;
    v_claim.status := 'queued';
  END IF;

  INSERT INTO pgsync_private.claim AS c (
    organization_id, id, scope, model, model_key, row_id, field, fields, parts, participant_kind, participant_id, on_behalf_of_kind,
    on_behalf_of_id, capability_id, description, meta, status, ttl, declared_at, expires_at, granted_at, granted_snapshot, fence_token, row_seen
  )
  SELECT
    v_organization,
    COALESCE(v_claim_id, p_new_id, 'clm_' || pg_catalog.replace(pg_catalog.gen_random_uuid()::text, '-', '')),
    v_scope,
    v_model[1],
    v_model_key,
    v_id,
    v_target ->> 'field',
    (SELECT pg_catalog.array_agg(f.f ORDER BY f.n) FROM pg_catalog.jsonb_array_elements_text(NULLIF(v_target -> 'fields', 'null')) WITH ORDINALITY AS f(f, n)),
    v_parts,
    v_kind,
    v_participant,
    p_identity -> 'onBehalfOf' ->> 'kind',
    p_identity -> 'onBehalfOf' ->> 'id',
    p_identity ->> 'capabilityId',
    COALESCE(p_request ->> 'description', p_request ->> 'reason', 'editing'),
    COALESCE(NULLIF(v_target -> 'meta', 'null'), NULLIF(p_request -> 'meta', 'null')),
    s.status,
    v_ttl,
    v_now,
    v_now + CASE s.status WHEN 'active' THEN v_ttl ELSE pgsync_private.claim_ticket_lease() END,
    CASE s.status WHEN 'active' THEN v_now END,
    CASE s.status WHEN 'active' THEN pg_catalog.pg_current_snapshot() END,
    CASE s.status WHEN 'active' THEN COALESCE(v_token, pgsync_private.next_claim_fence_token(v_scope, v_model[1], v_id)) END,
    v_row_seen
  FROM (VALUES (v_claim.status)) AS s(status)
  RETURNING c.* INTO v_claim;
  v_ignored := CASE v_claim.status
    WHEN 'active' THEN pgsync_private.record_claim_event(v_claim, 'granted', NULL, false)
    ELSE pgsync_private.record_claim_event(v_claim, 'queued', pgsync_private.claim_position(v_claim), true)
  END;
  IF v_token IS NOT NULL THEN
    v_ignored := pgsync_private.advance_claims(v_scope, v_model[1], v_id); -- a holder may have kept out more than its successor does
  END IF;
  RETURN pgsync_private.claim_state(v_claim, v_model_key, v_in_the_way[1]);
END
$function$;

ALTER FUNCTION pgsync.acquire_claim_v1(jsonb, jsonb, text) OWNER TO pgsync_writer;
REVOKE ALL ON FUNCTION pgsync.acquire_claim_v1(jsonb, jsonb, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.acquire_claim_v1(jsonb, jsonb, text) TO pgsync_gateway;
COMMENT ON FUNCTION pgsync.acquire_claim_v1(jsonb, jsonb, text) IS 'Takes a lease on a row or parts of it, or a place in line for it.';
