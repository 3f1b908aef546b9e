-- Whether a text may be a row id: 1 to 255 characters, none of them a control character.
CREATE OR REPLACE FUNCTION pgsync_private.check_id(p_id text)
  RETURNS boolean
  LANGUAGE sql
  IMMUTABLE
  PARALLEL SAFE
  SECURITY INVOKER
  RETURN p_id IS NOT NULL
    AND pg_catalog.char_length(p_id) BETWEEN 1 AND 255
    AND p_id !~ '[[:cntrl:]]';

ALTER FUNCTION pgsync_private.check_id(text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.check_id(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.check_id(text) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.check_id(text) IS 'Whether a text may be a row id.';
