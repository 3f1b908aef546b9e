-- Commits a batch of operations for an authenticated identity: all of them or none.
-- p_key: the idempotency key; a repeated call with the same key and request returns the stored answer and writes nothing.
-- p_request: {"route", "operations": [{"action", "model", "id", "data", "transactionId"}]}
-- p_evidence: what was visible at each readAt of the request: {"<readAt>": {"snapshot", "seen": [xid, ..]}}, or null.
-- Answer: {"outcome": "committed", "serverTxId", "createdAt", "ops", "replayed", "madeIds"?}
--   or {"outcome": "refused", "error": {"code", "message", ..}}.
-- madeIds: {number of the operation: id} of creates that named none.
-- Raises: SQLSTATEs of the database's own constraints; PS103-PS106 for field values; nothing is written then either.
-- SECURITY DEFINER: the gateway has no right to write rows, the writer has, under row-level security.
CREATE OR REPLACE FUNCTION pgsync.commit_v1(p_identity jsonb, p_key text, p_request jsonb, p_evidence jsonb DEFAULT NULL)
  RETURNS jsonb
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  RETURN pgsync_private.commit(p_identity, p_key, p_request, p_evidence);
END
$function$;

ALTER FUNCTION pgsync.commit_v1(jsonb, text, jsonb, jsonb) OWNER TO pgsync_writer;
REVOKE ALL ON FUNCTION pgsync.commit_v1(jsonb, text, jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.commit_v1(jsonb, text, jsonb, jsonb) TO pgsync_gateway;
COMMENT ON FUNCTION pgsync.commit_v1(jsonb, text, jsonb, jsonb) IS 'Commits a batch of operations, all or none, once per idempotency key.';
