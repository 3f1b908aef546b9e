-- What a server allows to whoever reads its log, and when it gives up a slot that stays behind. Settings that a version does not have are null.
-- replication_granted: by REPLICATION, or by membership in the role that stands for it at a provider. Any role may run it.
SELECT
  r.rolname,
  r.rolsuper
    OR r.rolreplication
    OR EXISTS (
      SELECT
      FROM pg_catalog.pg_roles AS g
      WHERE g.rolname IN ('rds_replication', 'cloudsqlreplica', 'azure_pg_admin')
        AND pg_catalog.pg_has_role(r.oid, g.oid, 'MEMBER')
    ) AS replication_granted,
  (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_replication) AS senders,
  pg_catalog.current_setting('max_wal_senders')::integer AS max_senders,
  pg_catalog.pg_size_bytes(NULLIF(pg_catalog.current_setting('max_slot_wal_keep_size'), '-1')) AS keep_bytes,
  NULLIF(EXTRACT(epoch FROM pg_catalog.current_setting('idle_replication_slot_timeout', true)::interval), 0)::float8 AS idle_seconds,
  pg_catalog.pg_size_bytes(pg_catalog.current_setting('wal_keep_size')) AS wal_keep_bytes,
  pg_catalog.current_setting('synchronous_standby_names') AS synchronous_standbys,
  pg_catalog.current_setting('synchronized_standby_slots', true) AS failover_standbys
FROM pg_catalog.pg_roles AS r
WHERE r.rolname = CURRENT_USER;
