-- The organization of the caller, or null outside a pgsync call.
-- Policies call it as (SELECT pgsync.organization_id()), so that it is evaluated once per query.
-- The body is bound when the function is created, so search_path cannot change its meaning.
CREATE OR REPLACE FUNCTION pgsync.organization_id()
  RETURNS text
  LANGUAGE sql
  STABLE
  PARALLEL SAFE
  SECURITY INVOKER
  RETURN NULLIF(pg_catalog.current_setting('pgsync.organization_id', true), '');

ALTER FUNCTION pgsync.organization_id() OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.organization_id() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.organization_id() TO pgsync_writer, pgsync_gateway;
COMMENT ON FUNCTION pgsync.organization_id() IS 'The organization of the caller, or null outside a pgsync call.';
