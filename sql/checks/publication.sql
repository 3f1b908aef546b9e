-- The publication as a whole: what it passes on, and tables in it that no model uses.
WITH model AS (
  SELECT
    m.m ->> 'namespace' AS namespace,
    m.m ->> 'table' AS name
  FROM pgsync_private.schema_version AS s
  CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(s.models) AS m(m)
  WHERE s.state = 'active'
)
SELECT
  'error' AS level,
  'publication pgsync' AS object,
  'does not exist: there is nothing to stream' AS finding,
  'push the schema again' AS remedy
WHERE NOT EXISTS (
  SELECT
  FROM pg_catalog.pg_publication AS p
  WHERE p.pubname = 'pgsync'
)
UNION ALL
SELECT
  'error',
  'publication pgsync',
  'does not pass on every kind of change, or not through the root of partitioned tables',
  'ALTER PUBLICATION pgsync SET (publish = ''insert, update, delete, truncate'', publish_via_partition_root = true)'
FROM pg_catalog.pg_publication AS p
WHERE p.pubname = 'pgsync'
  AND NOT (p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate AND p.pubviaroot)
UNION ALL
SELECT
  'warning',
  'publication pgsync',
  'publishes all tables: every change of the database is sent to every gateway',
  'drop it, and push the schema again'
FROM pg_catalog.pg_publication AS p
WHERE p.pubname = 'pgsync'
  AND p.puballtables
UNION ALL
SELECT
  'notice',
  pg_catalog.format('%I.%I', n.nspname, c.relname),
  'is in the publication pgsync and belongs to no model: its changes are sent to the gateways, which drop them',
  pg_catalog.format('ALTER PUBLICATION pgsync DROP TABLE %I.%I', n.nspname, c.relname)
FROM pg_catalog.pg_publication AS p
JOIN pg_catalog.pg_publication_rel AS r
  ON r.prpubid = p.oid
JOIN pg_catalog.pg_class AS c
  ON c.oid = r.prrelid
JOIN pg_catalog.pg_namespace AS n
  ON n.oid = c.relnamespace
WHERE p.pubname = 'pgsync'
  AND NOT EXISTS (
    SELECT
    FROM model AS m
    WHERE m.namespace = n.nspname
      AND m.name = c.relname
  )
UNION ALL
-- Row filters and column lists exist from PostgreSQL 15 on; to_jsonb reads them where the column is not there, too.
SELECT
  'error',
  pg_catalog.format('%I.%I', n.nspname, c.relname),
  'the publication filters its rows or columns: clients see other rows than the table has',
  pg_catalog.format('ALTER PUBLICATION pgsync DROP TABLE %1$I.%2$I, then ADD TABLE %1$I.%2$I', n.nspname, c.relname)
FROM pg_catalog.pg_publication AS p
JOIN pg_catalog.pg_publication_rel AS r
  ON r.prpubid = p.oid
JOIN pg_catalog.pg_class AS c
  ON c.oid = r.prrelid
JOIN pg_catalog.pg_namespace AS n
  ON n.oid = c.relnamespace
WHERE p.pubname = 'pgsync'
  AND (pg_catalog.to_jsonb(r) ->> 'prqual' IS NOT NULL OR pg_catalog.to_jsonb(r) ->> 'prattrs' IS NOT NULL)
ORDER BY level, object;
