-- The four roles of pgsync. They are cluster-wide; a second database of the same cluster shares them.
--   pgsync_owner     owns the namespaces, tables and most functions; nobody logs in as it
--   pgsync_writer    owns the write functions, which run with its rights and under row-level security
--   pgsync_gateway   the gateway logs in as it: may call pgsync.* and read synced tables under row-level security
--   pgsync_listener  reads the write-ahead log and stores checkpoints
-- Needs: CREATEROLE, and REPLICATION (or superuser) for the last one.
-- Undo: sql/uninstall.sql
DO $roles$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.rolname = 'pgsync_owner') THEN
    CREATE ROLE pgsync_owner NOLOGIN NOBYPASSRLS;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.rolname = 'pgsync_writer') THEN
    CREATE ROLE pgsync_writer NOLOGIN NOBYPASSRLS;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.rolname = 'pgsync_gateway') THEN
    CREATE ROLE pgsync_gateway LOGIN NOBYPASSRLS;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.rolname = 'pgsync_listener') THEN
    CREATE ROLE pgsync_listener LOGIN REPLICATION NOBYPASSRLS;
  END IF;
EXCEPTION
  WHEN duplicate_object OR unique_violation THEN
    NULL; -- another database of this cluster is being installed at the same moment: it has just made them
END
$roles$;
