-- All sync groups of the caller, also those that it has not asked to be shown: what actor.groups of a read rule means. Empty outside a pgsync
-- call. By fewer, a rule such as NOT (team = ANY (actor.groups)) would show more to whoever asks for less.
-- Policies call it as (SELECT pgsync.actor_groups()), so that it is evaluated once per query.
-- The body is bound when the function is created, so search_path cannot change its meaning.
CREATE OR REPLACE FUNCTION pgsync.actor_groups()
  RETURNS text[]
  LANGUAGE sql
  STABLE
  PARALLEL SAFE
  SECURITY INVOKER
  RETURN ARRAY(
    SELECT g.g
    FROM pg_catalog.jsonb_array_elements_text(NULLIF(pg_catalog.current_setting('pgsync.actor_groups', true), '')::jsonb) AS g(g)
  );

ALTER FUNCTION pgsync.actor_groups() OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.actor_groups() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.actor_groups() TO pgsync_writer, pgsync_gateway;
COMMENT ON FUNCTION pgsync.actor_groups() IS 'All sync groups of the caller, also those that it has not asked to be shown.';
