-- What is true of the claims of some rows, for a gateway that tells its clients: who holds, who waits in which order, what became of claims
-- that it knew, and the values that decide who may see the row. p_targets: [{"scope", "model", "id", "type", "known": [claim id, ..]}, ..];
-- scope: the organization, or empty for a model that all organizations share, of those who do not see the row after a separator
-- (pgsync_private.unseen_scope); type: the name of the model in the answer.
-- Answer: {"snapshot", "lines": [{"row": {field: text or null} or null, "claims": [{"organizationId", "status", "participantKind",
-- "participantId", "fenceToken", "position", "rowSeen", "reason", "acquiredAt", "summary"}, ..]}, ..]}, one line a target, in their order.
-- Everything that the snapshot sees is in the answer; a transaction that is in the log may not be visible yet.
-- SECURITY DEFINER: claims are private; owned by the writer because it looks at rows under row-level security.
CREATE OR REPLACE FUNCTION pgsync.claim_lines_v1(p_targets jsonb)
  RETURNS jsonb
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off'
AS $function$
DECLARE
  v_snapshot text := pg_catalog.pg_current_snapshot()::text;
  v_lines jsonb[] := '{}'::jsonb[];
  v_target jsonb;
  v_claims jsonb;
  v_ignored text; -- an assignment is cheaper than PERFORM, which goes through the executor
BEGIN
  FOR v_target IN
    SELECT t.t
    FROM pg_catalog.jsonb_array_elements(p_targets) WITH ORDINALITY AS t(t, n)
    ORDER BY t.n
  LOOP
    v_ignored := pg_catalog.set_config(
      'pgsync.organization_id', pg_catalog.ltrim(v_target ->> 'scope', pgsync_private.unseen_scope('')), true);
    SELECT pg_catalog.jsonb_agg(
      pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
        'organizationId', (s.claim).organization_id,
        'status', (s.claim).status,
        'participantKind', (s.claim).participant_kind,
        'participantId', (s.claim).participant_id,
        'fenceToken', (s.claim).fence_token,
        'position', s.position,
        'rowSeen', (s.claim).row_seen,
        'reason', CASE WHEN (s.claim).ended_at IS NOT NULL THEN pgsync_private.claim_end_reason(s.claim) END,
        'acquiredAt', pgsync_private.claim_ms((s.claim).granted_at)))
      || pg_catalog.jsonb_build_object('summary', pgsync_private.claim_summary(s.claim, v_target ->> 'type'))
      ORDER BY (s.claim).place)
    INTO v_claims
    FROM (
      SELECT
        c AS claim,
        CASE c.status WHEN 'queued' THEN pg_catalog.row_number() OVER (PARTITION BY c.status ORDER BY c.place) - 1 END AS position
      FROM pgsync_private.claim AS c
      WHERE c.scope = v_target ->> 'scope'
        AND c.model = v_target ->> 'model'
        AND c.row_id = v_target ->> 'id'
        AND c.ended_at IS NULL
      UNION ALL
      SELECT
        c,
        NULL
      FROM pg_catalog.jsonb_array_elements(v_target -> 'known') AS k(k)
      JOIN pgsync_private.claim AS c
        ON c.organization_id = k.k ->> 0
        AND c.id = k.k ->> 1
      WHERE c.scope = v_target ->> 'scope'
        AND c.model = v_target ->> 'model'
        AND c.row_id = v_target ->> 'id'
        AND c.ended_at IS NOT NULL
    ) AS s;
    v_lines := v_lines || pg_catalog.jsonb_build_object(
      'row', CASE WHEN v_claims IS NOT NULL THEN pgsync_generated.row_texts(v_target ->> 'model', v_target ->> 'id', NULL) END,
      'claims', COALESCE(v_claims, '[]'));
  END LOOP;
  RETURN pg_catalog.jsonb_build_object('snapshot', v_snapshot, 'lines', pg_catalog.to_jsonb(v_lines));
END
$function$;

ALTER FUNCTION pgsync.claim_lines_v1(jsonb) OWNER TO pgsync_writer;
REVOKE ALL ON FUNCTION pgsync.claim_lines_v1(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.claim_lines_v1(jsonb) TO pgsync_gateway;
COMMENT ON FUNCTION pgsync.claim_lines_v1(jsonb) IS 'What is true of the claims of some rows, for a gateway that tells its clients.';
