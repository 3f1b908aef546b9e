-- Commits one operation on one row; p_body is the body of the request as it came: {"data", "id", "transactionId", guards}.
-- Answer and errors: as pgsync.commit_v1.
-- SECURITY DEFINER: the gateway has no right to write rows, the writer has, under row-level security.
CREATE OR REPLACE FUNCTION pgsync.write_v1(
  p_identity jsonb,
  p_key text,
  p_action text,
  p_model text,
  p_id text,
  p_body jsonb,
  p_evidence jsonb DEFAULT NULL
)
  RETURNS jsonb
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  RETURN pgsync_private.commit(p_identity, p_key, pgsync_private.row_request(p_action, p_model, p_id, p_body), p_evidence);
END
$function$;

ALTER FUNCTION pgsync.write_v1(jsonb, text, text, text, text, jsonb, jsonb) OWNER TO pgsync_writer;
REVOKE ALL ON FUNCTION pgsync.write_v1(jsonb, text, text, text, text, jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.write_v1(jsonb, text, text, text, text, jsonb, jsonb) TO pgsync_gateway;
COMMENT ON FUNCTION pgsync.write_v1(jsonb, text, text, text, text, jsonb, jsonb) IS 'Commits one operation on one row, once per idempotency key.';
