-- The key of the advisory lock on a claim target: commits that write the row share it, whatever changes its claims takes it alone.
CREATE OR REPLACE FUNCTION pgsync_private.claim_lock_key(p_scope text, p_model text, p_id text)
  RETURNS bigint
  LANGUAGE sql
  IMMUTABLE
  PARALLEL SAFE
  SECURITY INVOKER
  RETURN pg_catalog.hashtextextended('pgsync claim' || pg_catalog.chr(31) || p_scope || pg_catalog.chr(31) || p_model || pg_catalog.chr(31) || p_id, 0);

ALTER FUNCTION pgsync_private.claim_lock_key(text, text, text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.claim_lock_key(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.claim_lock_key(text, text, text) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.claim_lock_key(text, text, text) IS 'The key of the advisory lock on a claim target.';
