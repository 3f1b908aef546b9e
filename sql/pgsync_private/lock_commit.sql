-- Locks what a guarded commit touches, in one global order: first the organization when a premise is on a group, then per row the claim target
-- and the row, rows to be written against everybody, rows only read against writers. Returns null, or the refusal for missing rows.
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
  v_target record;
  v_missing text[];
  v_ignored text;
BEGIN
  IF EXISTS (SELECT FROM pg_catalog.jsonb_array_elements(p_premises) AS r(r) WHERE r.r ? 'group') THEN
    v_ignored := pg_catalog.pg_advisory_xact_lock(pgsync_private.organization_lock(p_organization));
  END IF;
  FOR v_target IN
    SELECT
      u.model,
      u.id,
      pg_catalog.bool_or(u.written) AS written,
      -- A row that an earlier operation of the commit creates need not be there yet.
      COALESCE(pg_catalog.min(u.index) FILTER (WHERE u.needed), 500) < COALESCE(pg_catalog.min(u.index) FILTER (WHERE u.created), 500) AS needed
    FROM (
      SELECT
        p.model,
        p.id,
        p.index,
        true AS written,
        p.action <> 'create' AS needed,
        p.action = 'create' AS created
      FROM pg_catalog.unnest(p_plan) AS p
      WHERE p.id IS NOT NULL
      UNION ALL
      SELECT
        r.r ->> 'model',
        r.r ->> 'id',
        500,
        false,
        false,
        false
      FROM pg_catalog.jsonb_array_elements(p_premises) AS r(r)
      WHERE r.r ? 'id'
    ) AS u
    GROUP BY u.model, u.id
    ORDER BY u.model, u.id
  LOOP
    v_ignored := pgsync_private.lock_claim_target(p_organization, v_target.model, v_target.id, false);
    IF NOT pgsync_generated.lock_row(v_target.model, v_target.id, v_target.written) AND v_target.needed THEN
      v_missing := pg_catalog.array_append(v_missing, v_target.id);
    END IF;
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
