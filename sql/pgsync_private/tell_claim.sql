-- Puts a hint into the log that something happened to a claim, in the transaction in which it happened; every gateway reads it there, in
-- commit order and without a lock. It names the row and the claim and says no more: what is true is asked with pgsync.claim_lines_v1.
CREATE OR REPLACE FUNCTION pgsync_private.tell_claim(p_claim pgsync_private.claim, p_event text)
  RETURNS void
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_ignored text; -- an assignment is cheaper than PERFORM, which goes through the executor
BEGIN
  v_ignored := pg_catalog.pg_logical_emit_message(
    true,
    'pgsync',
    pg_catalog.jsonb_build_object(
      't', 'k',
      'w', pgsync_private.message_token(),
      'event', p_event,
      'scope', p_claim.scope,
      'org', p_claim.organization_id,
      'model', p_claim.model,
      'id', p_claim.row_id,
      'claim', p_claim.id)::text);
END
$function$;

ALTER FUNCTION pgsync_private.tell_claim(pgsync_private.claim, text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.tell_claim(pgsync_private.claim, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.tell_claim(pgsync_private.claim, text) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.tell_claim(pgsync_private.claim, text) IS
  'Puts a hint into the log that something happened to a claim.';
