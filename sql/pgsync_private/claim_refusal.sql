-- The answer to a claim request that was refused by rule, from {"code", "message", ..}.
CREATE OR REPLACE FUNCTION pgsync_private.claim_refusal(p_problem jsonb)
  RETURNS jsonb
  LANGUAGE sql
  IMMUTABLE
  PARALLEL SAFE
  SECURITY INVOKER
  RETURN pgsync_private.refusal(p_problem ->> 'code', p_problem ->> 'message', p_problem);

ALTER FUNCTION pgsync_private.claim_refusal(jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.claim_refusal(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.claim_refusal(jsonb) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.claim_refusal(jsonb) IS 'The answer to a claim request that was refused by rule.';
