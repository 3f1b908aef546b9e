-- Whether the caller holds a sync group; false outside a pgsync call.
-- Policies call it as (SELECT pgsync.holds_group(..)), so that it is evaluated once per query.
-- The body is bound when the function is created, so search_path cannot change its meaning.
CREATE OR REPLACE FUNCTION pgsync.holds_group(p_group text)
  RETURNS boolean
  LANGUAGE sql
  STABLE
  PARALLEL SAFE
  SECURITY INVOKER
  RETURN COALESCE(NULLIF(pg_catalog.current_setting('pgsync.sync_groups', true), '')::jsonb ? p_group, false);

ALTER FUNCTION pgsync.holds_group(text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.holds_group(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.holds_group(text) TO pgsync_writer, pgsync_gateway;
COMMENT ON FUNCTION pgsync.holds_group(text) IS 'Whether the caller holds a sync group; false outside a pgsync call.';
