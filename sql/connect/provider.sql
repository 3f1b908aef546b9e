-- Whose server this is, as its roles tell, with what only that provider's console or its own roles can do. One row; self for a server of one's own.
SELECT
  COALESCE(p.provider, 'self') AS provider,
  p.wal_level AS wal_level_remedy,
  p.replication_role,
  pg_catalog.current_setting('wal_level') AS wal_level,
  (
    SELECT s.pending_restart
    FROM pg_catalog.pg_settings AS s
    WHERE s.name = 'wal_level'
  ) AS restart_is_pending,
  r.rolsuper AS is_superuser,
  r.rolcreaterole AS may_create_roles,
  pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE') AS may_create_in_database
FROM pg_catalog.pg_roles AS r
LEFT JOIN (
  SELECT
    v.provider,
    v.wal_level,
    CASE WHEN x.rolname IS NOT NULL THEN v.replication_role END AS replication_role
  FROM (
    VALUES
      (1, 'rds_superuser', 'rds', 'set rds.logical_replication = 1 in the parameter group, then reboot the instance', 'rds_replication'),
      (2, 'cloudsqlsuperuser', 'cloudsql', 'set the flag cloudsql.logical_decoding = on, which restarts the instance', NULL),
      (3, 'alloydbsuperuser', 'alloydb', 'set the flag alloydb.logical_decoding = on, which restarts the instance', NULL),
      (4, 'azure_pg_admin', 'azure', 'set the server parameter wal_level = logical, then restart the server', NULL),
      (5, 'neon_superuser', 'neon', 'turn on logical replication in the project''s settings', NULL),
      (6, 'supabase_admin', 'supabase', 'nothing: it is logical', NULL)
  ) AS v(place, role, provider, wal_level, replication_role)
  JOIN pg_catalog.pg_roles AS k
    ON k.rolname = v.role
  LEFT JOIN pg_catalog.pg_roles AS x
    ON x.rolname = v.replication_role
  ORDER BY v.place
  LIMIT 1
) AS p
  ON true
WHERE r.rolname = CURRENT_USER;
