-- The sync groups that the caller holds; empty outside a pgsync call.
-- Policies call it as (SELECT pgsync.sync_groups()), so that it is evaluated once per query.
-- The body is bound when the function is created, so search_path cannot change its meaning.
CREATE OR REPLACE FUNCTION pgsync.sync_groups()
  RETURNS text[]
  LANGUAGE sql
  STABLE
  PARALLEL SAFE
  SECURITY INVOKER
  RETURN ARRAY(
    SELECT g.g
    FROM pg_catalog.jsonb_array_elements_text(NULLIF(pg_catalog.current_setting('pgsync.sync_groups', true), '')::jsonb) AS g(g)
  );

ALTER FUNCTION pgsync.sync_groups() OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.sync_groups() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.sync_groups() TO pgsync_writer, pgsync_gateway;
COMMENT ON FUNCTION pgsync.sync_groups() IS 'The sync groups that the caller holds; empty outside a pgsync call.';
