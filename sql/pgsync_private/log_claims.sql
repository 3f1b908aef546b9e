-- What happened to claims that the caller may know of, as the logs carry it, in order; p_limit events at most.
-- p_after null: the newest. Where groups or a rule decide who sees a row, its claims are for their holders and for programs only.
-- {"events", "last": the number up to which everything has been looked at, "more"}. Called after set_identity_v1.
CREATE OR REPLACE FUNCTION pgsync_private.log_claims(p_after bigint, p_model text, p_since timestamptz, p_limit integer)
  RETURNS jsonb
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_event pgsync_private.claim_event;
  v_events jsonb := '[]'::jsonb;
  v_last bigint := COALESCE(p_after, 0);
  v_seen integer := 0;
BEGIN
  FOR v_event IN
    SELECT e.*
    FROM pgsync_private.claim_events(
      pgsync.organization_id(), p_after, CASE WHEN p_after IS NULL THEN p_limit ELSE p_limit + 1 END) AS e
    ORDER BY e.seq
  LOOP
    IF v_seen = p_limit THEN
      RETURN pg_catalog.jsonb_build_object('events', v_events, 'last', v_last, 'more', true);
    END IF;
    v_seen := v_seen + 1;
    v_last := v_event.seq;
    IF (p_model IS NULL OR v_event.model = ANY (pgsync_private.model_names(p_model)))
      AND (p_since IS NULL OR v_event.at >= p_since)
      AND EXISTS (
        SELECT
        FROM pgsync_private.log_models() AS m
        WHERE m.name = v_event.model
          AND (
            pgsync.participant_kind() = 'system'
            OR (v_event.participant_kind, v_event.participant_id) = (pgsync.participant_kind(), pgsync.participant_id())
            OR NOT (m.has_groups OR m.has_rule) AND pgsync.holds_group('org:' || pgsync.organization_id())
          )
      )
    THEN
      v_events := v_events || pgsync_private.claim_event_json(v_event, v_event.model_key);
    END IF;
  END LOOP;
  RETURN pg_catalog.jsonb_build_object('events', v_events, 'last', v_last, 'more', false);
END
$function$;

ALTER FUNCTION pgsync_private.log_claims(bigint, text, timestamptz, integer) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.log_claims(bigint, text, timestamptz, integer) FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.log_claims(bigint, text, timestamptz, integer) IS
  'What happened to claims that the caller may know of, as the logs carry it.';
