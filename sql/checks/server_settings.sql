-- Settings of the server that the stream depends on, or that make its promises weaker.
WITH setting AS (
  SELECT
    pg_catalog.current_setting('wal_level') AS wal_level,
    pg_catalog.current_setting('max_replication_slots')::integer AS max_slots,
    pg_catalog.current_setting('max_wal_senders')::integer AS max_senders,
    pg_catalog.current_setting('max_slot_wal_keep_size') AS keep_size,
    pg_catalog.current_setting('wal_sender_timeout') AS sender_timeout,
    pg_catalog.current_setting('synchronous_standby_names') AS standby_names,
    pg_catalog.current_setting('fsync') AS fsync,
    pg_catalog.current_setting('track_counts') AS track_counts,
    pg_catalog.current_setting('autovacuum') AS autovacuum
)
SELECT
  'error' AS level,
  'wal_level' AS object,
  pg_catalog.format('is %s: the log does not carry rows', s.wal_level) AS finding,
  'ALTER SYSTEM SET wal_level = ''logical''; then restart the server' AS remedy
FROM setting AS s
WHERE s.wal_level <> 'logical'
UNION ALL
SELECT
  'error',
  pg_catalog.current_database()::text,
  'is a standby: commits and slots need the primary',
  'use the connection string of the primary'
WHERE pg_catalog.pg_is_in_recovery()
UNION ALL
SELECT
  'warning',
  'max_replication_slots',
  pg_catalog.format('%s of %s are taken: the next gateway finds none', u.used, s.max_slots),
  pg_catalog.format('ALTER SYSTEM SET max_replication_slots = %s; then restart the server', s.max_slots + 10)
FROM setting AS s
CROSS JOIN (
  SELECT pg_catalog.count(*) AS used
  FROM pg_catalog.pg_replication_slots
) AS u
WHERE u.used >= s.max_slots
UNION ALL
SELECT
  'warning',
  'max_wal_senders',
  pg_catalog.format('%s of %s are taken: the next gateway finds none', u.used, s.max_senders),
  pg_catalog.format('ALTER SYSTEM SET max_wal_senders = %s; then restart the server', s.max_senders + 10)
FROM setting AS s
CROSS JOIN (
  SELECT pg_catalog.count(*) AS used
  FROM pg_catalog.pg_stat_replication
) AS u
WHERE u.used >= s.max_senders
UNION ALL
SELECT
  'notice',
  'max_slot_wal_keep_size',
  'has no limit: a gateway that stays away keeps the log until the disk is full',
  'ALTER SYSTEM SET max_slot_wal_keep_size = ''10GB''; SELECT pg_reload_conf()'
FROM setting AS s
WHERE s.keep_size = '-1'
UNION ALL
SELECT
  'warning',
  'synchronous_standby_names',
  'is *: every commit waits for the gateway''s reader too, which confirms late',
  'ALTER SYSTEM SET synchronous_standby_names = ''FIRST 1 (<your standbys>)''; SELECT pg_reload_conf()'
FROM setting AS s
WHERE s.standby_names ~ '(^|[( ,])\*'
UNION ALL
SELECT
  'notice',
  'wal_sender_timeout',
  'is 0: the server does not notice a gateway that vanished, whose slot stays in use',
  'ALTER SYSTEM SET wal_sender_timeout = ''60s''; SELECT pg_reload_conf()'
FROM setting AS s
WHERE s.sender_timeout = '0'
UNION ALL
SELECT
  'warning',
  'fsync',
  'is off: a crash of the machine can take back commits that were confirmed',
  'ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf()'
FROM setting AS s
WHERE s.fsync = 'off'
UNION ALL
SELECT
  'warning',
  'autovacuum',
  'is off: the tables of pgsync grow with every change',
  'ALTER SYSTEM SET autovacuum = on; ALTER SYSTEM SET track_counts = on; SELECT pg_reload_conf()'
FROM setting AS s
WHERE s.autovacuum = 'off'
  OR s.track_counts = 'off'
ORDER BY level, object;
