-- Locks the rows that a guarded commit writes or depends on, and their claims, in one global order: rows to be written against everybody, rows
-- only read against writers. Returns the ids of rows that have to be there and are not, or null.
CREATE OR REPLACE FUNCTION pgsync_private.lock_rows(
  p_organization text,
  p_plan pgsync_private.planned_operation[],
  p_premises jsonb
)
  RETURNS text[]
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
  RETURN v_missing;
END
$function$;

ALTER FUNCTION pgsync_private.lock_rows(text, pgsync_private.planned_operation[], jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.lock_rows(text, pgsync_private.planned_operation[], jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.lock_rows(text, pgsync_private.planned_operation[], jsonb) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.lock_rows(text, pgsync_private.planned_operation[], jsonb) IS
  'Locks the rows that a guarded commit writes or depends on, and their claims, in one global order.';
