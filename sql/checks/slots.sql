-- Replication slots of gateways (pgsync_<deployment>): lost ones, orphans, and how much of the log they keep.
WITH slot AS (
  SELECT
    s.slot_name::text AS name,
    s.active,
    COALESCE(s.wal_status, 'reserved') AS wal_status,
    s.safe_wal_size,
    CASE
      WHEN pg_catalog.pg_is_in_recovery() THEN NULL
      ELSE pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.restart_lsn)
    END AS retained
  FROM pg_catalog.pg_replication_slots AS s
  WHERE s.slot_name ~ '^pgsync_'
    AND s.slot_type = 'logical'
    AND s.database = pg_catalog.current_database()
    AND NOT s.temporary
)
SELECT
  'error' AS level,
  'slot ' || s.name AS object,
  'is lost: the server has let go of log that it needed' AS finding,
  CASE
    WHEN s.active THEN 'nothing: its gateway makes a new one, and clients bootstrap'
    ELSE pg_catalog.format('start its gateway, which makes a new one; or drop it: pgsync slots drop %s', s.name)
  END AS remedy
FROM slot AS s
WHERE s.wal_status = 'lost'
UNION ALL
SELECT
  'error',
  'slot ' || s.name,
  pg_catalog.format('is about to be lost (%s): its gateway is too far behind', s.wal_status),
  'see why the gateway does not keep up; raise max_slot_wal_keep_size'
FROM slot AS s
WHERE s.wal_status = 'unreserved'
  OR s.safe_wal_size < 64 * 1024 * 1024
UNION ALL
SELECT
  CASE WHEN s.retained > 1024 * 1024 * 1024 THEN 'error' ELSE 'warning' END,
  'slot ' || s.name,
  pg_catalog.format('no gateway reads it, and it keeps %s of log', pg_catalog.pg_size_pretty(s.retained)),
  pg_catalog.format('start its gateway (--deployment %s), or drop it: pgsync slots drop %s', pg_catalog.substr(s.name, 8), s.name)
FROM slot AS s
WHERE NOT s.active
  AND s.wal_status <> 'lost'
UNION ALL
SELECT
  'warning',
  'slot ' || s.name,
  pg_catalog.format('its gateway is behind: it keeps %s of log', pg_catalog.pg_size_pretty(s.retained)),
  'see the lag in GET /api/health; a long transaction or a busy gateway holds it back'
FROM slot AS s
WHERE s.active
  AND s.retained > 1024 * 1024 * 1024
ORDER BY level, object;
