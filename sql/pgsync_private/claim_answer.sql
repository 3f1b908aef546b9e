-- A successful answer of a claim function with its HTTP status.
CREATE OR REPLACE FUNCTION pgsync_private.claim_answer(p_answer jsonb, p_status integer DEFAULT 200)
  RETURNS jsonb
  LANGUAGE sql
  IMMUTABLE
  PARALLEL SAFE
  SECURITY INVOKER
  RETURN pg_catalog.jsonb_build_object('outcome', 'answered', 'status', p_status, 'answer', p_answer);

ALTER FUNCTION pgsync_private.claim_answer(jsonb, integer) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.claim_answer(jsonb, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.claim_answer(jsonb, integer) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.claim_answer(jsonb, integer) IS 'A successful answer of a claim function with its HTTP status.';
