-- The database role that runs the statement, also from inside a SECURITY DEFINER function.
CREATE OR REPLACE FUNCTION pgsync_private.role_name()
  RETURNS text
  LANGUAGE sql
  STABLE
  SECURITY INVOKER
  RETURN CASE pg_catalog.current_setting('role')
    WHEN 'none' THEN SESSION_USER::text
    ELSE pg_catalog.current_setting('role')
  END;

ALTER FUNCTION pgsync_private.role_name() OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.role_name() FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.role_name() IS 'The database role that runs the statement.';
