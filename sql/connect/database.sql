-- Lets the gateway's roles into a database that not everybody may connect to. Needs: to own the database, or a superuser.
DO $connect$
BEGIN
  IF NOT pg_catalog.has_database_privilege('pgsync_gateway', pg_catalog.current_database(), 'CONNECT')
    OR NOT pg_catalog.has_database_privilege('pgsync_listener', pg_catalog.current_database(), 'CONNECT')
  THEN
    EXECUTE pg_catalog.format('GRANT CONNECT ON DATABASE %I TO pgsync_gateway, pgsync_listener', pg_catalog.current_database());
  END IF;
END
$connect$;
