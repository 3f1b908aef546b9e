-- What is installed in this database, how far the number line has come, and what may hold the stream up. One row.
-- oldest_transaction_seconds: no slot gets past a transaction that is open. For whoever may read pgsync_private.
SELECT
  pg_catalog.current_database() AS database,
  pg_catalog.current_setting('server_version') AS postgres_version,
  (SELECT pg_catalog.max(m.name) FROM pgsync_private.migration AS m) AS migration,
  v.version AS schema_version,
  v.hash AS schema_hash,
  v.activated_at AS schema_activated_at,
  c.sync_id AS last_sync_id,
  c.stored_at AS counted_at,
  EXTRACT(epoch FROM pg_catalog.clock_timestamp() - c.stored_at)::float8 AS counted_seconds_ago,
  (SELECT pg_catalog.count(*) FROM pgsync_private.claim AS h WHERE h.ended_at IS NULL) AS open_claims,
  (
    SELECT
      EXTRACT(epoch FROM pg_catalog.clock_timestamp() - pg_catalog.min(a.xact_start))::float8
    FROM pg_catalog.pg_stat_activity AS a
    WHERE a.datname = pg_catalog.current_database()
      AND a.backend_xid IS NOT NULL
      AND a.pid <> pg_catalog.pg_backend_pid()
  ) AS oldest_transaction_seconds
FROM (VALUES (1)) AS one(one)
LEFT JOIN pgsync_private.schema_version AS v
  ON v.state = 'active'
LEFT JOIN LATERAL (
  SELECT
    k.sync_id,
    k.stored_at
  FROM pgsync_private.checkpoint AS k
  ORDER BY k.lsn DESC
  LIMIT 1
) AS c
  ON true;
