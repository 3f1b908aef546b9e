-- Whether pgsync is here, with an active schema.
SELECT
  'error' AS level,
  pg_catalog.current_database()::text AS object,
  'pgsync is installed, but no schema is active: there is nothing to serve' AS finding,
  'pgsync push schema.py' AS remedy
WHERE NOT EXISTS (
  SELECT
  FROM pgsync_private.schema_version AS s
  WHERE s.state = 'active'
)
UNION ALL
SELECT
  'notice',
  'proposal ' || p.hash,
  pg_catalog.format('a schema was proposed over HTTP at %s and is not active', pg_catalog.date_trunc('second', p.proposed_at)),
  'pgsync push --proposed'
FROM pgsync_private.schema_proposal AS p
ORDER BY level, object;
