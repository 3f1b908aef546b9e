-- The credentials that a claim is held through besides the one that it was asked for with, when p_caller speaks for it: the latest eight.
-- p_caller and p_first are null for a token of another issuer, which has no credential here.
CREATE OR REPLACE FUNCTION pgsync_private.claim_through(p_first text, p_others text[], p_caller text)
  RETURNS text[]
  LANGUAGE sql
  IMMUTABLE
  SECURITY INVOKER
  RETURN CASE
    WHEN p_caller IS NOT DISTINCT FROM p_first OR COALESCE(p_caller, '') = ANY (p_others) THEN p_others
    ELSE (ARRAY[COALESCE(p_caller, '')] || p_others)[:8]
  END;

ALTER FUNCTION pgsync_private.claim_through(text, text[], text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.claim_through(text, text[], text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.claim_through(text, text[], text) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.claim_through(text, text[], text) IS
  'The credentials that a claim is held through besides its first.';
