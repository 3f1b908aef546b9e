-- The organization of the caller as a UUID, for tables whose tenant column holds one; null when it is none, or outside a pgsync call.
-- Policies call it as (SELECT pgsync.organization_uuid()), so that it is evaluated once per query.
-- The body is bound when the function is created, so search_path cannot change its meaning.
CREATE OR REPLACE FUNCTION pgsync.organization_uuid()
  RETURNS uuid
  LANGUAGE sql
  STABLE
  PARALLEL SAFE
  SECURITY INVOKER
  RETURN CASE
    WHEN pg_catalog.current_setting('pgsync.organization_id', true) ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'
    THEN pg_catalog.current_setting('pgsync.organization_id', true)::uuid
  END;

ALTER FUNCTION pgsync.organization_uuid() OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.organization_uuid() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.organization_uuid() TO pgsync_writer, pgsync_gateway;
COMMENT ON FUNCTION pgsync.organization_uuid() IS 'The organization of the caller as a UUID, or null.';
