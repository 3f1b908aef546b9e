-- One replication slot of this database: how far it is confirmed, what log the server keeps for it, and whether it can still be read.
-- Columns that came with later versions (failover, invalidation_reason: 17) are null before. Parameter: the slot's name. Any role may run it.
SELECT
  s.confirmed_flush_lsn::text AS confirmed_lsn,
  s.wal_status IS NOT DISTINCT FROM 'lost' AS is_lost,
  s.active AS is_active,
  s.wal_status,
  s.safe_wal_size AS safe_bytes,
  CASE
    WHEN NOT pg_catalog.pg_is_in_recovery()
      THEN GREATEST(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), s.restart_lsn), 0)::bigint
  END AS retained_bytes,
  (pg_catalog.to_jsonb(s) ->> 'failover')::boolean AS failover,
  pg_catalog.to_jsonb(s) ->> 'invalidation_reason' AS reason
FROM pg_catalog.pg_replication_slots AS s
WHERE s.slot_name = %s
  AND s.database = pg_catalog.current_database();
