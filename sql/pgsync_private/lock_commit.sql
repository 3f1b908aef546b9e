-- Locks what a guarded commit touches, in one global order: first the organization (alone when a premise is on a group, else together with its
-- other writers), then per row the claim target and the row, rows to be written against everybody, rows only read against writers.
-- Returns null, or the refusal for missing rows.
-- Direct SQL has its rows before its trigger asks for the organization. So whoever has the organization alone does not wait long for a row,
-- but lets go of everything and begins again; SQLSTATE 55P03 when that does not help within lock_timeout.
CREATE OR REPLACE FUNCTION pgsync_private.lock_commit(
  p_organization text,
  p_plan pgsync_private.planned_operation[],
  p_premises jsonb
)
  RETURNS jsonb
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_missing text[];
  v_alone boolean := EXISTS (SELECT FROM pg_catalog.jsonb_array_elements(p_premises) AS r(r) WHERE r.r ? 'group');
  v_lock bigint;
  v_lock_timeout text := pg_catalog.current_setting('lock_timeout');
  v_has_organization boolean := false;
  v_deadline timestamptz := pg_catalog.clock_timestamp() + LEAST(NULLIF(v_lock_timeout, '0')::interval, INTERVAL '10 seconds');
  v_ignored text;
BEGIN
  IF NOT v_alone THEN
    FOR v_lock IN
      SELECT DISTINCT pgsync_private.organization_lock(pgsync_generated.claim_scope(p.model, p_organization)) AS lock
      FROM pg_catalog.unnest(p_plan) AS p
      ORDER BY lock
    LOOP
      v_ignored := pg_catalog.pg_advisory_xact_lock_shared(v_lock);
    END LOOP;
    v_missing := pgsync_private.lock_rows(p_organization, p_plan, p_premises);
  END IF;
  WHILE v_alone
  LOOP
    BEGIN
      v_has_organization := false;
      FOR v_lock IN
        SELECT pgsync_private.organization_lock(s.s) AS lock
        FROM pg_catalog.unnest(ARRAY[p_organization, NULL]) AS s(s)
        ORDER BY lock
      LOOP
        v_ignored := pg_catalog.pg_advisory_xact_lock(v_lock);
      END LOOP;
      v_has_organization := true;
      v_ignored := pg_catalog.set_config('lock_timeout', '100ms', true);
      v_missing := pgsync_private.lock_rows(p_organization, p_plan, p_premises);
      v_ignored := pg_catalog.set_config('lock_timeout', v_lock_timeout, true);
      EXIT;
    EXCEPTION
      WHEN lock_not_available THEN
        IF NOT v_has_organization OR pg_catalog.clock_timestamp() >= v_deadline THEN
          RAISE;
        END IF;
    END;
  END LOOP;
  IF v_missing IS NOT NULL THEN
    RETURN pgsync_private.refusal(
      'mutate_update_entity_not_found',
      pg_catalog.format('no such row: %s', pg_catalog.array_to_string(v_missing, ', ')),
      pg_catalog.jsonb_build_object('missingIds', pg_catalog.to_jsonb(v_missing)));
  END IF;
  RETURN NULL;
END
$function$;

ALTER FUNCTION pgsync_private.lock_commit(text, pgsync_private.planned_operation[], jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.lock_commit(text, pgsync_private.planned_operation[], jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.lock_commit(text, pgsync_private.planned_operation[], jsonb) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.lock_commit(text, pgsync_private.planned_operation[], jsonb) IS 'Locks what a guarded commit touches, in one global order.';
