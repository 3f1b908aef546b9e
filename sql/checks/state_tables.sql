-- The tables of pgsync itself: partitions for the coming days, retention, bloat, age.
WITH partitioned AS (
  SELECT
    p.relname::text AS name,
    pg_catalog.max(c.relname::text) FILTER (WHERE c.relname ~ '_[0-9]{8}$') AS newest,
    pg_catalog.min(c.relname::text) FILTER (WHERE c.relname ~ '_[0-9]{8}$') AS oldest
  FROM pg_catalog.pg_class AS p
  JOIN pg_catalog.pg_inherits AS i
    ON i.inhparent = p.oid
  JOIN pg_catalog.pg_class AS c
    ON c.oid = i.inhrelid
  WHERE p.relnamespace = 'pgsync_private'::pg_catalog.regnamespace
    AND p.relname IN ('change', 'position', 'claim_event', 'audit_act', 'audit_block')
  GROUP BY p.relname
),
state AS (
  SELECT
    t.relname::text AS name,
    t.relid,
    t.n_live_tup,
    t.n_dead_tup,
    t.last_autovacuum,
    c.relfrozenxid
  FROM pg_catalog.pg_stat_user_tables AS t
  JOIN pg_catalog.pg_class AS c
    ON c.oid = t.relid
  WHERE t.schemaname = 'pgsync_private'
)
SELECT
  'warning' AS level,
  'pgsync_private.' || p.name AS object,
  'has no partition for today: nothing has maintained it (a gateway does every hour)' AS finding,
  'SELECT pgsync.maintain_v1()' AS remedy
FROM partitioned AS p
WHERE COALESCE(pg_catalog.right(p.newest, 8), '') < pg_catalog.to_char(pg_catalog.now() AT TIME ZONE 'UTC', 'YYYYMMDD')
UNION ALL
SELECT
  'warning',
  'pgsync_private.' || p.name,
  pg_catalog.format(
    'still keeps %s, beyond its retention of %s days',
    pg_catalog.to_date(pg_catalog.right(p.oldest, 8), 'YYYYMMDD'),
    s.value),
  'SELECT pgsync.maintain_v1()'
FROM partitioned AS p
JOIN pgsync_private.setting AS s
  ON s.name = 'change_retention_days'
WHERE pg_catalog.to_date(pg_catalog.right(p.oldest, 8), 'YYYYMMDD') < (pg_catalog.now() AT TIME ZONE 'UTC')::date - s.value::integer - 2
UNION ALL
SELECT
  'notice',
  'pgsync_private.change',
  pg_catalog.format('the change log has %s in %s days of retention', pg_catalog.pg_size_pretty(z.size), s.value),
  'shorten it: UPDATE pgsync_private.setting SET value = ''3'' WHERE name = ''change_retention_days'''
FROM pgsync_private.setting AS s
CROSS JOIN (
  SELECT COALESCE(pg_catalog.sum(pg_catalog.pg_total_relation_size(i.inhrelid)), 0) AS size
  FROM pg_catalog.pg_inherits AS i
  WHERE i.inhparent = 'pgsync_private.change'::pg_catalog.regclass
) AS z
WHERE s.name = 'change_retention_days'
  AND z.size > 10 * 1024::bigint * 1024 * 1024
UNION ALL
SELECT
  'warning',
  'pgsync_private.' || s.name,
  pg_catalog.format('%s of its rows are dead (%s live): vacuum does not keep up', s.n_dead_tup, s.n_live_tup),
  pg_catalog.format('VACUUM pgsync_private.%I; look for transactions that stay open for hours', s.name)
FROM state AS s
WHERE s.n_dead_tup > 50000
  AND s.n_dead_tup > s.n_live_tup
UNION ALL
SELECT
  'warning',
  'pgsync_private.' || s.name,
  pg_catalog.format('its oldest row is %s transactions old', pg_catalog.age(s.relfrozenxid)),
  pg_catalog.format('VACUUM (FREEZE) pgsync_private.%I', s.name)
FROM state AS s
WHERE pg_catalog.age(s.relfrozenxid) > 1000000000
  AND s.relfrozenxid <> '0'
ORDER BY level, object;
