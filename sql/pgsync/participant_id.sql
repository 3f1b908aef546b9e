-- The id of the acting participant, or null.
-- Policies call it as (SELECT pgsync.participant_id()), so that it is evaluated once per query.
-- The body is bound when the function is created, so search_path cannot change its meaning.
CREATE OR REPLACE FUNCTION pgsync.participant_id()
  RETURNS text
  LANGUAGE sql
  STABLE
  PARALLEL SAFE
  SECURITY INVOKER
  RETURN NULLIF(pg_catalog.current_setting('pgsync.participant_id', true), '');

ALTER FUNCTION pgsync.participant_id() OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.participant_id() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.participant_id() TO pgsync_writer, pgsync_gateway;
COMMENT ON FUNCTION pgsync.participant_id() IS 'The id of the acting participant, or null.';
