-- Indexes that reads and writes of participants need: by tenant, by the columns of groups, by references; and references without a foreign key.
-- pgsync.models holds the models as JSON; pgsync check sets it.
WITH model AS (
{% include "fit/parts/model.sql" %}
),
wanted AS (
  SELECT
    m.oid,
    m.identity,
    m.tenant,
    g.g AS name,
    'finds the rows of a group' AS what
  FROM model AS m
  CROSS JOIN LATERAL pg_catalog.jsonb_array_elements_text(m.m -> 'groups') AS g(g)
  WHERE m.relkind IN ('r', 'p')
  UNION ALL
  SELECT
    m.oid,
    m.identity,
    m.tenant,
    r.r ->> 'column',
    pg_catalog.format('finds the rows that refer to a row of %s', r.r ->> 'target')
  FROM model AS m
  CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(m.m -> 'references') AS r(r)
  WHERE m.relkind IN ('r', 'p')
  UNION ALL
  SELECT
    m.oid,
    m.identity,
    NULL,
    m.tenant,
    'finds the rows of an organization'
  FROM model AS m
  WHERE m.tenant IS NOT NULL
    AND m.relkind IN ('r', 'p')
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
JOIN pg_catalog.pg_attribute AS a
  ON a.attrelid = w.oid
  AND a.attname = w.name
WHERE NOT EXISTS (
  SELECT
  FROM indexed AS l
  WHERE l.indrelid = w.oid
    AND (l.first = w.name OR (l.first = w.tenant AND l.second = w.name))
)
UNION ALL
SELECT
  'notice',
  m.identity,
  pg_catalog.format('no foreign key on %I: a commit checks the reference, other writers do not', r.r ->> 'column'),
  pg_catalog.format('ALTER TABLE %s ADD FOREIGN KEY (%I) REFERENCES %s NOT VALID, then VALIDATE CONSTRAINT', m.identity, r.r ->> 'column', r.r ->> 'table')
FROM model AS m
CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(m.m -> 'references') AS r(r)
JOIN pg_catalog.pg_attribute AS a
  ON a.attrelid = m.oid
  AND a.attname = r.r ->> 'column'
WHERE NOT EXISTS (
  SELECT
  FROM pg_catalog.pg_constraint AS o
  WHERE o.conrelid = m.oid
    AND o.contype = 'f'
    AND a.attnum = ANY (o.conkey)
)
ORDER BY level, object, finding;
