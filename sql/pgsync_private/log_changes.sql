-- Changes that the caller may know of, as the logs carry them, in the order of their sync ids; p_limit of them at most.
-- p_after null: the newest. p_model: a name in SQL, null for all. p_op: letters of the change log, null for all.
-- {"events", "last": the sync id up to which everything has been looked at, "more"}; one call looks at p_transactions transactions at most.
-- Who may know: the row's organization and groups must be the caller's. A model's rule cannot be asked about rows that are gone, so
-- changes of a model with a rule are for programs (participant kind system) only. Called after set_identity_v1.
CREATE OR REPLACE FUNCTION pgsync_private.log_changes(
  p_after bigint,
  p_model text,
  p_op text[],
  p_since timestamptz,
  p_limit integer,
  p_transactions integer
)
  RETURNS jsonb
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off' -- a partition that was empty when it was last analyzed looks free to scan
AS $function$
DECLARE
  v_models jsonb;
  v_end bigint;
  v_head bigint;
  v_place record;
  v_previous bigint;
  v_last bigint := p_after;
  v_own jsonb[];
  v_events jsonb[] := ARRAY[]::jsonb[];
BEGIN
  SELECT COALESCE(
    pg_catalog.jsonb_object_agg(
      m.name,
      pg_catalog.jsonb_build_object('typename', m.typename, 'shared', m.is_shared, 'grouped', m.has_groups)),
    '{}')
  INTO v_models
  FROM pgsync_private.log_models() AS m
  WHERE (p_model IS NULL OR m.name = ANY (pgsync_private.model_names(p_model)))
    AND (NOT m.has_rule OR pgsync.participant_kind() = 'system');
  -- A transaction may have its place before its changes are visible: the list ends before it, or who follows by a cursor would pass it.
  SELECT COALESCE(pg_catalog.min(p.first_sync_id), 9223372036854775807)
  INTO v_end
  FROM pg_catalog.pg_snapshot_xip(pg_catalog.pg_current_snapshot()) AS x(x)
  INNER JOIN pgsync_private.position AS p ON p.xid = x.x;
  SELECT COALESCE(pg_catalog.max(p.last_sync_id), 0)
  INTO v_head
  FROM pgsync_private.position AS p
  WHERE p.last_sync_id < v_end;

  IF p_after IS NULL THEN
    FOR v_place IN
      SELECT
        p.xid,
        p.first_sync_id,
        p.last_sync_id
      FROM pgsync_private.position AS p
      WHERE p.last_sync_id >= p.first_sync_id
        AND p.last_sync_id <= v_head
      ORDER BY p.last_sync_id DESC
      LIMIT p_transactions
    LOOP
      CONTINUE WHEN v_place.last_sync_id = v_previous; -- two gateways have both stored it
      v_previous := v_place.last_sync_id;
      v_events := pgsync_private.log_transaction(
        v_place.xid, v_place.first_sync_id, v_place.last_sync_id, 0, v_models, p_op, p_since) || v_events;
      EXIT WHEN pg_catalog.cardinality(v_events) >= p_limit;
    END LOOP;
    v_events := v_events[GREATEST(pg_catalog.cardinality(v_events) - p_limit, 0) + 1:];
    RETURN pg_catalog.jsonb_build_object('events', pg_catalog.to_jsonb(v_events), 'last', v_head, 'more', false);
  END IF;

  FOR v_place IN
    SELECT
      p.xid,
      p.first_sync_id,
      p.last_sync_id
    FROM pgsync_private.position AS p
    WHERE p.last_sync_id > p_after
      AND p.last_sync_id >= p.first_sync_id
      AND p.last_sync_id <= v_head
    ORDER BY p.last_sync_id
    LIMIT p_transactions
  LOOP
    CONTINUE WHEN v_place.last_sync_id = v_previous;
    v_previous := v_place.last_sync_id;
    v_own := pgsync_private.log_transaction(
      v_place.xid, v_place.first_sync_id, v_place.last_sync_id, p_after, v_models, p_op, p_since);
    IF pg_catalog.cardinality(v_events) + pg_catalog.cardinality(v_own) > p_limit THEN
      v_events := v_events || v_own[:p_limit - pg_catalog.cardinality(v_events)];
      IF pg_catalog.cardinality(v_events) > 0 THEN
        v_last := GREATEST(v_last, (v_events[pg_catalog.cardinality(v_events)] ->> 'id')::bigint);
      END IF;
      RETURN pg_catalog.jsonb_build_object('events', pg_catalog.to_jsonb(v_events), 'last', v_last, 'more', true);
    END IF;
    v_events := v_events || v_own;
    v_last := v_place.last_sync_id;
  END LOOP;
  RETURN pg_catalog.jsonb_build_object('events', pg_catalog.to_jsonb(v_events), 'last', v_last, 'more', v_last < v_head);
END
$function$;

ALTER FUNCTION pgsync_private.log_changes(bigint, text, text[], timestamptz, integer, integer) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.log_changes(bigint, text, text[], timestamptz, integer, integer) FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.log_changes(bigint, text, text[], timestamptz, integer, integer) IS
  'Changes that the caller may know of, as the logs carry them.';
