-- The answer of a commit that was refused by rule: nothing was written, and the caller learns why.
CREATE OR REPLACE FUNCTION pgsync_private.refusal(p_code text, p_message text, p_details jsonb DEFAULT '{}')
  RETURNS jsonb
  LANGUAGE sql
  IMMUTABLE
  PARALLEL SAFE
  SECURITY INVOKER
  RETURN pg_catalog.jsonb_build_object(
    'outcome', 'refused',
    'error', p_details || pg_catalog.jsonb_build_object('code', p_code, 'message', p_message));

ALTER FUNCTION pgsync_private.refusal(text, text, jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.refusal(text, text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.refusal(text, text, jsonb) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.refusal(text, text, jsonb) IS 'The answer of a commit that was refused by rule.';
