-- Replication slots of pgsync in this cluster: who reads them, how far, and what log the server keeps for them. Columns that came with 17 are
-- null before, and so is what only a checkpoint tells of slots of other databases. Parameter: a slot's name, null for all.
-- lag_bytes: what the gateway has not got yet; nobody reads: what was written since it was confirmed. lag_seconds: the same as the server has
-- measured it; nobody reads: how long ago the slot was there.
-- orphaned: nobody reads, and nobody can (lost, or a position that no checkpoint follows), or nobody has for p_orphaned_seconds.
-- For whoever may read pgsync_private, and sees the sessions of others (pg_read_all_stats).
SELECT
  o.*,
  NOT o.active AND (
    o.wal_status IS NOT DISTINCT FROM 'lost'
    OR COALESCE(o.checkpoint_known, true) IS FALSE
    OR COALESCE(o.idle_seconds, o.lag_seconds) > %(orphaned_seconds)s::float8
  ) AS orphaned
FROM (
  SELECT
    s.slot_name AS name,
    pg_catalog.substr(s.slot_name, 8) AS deployment,
    s.database,
    s.active,
    COALESCE(a.backend_start, n.inactive_since) AS since,
    EXTRACT(epoch FROM pg_catalog.clock_timestamp() - n.inactive_since)::float8 AS idle_seconds,
    GREATEST(
      pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), GREATEST(r.write_lsn, s.confirmed_flush_lsn)), 0)::bigint AS lag_bytes,
    CASE
      WHEN s.active
        THEN COALESCE(EXTRACT(epoch FROM r.write_lag), 0)
      ELSE EXTRACT(epoch FROM pg_catalog.clock_timestamp() - c.stored_at)
    END::float8 AS lag_seconds,
    pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.restart_lsn)::bigint AS retained_bytes,
    s.wal_status,
    s.safe_wal_size AS safe_bytes,
    n.failover,
    n.reason,
    CASE
      WHEN s.database = pg_catalog.current_database()
        THEN EXISTS (
          SELECT
          FROM pgsync_private.checkpoint AS k
          WHERE k.lsn >= s.confirmed_flush_lsn
        )
    END AS checkpoint_known
  FROM pg_catalog.pg_replication_slots AS s
  CROSS JOIN LATERAL (
    SELECT
      CASE WHEN NOT s.active THEN (pg_catalog.to_jsonb(s) ->> 'inactive_since')::timestamptz END AS inactive_since,
      (pg_catalog.to_jsonb(s) ->> 'failover')::boolean AS failover,
      pg_catalog.to_jsonb(s) ->> 'invalidation_reason' AS reason
  ) AS n
  LEFT JOIN pg_catalog.pg_stat_activity AS a
    ON a.pid = s.active_pid
  LEFT JOIN pg_catalog.pg_stat_replication AS r
    ON r.pid = s.active_pid
  LEFT JOIN LATERAL (
    SELECT
      k.stored_at
    FROM pgsync_private.checkpoint AS k
    WHERE s.database = pg_catalog.current_database()
      AND k.lsn <= s.confirmed_flush_lsn
    ORDER BY k.lsn DESC
    LIMIT 1
  ) AS c
    ON true
  WHERE s.slot_type = 'logical'
    AND s.slot_name LIKE 'pgsync\_%%'
    AND (%(name)s::text IS NULL OR s.slot_name = %(name)s)
) AS o
ORDER BY o.name;
