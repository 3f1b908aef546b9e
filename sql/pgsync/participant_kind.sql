-- The kind of the acting participant (user, agent, system), or null.
-- Policies call it as (SELECT pgsync.participant_kind()), so that it is evaluated once per query.
-- The body is bound when the function is created, so search_path cannot change its meaning.
CREATE OR REPLACE FUNCTION pgsync.participant_kind()
  RETURNS text
  LANGUAGE sql
  STABLE
  PARALLEL SAFE
  SECURITY INVOKER
  RETURN NULLIF(pg_catalog.current_setting('pgsync.participant_kind', true), '');

ALTER FUNCTION pgsync.participant_kind() OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.participant_kind() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.participant_kind() TO pgsync_writer, pgsync_gateway;
COMMENT ON FUNCTION pgsync.participant_kind() IS 'The kind of the acting participant (user, agent, system), or null.';
