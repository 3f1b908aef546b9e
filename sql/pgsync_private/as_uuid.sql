-- A text as a UUID when it is one in the spelling that Postgres prints, else null: whoever compares texts decides alike.
CREATE OR REPLACE FUNCTION pgsync_private.as_uuid(p_text text)
  RETURNS uuid
  LANGUAGE sql
  IMMUTABLE
  PARALLEL SAFE
  SECURITY INVOKER
  RETURN CASE
    WHEN p_text ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' THEN p_text::uuid
  END;

ALTER FUNCTION pgsync_private.as_uuid(text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.as_uuid(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.as_uuid(text) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.as_uuid(text) IS 'A text as a UUID when it is one in the spelling that Postgres prints, else null.';
