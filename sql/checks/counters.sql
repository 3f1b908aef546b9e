-- Counters that run out: transaction ids of the database, sequences of the synced tables.
SELECT
  CASE WHEN pg_catalog.age(d.datfrozenxid) > 1800000000 THEN 'error' ELSE 'warning' END AS level,
  'database ' || d.datname AS object,
  pg_catalog.format('is %s transactions old; at 2,100,000,000 it stops taking writes', pg_catalog.age(d.datfrozenxid)) AS finding,
  'VACUUM (FREEZE) the oldest tables; look for prepared transactions, replication slots and sessions that hold it back' AS remedy
FROM pg_catalog.pg_database AS d
WHERE d.datname = pg_catalog.current_database()
  AND pg_catalog.age(d.datfrozenxid) > 1200000000
UNION ALL
SELECT
  CASE WHEN q.last_value > q.max_value * 0.95 THEN 'error' ELSE 'warning' END,
  pg_catalog.format('%I.%I', q.schemaname, q.sequencename),
  pg_catalog.format('has given out %s of %s numbers', q.last_value, q.max_value),
  'change the column and the sequence to bigint, and push'
FROM pg_catalog.pg_sequences AS q
JOIN pg_catalog.pg_depend AS d
  ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
  AND d.objid = pg_catalog.format('%I.%I', q.schemaname, q.sequencename)::pg_catalog.regclass
  AND d.deptype IN ('a', 'i')
JOIN pg_catalog.pg_class AS c
  ON c.oid = d.refobjid
JOIN pg_catalog.pg_namespace AS n
  ON n.oid = c.relnamespace
JOIN pgsync_private.schema_version AS s
  ON s.state = 'active'
CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(s.models) AS m(m)
WHERE n.nspname = m.m ->> 'namespace'
  AND c.relname = m.m ->> 'table'
  AND q.increment_by > 0
  AND q.last_value > q.max_value * 0.8
ORDER BY level, object;
