-- The synced tables of the active schema: are they there, in the publication, under row security, with triggers that fire and a replica
-- identity that carries their key?
WITH model AS (
  SELECT
    m.m ->> 'key' AS key,
    m.m ->> 'namespace' AS namespace,
    m.m ->> 'table' AS name,
    pg_catalog.format('%I.%I', m.m ->> 'namespace', m.m ->> 'table') AS identity
  FROM pgsync_private.schema_version AS s
  CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(s.models) AS m(m)
  WHERE s.state = 'active'
),
synced AS (
  SELECT
    m.key,
    m.identity,
    c.oid,
    c.relrowsecurity,
    c.relreplident,
    c.relpersistence,
    r.rolname AS owner,
    r.rolname LIKE 'pgsync\_%' AS is_ours
  FROM model AS m
  JOIN pg_catalog.pg_namespace AS n
    ON n.nspname = m.namespace
  JOIN pg_catalog.pg_class AS c
    ON c.relnamespace = n.oid
    AND c.relname = m.name
    AND c.relkind IN ('r', 'p')
  JOIN pg_catalog.pg_roles AS r
    ON r.oid = c.relowner
)
SELECT
  'error' AS level,
  m.identity AS object,
  pg_catalog.format('the table of model %s does not exist', m.key) AS finding,
  'restore it, or take the model out of the schema and push' AS remedy
FROM model AS m
WHERE NOT EXISTS (
  SELECT
  FROM synced AS t
  WHERE t.key = m.key
)
UNION ALL
SELECT
  'error',
  t.identity,
  'is not in the publication pgsync: nobody hears of its changes',
  pg_catalog.format('ALTER PUBLICATION pgsync ADD TABLE %s; clients have to bootstrap', t.identity)
FROM synced AS t
WHERE NOT EXISTS (
  SELECT
  FROM pg_catalog.pg_publication_rel AS r
  JOIN pg_catalog.pg_publication AS p
    ON p.oid = r.prpubid
  WHERE p.pubname = 'pgsync'
    AND r.prrelid = t.oid
)
UNION ALL
SELECT
  'error',
  t.identity,
  'row security is off: whoever reads through a gateway sees every organization''s rows',
  pg_catalog.format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t.identity)
FROM synced AS t
WHERE NOT t.relrowsecurity
UNION ALL
SELECT
  'error',
  t.identity,
  pg_catalog.format('belongs to %s: a table''s owner is not bound by its row security', t.owner),
  pg_catalog.format('ALTER TABLE %s OWNER TO <a role of yours>', t.identity)
FROM synced AS t
WHERE t.is_ours
UNION ALL
SELECT
  'error',
  t.identity,
  pg_catalog.format('policy %s is gone', p.name),
  'push the schema again'
FROM synced AS t
CROSS JOIN (
  VALUES ('pgsync_select'), ('pgsync_read_grant'), ('pgsync_select_writer'), ('pgsync_insert'), ('pgsync_update'), ('pgsync_delete')
) AS p(name)
WHERE NOT EXISTS (
  SELECT
  FROM pg_catalog.pg_policy AS o
  WHERE o.polrelid = t.oid
    AND o.polname = p.name
)
UNION ALL
SELECT
  'error',
  t.identity,
  pg_catalog.format('trigger %s is gone', g.name),
  'push the schema again'
FROM synced AS t
CROSS JOIN (
  VALUES ('pgsync_10_announce'), ('pgsync_90_record'), ('pgsync_91_record_truncate')
) AS g(name)
WHERE NOT EXISTS (
  SELECT
  FROM pg_catalog.pg_trigger AS o
  WHERE o.tgrelid = t.oid
    AND o.tgname = g.name
)
UNION ALL
SELECT
  'error',
  t.identity,
  pg_catalog.format('trigger %s is disabled or does not always fire', o.tgname),
  pg_catalog.format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', t.identity, o.tgname)
FROM synced AS t
JOIN pg_catalog.pg_trigger AS o
  ON o.tgrelid = t.oid
WHERE o.tgname IN ('pgsync_10_announce', 'pgsync_20_keep_tenant', 'pgsync_90_record', 'pgsync_91_record_truncate')
  AND o.tgenabled <> 'A'
UNION ALL
SELECT
  'error',
  t.identity,
  'has no replica identity: updates and deletes of it fail',
  pg_catalog.format('ALTER TABLE %s REPLICA IDENTITY DEFAULT, then push the schema again', t.identity)
FROM synced AS t
WHERE t.relreplident = 'n'
  OR (
    t.relreplident = 'd'
    AND NOT EXISTS (
      SELECT
      FROM pg_catalog.pg_index AS i
      WHERE i.indrelid = t.oid
        AND i.indisprimary
    )
  )
UNION ALL
SELECT
  'error',
  t.identity,
  'is unlogged: its changes are not in the log',
  pg_catalog.format('ALTER TABLE %s SET LOGGED', t.identity)
FROM synced AS t
WHERE t.relpersistence <> 'p'
UNION ALL
SELECT
  'error',
  t.identity,
  CASE
    WHEN w.is_instead THEN pg_catalog.format('rule %I puts something in the place of writes: what a client wrote would not be in the table', w.rulename)
    ELSE pg_catalog.format('rule %I keeps clients from creating rows: Postgres refuses INSERT .. ON CONFLICT beside it', w.rulename)
  END,
  pg_catalog.format('DROP RULE %I ON %s', w.rulename, t.identity)
FROM synced AS t
JOIN pg_catalog.pg_rewrite AS w
  ON w.ev_class = t.oid
WHERE w.ev_enabled <> 'D'
  AND (w.is_instead OR w.ev_type IN ('2', '3')) -- UPDATE, INSERT
UNION ALL
SELECT
  'notice',
  t.identity,
  pg_catalog.format('policy %s no longer narrows anything: pgsync_public lets every other role through', o.polname),
  'make it RESTRICTIVE: CREATE POLICY .. AS RESTRICTIVE'
FROM synced AS t
JOIN pg_catalog.pg_policy AS o
  ON o.polrelid = t.oid
WHERE o.polpermissive
  AND o.polname NOT LIKE 'pgsync\_%'
  AND EXISTS (
    SELECT
    FROM pg_catalog.pg_policy AS p
    WHERE p.polrelid = t.oid
      AND p.polname = 'pgsync_public'
      AND p.polroles = '{0}'
  )
ORDER BY level, object, finding;
