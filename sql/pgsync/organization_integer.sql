-- The organization of the caller as a whole number, for tables whose tenant column holds one; null when it is none, or outside a pgsync call.
-- Policies call it as (SELECT pgsync.organization_integer()), so that it is evaluated once per query.
-- The body is bound when the function is created, so search_path cannot change its meaning.
CREATE OR REPLACE FUNCTION pgsync.organization_integer()
  RETURNS bigint
  LANGUAGE sql
  STABLE
  PARALLEL SAFE
  SECURITY INVOKER
  RETURN CASE
    WHEN pg_catalog.current_setting('pgsync.organization_id', true) ~ '^(0|-?[1-9][0-9]{0,17})$'
    THEN pg_catalog.current_setting('pgsync.organization_id', true)::bigint
  END;

ALTER FUNCTION pgsync.organization_integer() OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.organization_integer() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.organization_integer() TO pgsync_writer, pgsync_gateway;
COMMENT ON FUNCTION pgsync.organization_integer() IS 'The organization of the caller as a whole number, or null.';
