-- Where the claims meet of those who do not see a row that is there: apart from those who see it (p_scope), of whom they must learn nothing.
CREATE OR REPLACE FUNCTION pgsync_private.unseen_scope(p_scope text)
  RETURNS text
  LANGUAGE sql
  IMMUTABLE
  PARALLEL SAFE
  SECURITY INVOKER
  RETURN pg_catalog.chr(31) || p_scope;

ALTER FUNCTION pgsync_private.unseen_scope(text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.unseen_scope(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.unseen_scope(text) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.unseen_scope(text) IS 'Where the claims meet of those who do not see a row that is there.';
