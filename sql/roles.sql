-- The four roles of pgsync. They are cluster-wide; a second database of the same cluster shares them.
--   pgsync_owner     owns the namespaces, tables and most functions; nobody logs in as it
--   pgsync_writer    owns the write functions, which run with its rights and under row-level security
--   pgsync_gateway   the gateway logs in as it: may call pgsync.* and read synced tables under row-level security
--   pgsync_listener  reads the write-ahead log and stores checkpoints
-- Needs: CREATEROLE. Where that is not enough to give REPLICATION away (before PostgreSQL 16, or without having it), the last one is made
-- without it, and a warning says so.
-- Who is no superuser becomes a member of the first two: nobody else could hand them what they are to own.
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
    BEGIN
      CREATE ROLE pgsync_listener LOGIN REPLICATION NOBYPASSRLS;
    EXCEPTION
      WHEN insufficient_privilege THEN
        CREATE ROLE pgsync_listener LOGIN NOBYPASSRLS;
        RAISE WARNING USING
          ERRCODE = 'insufficient_privilege',
          MESSAGE = 'role pgsync_listener has no REPLICATION, because the role that made it may not give it',
          DETAIL = 'A gateway cannot stream until it has.',
          HINT = 'As a superuser: ALTER ROLE pgsync_listener REPLICATION; at a provider, grant it the role that stands for it (rds_replication).';
    END;
  END IF;
EXCEPTION
  WHEN duplicate_object OR unique_violation THEN
    NULL; -- another database of this cluster is being installed at the same moment: it has just made them
END
$roles$;
DO $membership$
BEGIN
  IF NOT (SELECT r.rolsuper FROM pg_catalog.pg_roles AS r WHERE r.rolname = CURRENT_USER) THEN
    GRANT pgsync_owner, pgsync_writer TO CURRENT_USER;
  END IF;
EXCEPTION
  WHEN insufficient_privilege THEN
    NULL; -- somebody else has made the roles: he has made this one a member, or the next step says what it lacks
END
$membership$;
