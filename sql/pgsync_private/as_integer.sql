-- A text as a whole number when it is one in the spelling that Postgres prints, of at most 18 digits, else null: whoever compares texts
-- decides alike.
CREATE OR REPLACE FUNCTION pgsync_private.as_integer(p_text text)
  RETURNS bigint
  LANGUAGE sql
  IMMUTABLE
  PARALLEL SAFE
  SECURITY INVOKER
  RETURN CASE
    WHEN p_text ~ '^(0|-?[1-9][0-9]{0,17})$' THEN p_text::bigint
  END;

ALTER FUNCTION pgsync_private.as_integer(text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.as_integer(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.as_integer(text) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.as_integer(text) IS 'A text as a whole number when it is one in the spelling that Postgres prints, else null.';
