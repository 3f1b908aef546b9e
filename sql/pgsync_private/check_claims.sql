-- What claims have against a write: null, or {"code", "message", ..} with claim_lost, claim_queued, fence_token_stale or claim_conflict.
-- p_model: name in SQL; p_model_key: as the caller spelled it; p_fields: the fields written, null for the whole row.
-- p_policy: what the model's conflict modes say for this kind of participant. Without one a user writes through other people's claims,
-- agents and systems do not; overwrite lets a system through too, never an agent; reject and notify let nobody through.
-- A fence token that belongs to a lease which still holds is good, whatever token a holder of other fields of the row has written with.
-- Of a row that the caller does not see, only claims count that were taken when there was none: he is told that there is no such row.
-- Call it after lock_claim_target. enable_seqscan is off because a table that was empty when it was last analyzed looks free to scan.
CREATE OR REPLACE FUNCTION pgsync_private.check_claims(
  p_identity jsonb,
  p_model text,
  p_model_key text,
  p_id text,
  p_fields text[],
  p_claim_id text,
  p_fence_token bigint,
  p_policy text
)
  RETURNS jsonb
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off'
AS $function$
DECLARE
  v_organization text := p_identity ->> 'organizationId';
  v_kind text := p_identity ->> 'participantKind';
  v_participant text := p_identity ->> 'participantId';
  v_scope text := pgsync_generated.claim_scope(p_model, v_organization);
  v_now timestamptz := pg_catalog.clock_timestamp();
  v_claim pgsync_private.claim;
  v_high_water bigint;
  v_parts text[];
  v_in_the_way pgsync_private.claim[];
BEGIN
  IF p_claim_id IS NOT NULL THEN
    SELECT c.*
    INTO v_claim
    FROM pgsync_private.claim AS c
    WHERE c.organization_id = v_organization
      AND c.id = p_claim_id
      AND (c.participant_kind, c.participant_id) IS NOT DISTINCT FROM (v_kind, v_participant)
      AND c.model = p_model
      AND c.row_id = p_id;
    -- One that was taken when the caller did not see the row keeps nobody from it who does.
    IF v_claim.ended_at IS NULL AND v_claim.scope <> v_scope AND pgsync_generated.sees_row(p_model, p_id) THEN
      v_claim.expires_at := v_now;
      v_claim.status := 'expired';
    END IF;
    IF v_claim.id IS NULL OR v_claim.ended_at IS NOT NULL OR v_claim.expires_at <= v_now THEN
      RETURN pg_catalog.jsonb_build_object(
        'code', 'claim_lost',
        'message', pg_catalog.format('you do not hold claim %s on %s/%s (any more)', p_claim_id, p_model_key, p_id),
        'claimId', p_claim_id)
        || CASE
          WHEN v_claim.id IS NULL THEN '{}'
          ELSE pg_catalog.jsonb_build_object('reason', pgsync_private.claim_end_reason(v_claim))
        END;
    END IF;
    IF v_claim.status = 'queued' THEN
      RETURN pg_catalog.jsonb_build_object(
        'code', 'claim_queued',
        'message', pg_catalog.format('claim %s on %s/%s waits for its turn', p_claim_id, p_model_key, p_id),
        'claimId', p_claim_id);
    END IF;
  END IF;

  IF p_fence_token IS NOT NULL THEN
    SELECT f.high_water
    INTO v_high_water
    FROM pgsync_private.claim_fence AS f
    WHERE f.scope = v_scope
      AND f.model = p_model
      AND f.row_id = p_id;
    IF v_high_water IS NULL THEN
      -- No row: never claimed, or so long ago that only the floor is left of it.
      SELECT s.value::bigint
      INTO v_high_water
      FROM pgsync_private.setting AS s
      WHERE s.name = 'claim_fence_floor';
    END IF;
    IF p_fence_token < v_high_water
      AND NOT EXISTS (
        SELECT
        FROM pgsync_private.claim AS c
        WHERE c.scope = v_scope
          AND c.model = p_model
          AND c.row_id = p_id
          AND c.ended_at IS NULL
          AND c.status = 'active'
          AND c.fence_token = p_fence_token
          AND c.expires_at > v_now
          AND (c.organization_id, c.participant_kind, c.participant_id) IS NOT DISTINCT FROM (v_organization, v_kind, v_participant)
      )
    THEN
      RETURN pg_catalog.jsonb_build_object(
        'code', 'fence_token_stale',
        'message', pg_catalog.format('fence token %s of %s/%s is behind: a write with %s has been committed', p_fence_token, p_model_key, p_id, v_high_water),
        'fenceToken', p_fence_token,
        'highWater', v_high_water);
    END IF;
    IF p_fence_token > 9007199254740991 THEN
      RETURN '{"code": "malformed_claim", "message": "a fence token is an integer below 2^53", "param": "fenceToken"}'::jsonb;
    END IF;
  END IF;

  IF p_id IS NULL OR (v_kind = 'user' AND COALESCE(p_policy, 'overwrite') = 'overwrite') OR (v_kind = 'system' AND p_policy = 'overwrite') THEN
    RETURN NULL;
  END IF;
  v_in_the_way := ARRAY(
    SELECT c
    FROM pgsync_private.claim AS c
    WHERE c.scope = v_scope
      AND c.model = p_model
      AND c.row_id = p_id
      AND c.ended_at IS NULL
      AND c.status = 'active'
      AND c.expires_at > v_now
      AND (c.organization_id, c.participant_kind, c.participant_id) <> (v_organization, v_kind, v_participant)
    ORDER BY c.place
  );
  IF pg_catalog.cardinality(v_in_the_way) = 0 THEN
    RETURN NULL;
  END IF;
  IF p_fields IS NOT NULL THEN
    v_parts := ARRAY(SELECT pg_catalog.lower(f.f) FROM pg_catalog.unnest(p_fields) AS f(f));
    v_in_the_way := ARRAY(
      SELECT c
      FROM pg_catalog.unnest(v_in_the_way) AS c
      WHERE c.parts IS NULL
        OR c.parts && v_parts
    );
    IF pg_catalog.cardinality(v_in_the_way) = 0 THEN
      RETURN NULL;
    END IF;
  END IF;
  IF NOT pgsync_generated.sees_row(p_model, p_id) AND pgsync_generated.row_texts(p_model, p_id, '{id}') IS NOT NULL THEN
    v_in_the_way := ARRAY(
      SELECT c
      FROM pg_catalog.unnest(v_in_the_way) AS c
      WHERE NOT c.row_seen
    );
    IF pg_catalog.cardinality(v_in_the_way) = 0 THEN
      RETURN NULL;
    END IF;
  END IF;
  RETURN pgsync_private.claim_conflict(
    'claim_conflict', v_organization, p_model_key, p_id, pgsync_private.shown_claims(v_in_the_way));
END
$function$;

ALTER FUNCTION pgsync_private.check_claims(jsonb, text, text, text, text[], text, bigint, text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.check_claims(jsonb, text, text, text, text[], text, bigint, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.check_claims(jsonb, text, text, text, text[], text, bigint, text) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.check_claims(jsonb, text, text, text, text[], text, bigint, text) IS
  'What claims have against a write; null when nothing.';
