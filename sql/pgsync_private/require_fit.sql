-- Refuses models, given as schema versions hold them, that this database is not ready for: a table or column is missing or has another type,
-- or the active version has something that they lack, so that they would not only add to it. What a reviewed script asks before it begins.
-- Raises: 42P01 for tables and columns, PS202 for what would be lost.
CREATE OR REPLACE FUNCTION pgsync_private.require_fit(p_models jsonb)
  RETURNS void
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_problems text;
BEGIN
  SELECT pg_catalog.string_agg(p.problem, '; ' ORDER BY p.problem)
  INTO v_problems
  FROM (
    SELECT pg_catalog.format('table %I.%I of model %s is missing', m.m ->> 'namespace', m.m ->> 'table', m.m ->> 'key') AS problem
    FROM pg_catalog.jsonb_array_elements(p_models) AS m(m)
    WHERE pg_catalog.to_regclass(pg_catalog.format('%I.%I', m.m ->> 'namespace', m.m ->> 'table')) IS NULL
    UNION ALL
    SELECT pg_catalog.format(
      'column %I of table %I.%I is %s, field %s of model %s says %s',
      f.f ->> 'column', m.m ->> 'namespace', m.m ->> 'table',
      COALESCE(pg_catalog.format_type(a.atttypid, a.atttypmod), 'missing'),
      f.f ->> 'name', m.m ->> 'key', f.f ->> 'sqlType')
    FROM pg_catalog.jsonb_array_elements(p_models) AS m(m)
    CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(m.m -> 'fields') AS f(f)
    JOIN pg_catalog.pg_class AS c
      ON c.oid = pg_catalog.to_regclass(pg_catalog.format('%I.%I', m.m ->> 'namespace', m.m ->> 'table'))
    LEFT JOIN pg_catalog.pg_attribute AS a
      ON a.attrelid = c.oid
      AND a.attname = f.f ->> 'column'
      AND NOT a.attisdropped
    WHERE pg_catalog.format_type(a.atttypid, a.atttypmod) IS DISTINCT FROM f.f ->> 'sqlType'
  ) AS p;
  IF v_problems IS NOT NULL THEN
    RAISE EXCEPTION USING
      ERRCODE = 'undefined_table',
      MESSAGE = 'the tables do not fit the schema',
      DETAIL = v_problems,
      HINT = 'Make and alter tables with: pgsync migrate schema.py (or pgsync compile --migrate for those that are missing).';
  END IF;

  SELECT pg_catalog.string_agg(l.lost, '; ' ORDER BY l.lost)
  INTO v_problems
  FROM (
    SELECT CASE WHEN n.m IS NULL THEN 'model ' || (b.m ->> 'key') ELSE pg_catalog.format('field %s.%s', b.m ->> 'key', f.f ->> 'name') END AS lost
    FROM pgsync_private.schema_version AS s
    CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(s.models) AS b(m)
    CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(b.m -> 'fields') AS f(f)
    LEFT JOIN pg_catalog.jsonb_array_elements(p_models) AS n(m)
      ON n.m ->> 'key' = b.m ->> 'key'
      AND n.m ->> 'table' = b.m ->> 'table'
      AND n.m ->> 'namespace' = b.m ->> 'namespace'
      AND n.m -> 'tenantColumn' = b.m -> 'tenantColumn'
    WHERE s.state = 'active'
      AND NOT EXISTS (
        SELECT
        FROM pg_catalog.jsonb_array_elements(n.m -> 'fields') AS g(f)
        WHERE g.f ->> 'name' = f.f ->> 'name'
          AND g.f ->> 'column' = f.f ->> 'column'
          AND g.f ->> 'sqlType' = f.f ->> 'sqlType'
          AND (g.f ->> 'required' = 'false' OR f.f ->> 'required' = 'true')
          AND (g.f -> 'enumValues' = 'null' OR f.f -> 'enumValues' <> 'null' AND g.f -> 'enumValues' @> (f.f -> 'enumValues'))
      )
    GROUP BY 1
  ) AS l;
  IF v_problems IS NOT NULL THEN
    RAISE EXCEPTION USING
      ERRCODE = 'PS202',
      MESSAGE = 'the active version has what this one lacks or changes, so this script does not replace it',
      DETAIL = v_problems,
      HINT = 'See what it takes: pgsync push schema.py --dry-run';
  END IF;
END
$function$;

ALTER FUNCTION pgsync_private.require_fit(jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.require_fit(jsonb) FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.require_fit(jsonb) IS 'Refuses models that this database is not ready for.';
