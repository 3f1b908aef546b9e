-- The request of a single-row route in the form of a batch; part of what an idempotency key stands for.
CREATE OR REPLACE FUNCTION pgsync_private.row_request(p_action text, p_model text, p_id text, p_body jsonb)
  RETURNS jsonb
  LANGUAGE sql
  STABLE
  PARALLEL SAFE
  SECURITY INVOKER
  RETURN pg_catalog.jsonb_build_object(
    'route', 'models',
    'operations', pg_catalog.jsonb_build_array(
      (p_body - ARRAY['claim', 'reads', 'track', 'idempotencyKey'])
        || pg_catalog.jsonb_build_object('action', p_action, 'model', p_model, 'id', COALESCE(p_id, p_body ->> 'id'), 'claimId', p_body -> 'claim')),
    'reads', p_body -> 'reads',
    'track', p_body -> 'track');

ALTER FUNCTION pgsync_private.row_request(text, text, text, jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.row_request(text, text, text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.row_request(text, text, text, jsonb) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.row_request(text, text, text, jsonb) IS 'The request of a single-row route in the form of a batch.';
