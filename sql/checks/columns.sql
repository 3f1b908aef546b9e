-- Columns of fields that were dropped, renamed or given another type by hand. Applications go on writing the table; gateways cannot write it,
-- and while a column is missing they neither read nor stream it.
WITH field AS (
  SELECT
    m.m ->> 'key' AS model,
    f.f ->> 'name' AS name,
    f.f ->> 'column' AS column_name,
    f.f ->> 'sqlType' AS type,
    c.oid,
    pg_catalog.format('%I.%I', n.nspname, c.relname) AS identity,
    m.m -> 'fields' AS fields
  FROM pgsync_private.schema_version AS s
  CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(s.models) AS m(m)
  CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(m.m -> 'fields') AS f(f)
  JOIN pg_catalog.pg_namespace AS n
    ON n.nspname = m.m ->> 'namespace'
  JOIN pg_catalog.pg_class AS c
    ON c.relnamespace = n.oid
    AND c.relname = m.m ->> 'table'
  WHERE s.state = 'active'
)
SELECT
  CASE WHEN a.attname IS NULL THEN 'error' ELSE 'warning' END AS level,
  f.identity || '.' || pg_catalog.quote_ident(f.column_name) AS object,
  CASE
    WHEN a.attname IS NULL THEN pg_catalog.format('the column of field %s of model %s is gone, or has another name', f.name, f.model)
    ELSE pg_catalog.format('is %s, field %s of model %s says %s', pg_catalog.format_type(a.atttypid, a.atttypmod), f.name, f.model, f.type)
  END AS finding,
  CASE
    WHEN a.attname IS NULL THEN pg_catalog.format(
      'rename it back; or give the field its new name in the schema and push with --rename %s.%s:NAME%s; or take the field out and push',
      f.model, f.name,
      (
        SELECT ' (columns of no field: ' || pg_catalog.string_agg(pg_catalog.quote_ident(o.attname), ', ' ORDER BY o.attnum) || ')'
        FROM pg_catalog.pg_attribute AS o
        WHERE o.attrelid = f.oid
          AND o.attnum > 0
          AND NOT o.attisdropped
          AND NOT EXISTS (
            SELECT
            FROM pg_catalog.jsonb_array_elements(f.fields) AS g(f)
            WHERE g.f ->> 'column' = o.attname
          )
      ))
    ELSE pg_catalog.format('give field %s that type in the schema and push with --allow %s.%s', f.name, f.model, f.name)
  END AS remedy
FROM field AS f
LEFT JOIN pg_catalog.pg_attribute AS a
  ON a.attrelid = f.oid
  AND a.attname = f.column_name
  AND a.attnum > 0
  AND NOT a.attisdropped
WHERE a.attname IS NULL
  OR pg_catalog.format_type(a.atttypid, a.atttypmod) <> f.type
ORDER BY level, object;
