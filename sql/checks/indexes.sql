-- Indexes that reads of clients need: by tenant, by the columns of groups, and valid ones.
WITH model AS (
  SELECT
    m.m ->> 'tenantColumn' AS tenant,
    m.m -> 'groups' AS groups,
    c.oid,
    pg_catalog.format('%I.%I', n.nspname, c.relname) AS identity
  FROM pgsync_private.schema_version AS s
  CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(s.models) AS m(m)
  JOIN pg_catalog.pg_namespace AS n
    ON n.nspname = m.m ->> 'namespace'
  JOIN pg_catalog.pg_class AS c
    ON c.relnamespace = n.oid
    AND c.relname = m.m ->> 'table'
  WHERE s.state = 'active'
),
wanted AS (
  SELECT
    m.oid,
    m.identity,
    m.tenant,
    g.g ->> 'column' AS name,
    'finds the rows of a group' AS what
  FROM model AS m
  CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(m.groups) AS g(g)
  UNION
  SELECT
    m.oid,
    m.identity,
    NULL,
    m.tenant,
    'finds the rows of an organization'
  FROM model AS m
  WHERE m.tenant IS NOT NULL
),
indexed AS (
  SELECT
    i.indrelid,
    a.attname::text AS first,
    b.attname::text AS second
  FROM pg_catalog.pg_index AS i
  JOIN pg_catalog.pg_attribute AS a
    ON a.attrelid = i.indrelid
    AND a.attnum = i.indkey[0]
  LEFT JOIN pg_catalog.pg_attribute AS b
    ON b.attrelid = i.indrelid
    AND i.indnatts > 1
    AND b.attnum = i.indkey[1]
  WHERE i.indisvalid
    AND i.indpred IS NULL
)
SELECT
  'warning' AS level,
  w.identity AS object,
  pg_catalog.format('no index on %I %s: it would be a scan of the table', w.name, w.what) AS finding,
  pg_catalog.format(
    'CREATE INDEX CONCURRENTLY ON %s (%s)', w.identity, pg_catalog.concat_ws(', ', pg_catalog.quote_ident(w.tenant), pg_catalog.quote_ident(w.name))) AS remedy
FROM wanted AS w
WHERE NOT EXISTS (
  SELECT
  FROM indexed AS l
  WHERE l.indrelid = w.oid
    AND (l.first = w.name OR (l.first = w.tenant AND l.second = w.name))
)
UNION ALL
SELECT
  'warning',
  i.indexrelid::pg_catalog.regclass::text,
  'is invalid: an index build did not end',
  pg_catalog.format('DROP INDEX CONCURRENTLY %1$s, then build it again (or REINDEX INDEX CONCURRENTLY %1$s)', i.indexrelid::pg_catalog.regclass)
FROM pg_catalog.pg_index AS i
WHERE NOT i.indisvalid
  AND i.indrelid IN (
    SELECT m.oid
    FROM model AS m
  )
UNION ALL
SELECT
  'warning',
  pg_catalog.format('%s.%I', m.identity, o.conname),
  'is not validated: rows of before it may break it',
  pg_catalog.format('ALTER TABLE %s VALIDATE CONSTRAINT %I', m.identity, o.conname)
FROM model AS m
JOIN pg_catalog.pg_constraint AS o
  ON o.conrelid = m.oid
WHERE NOT o.convalidated
ORDER BY level, object, finding;
