-- Settles the claims of a row: whose time is over ends, and whoever's turn has come gets the lease.
-- The line is first come, first served: one who waits gets its turn when nobody else holds or waits before it for the same parts.
-- After every change of a row's claims this is called, so that only the passing of time can unsettle them.
-- Call it under the exclusive lock of the target, which also makes the snapshot of a grant see every write that was let through before.
CREATE OR REPLACE FUNCTION pgsync_private.advance_claims(p_scope text, p_model text, p_id text)
  RETURNS void
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off'
AS $function$
DECLARE
  v_now timestamptz := pg_catalog.clock_timestamp();
  v_claim pgsync_private.claim;
  v_token bigint;
  v_granted pgsync_private.claim;
  v_entered text[] := '{}'::text[];
  v_before text;
  v_whole text;
  v_ignored text;
BEGIN
  FOR v_claim IN
    UPDATE pgsync_private.claim AS c
    SET status = 'expired',
        ended_at = v_now
    WHERE c.scope = p_scope
      AND c.model = p_model
      AND c.row_id = p_id
      AND c.ended_at IS NULL
      AND c.expires_at <= v_now
    RETURNING c.*
  LOOP
    v_ignored := pgsync_private.record_claim_event(v_claim, 'expired', NULL, true);
  END LOOP;

  FOR v_claim IN
    SELECT c.*
    FROM pgsync_private.claim AS c
    WHERE c.scope = p_scope
      AND c.model = p_model
      AND c.row_id = p_id
      AND c.ended_at IS NULL
      AND c.status = 'queued'
    ORDER BY c.place
  LOOP
    IF EXISTS (
      SELECT
      FROM pgsync_private.claim AS b
      WHERE b.scope = p_scope
        AND b.model = p_model
        AND b.row_id = p_id
        AND b.ended_at IS NULL
        AND (b.status = 'active' OR b.place < v_claim.place)
        AND (b.organization_id, b.participant_kind, b.participant_id)
          <> (v_claim.organization_id, v_claim.participant_kind, v_claim.participant_id)
        AND (b.parts IS NULL OR v_claim.parts IS NULL OR b.parts && v_claim.parts)
    ) THEN
      -- Behind two participants who wait for the whole row nobody's turn can have come.
      IF v_claim.parts IS NULL THEN
        v_before := v_claim.organization_id || pg_catalog.chr(31) || v_claim.participant_kind || pg_catalog.chr(31) || v_claim.participant_id;
        EXIT WHEN v_whole <> v_before;
        v_whole := v_before;
      END IF;
      CONTINUE;
    END IF;
    CONTINUE WHEN v_entered @> ARRAY[v_claim.id];
    v_token := pgsync_private.next_claim_fence_token(p_scope, p_model, p_id);
    -- The other tickets of the same participant for no more than these parts enter with this one.
    FOR v_granted IN
      UPDATE pgsync_private.claim AS c
      SET status = 'active',
          fence_token = v_token,
          granted_at = v_now,
          granted_snapshot = pg_catalog.pg_current_snapshot(),
          expires_at = v_now + LEAST(c.ttl, pgsync_private.claim_ticket_lease())
      WHERE c.scope = p_scope
        AND c.model = p_model
        AND c.row_id = p_id
        AND c.ended_at IS NULL
        AND c.status = 'queued'
        AND (c.organization_id, c.participant_kind, c.participant_id)
          IS NOT DISTINCT FROM (v_claim.organization_id, v_claim.participant_kind, v_claim.participant_id)
        AND (v_claim.parts IS NULL OR c.parts <@ v_claim.parts)
      RETURNING c.*
    LOOP
      v_entered := v_entered || v_granted.id;
      v_ignored := pgsync_private.record_claim_event(v_granted, 'granted', NULL, true);
    END LOOP;
  END LOOP;
END
$function$;

ALTER FUNCTION pgsync_private.advance_claims(text, text, text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.advance_claims(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.advance_claims(text, text, text) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.advance_claims(text, text, text) IS
  'Settles the claims of a row: who is over time ends, whose turn has come gets the lease.';
