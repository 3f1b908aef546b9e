-- Whether the caller's grants let it read a model, named by its lower-cased typename; false outside a pgsync call. No grants at all are
-- every grant.
-- Policies call it as (SELECT pgsync.may_read(..)), so that it is evaluated once per query.
-- The body is bound when the function is created, so search_path cannot change its meaning.
CREATE OR REPLACE FUNCTION pgsync.may_read(p_model text)
  RETURNS boolean
  LANGUAGE sql
  STABLE
  PARALLEL SAFE
  SECURITY INVOKER
  RETURN COALESCE(
    NULLIF(pg_catalog.current_setting('pgsync.operations', true), '')::jsonb ?| ARRAY[p_model || '.read', '*.read']
      OR NULLIF(pg_catalog.current_setting('pgsync.operations', true), '')::jsonb = '[]',
    false);

ALTER FUNCTION pgsync.may_read(text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.may_read(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.may_read(text) TO pgsync_writer, pgsync_gateway;
COMMENT ON FUNCTION pgsync.may_read(text) IS 'Whether the caller''s grants let it read a model; false outside a pgsync call.';
