-- Ends claims of a row that their participant gives back, and lets the next in. Call it under the exclusive lock of the target.
-- A lease that was given back is committed, a ticket canceled. Returns how many there were.
CREATE OR REPLACE FUNCTION pgsync_private.end_claims(p_scope text, p_model text, p_id text, p_organization text, p_claim_ids text[])
  RETURNS integer
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off'
AS $function$
DECLARE
  v_claim pgsync_private.claim;
  v_count integer := 0;
  v_ignored text;
BEGIN
  FOR v_claim IN
    UPDATE pgsync_private.claim AS c
    SET status = CASE c.status WHEN 'active' THEN 'committed' ELSE 'canceled' END,
        ended_at = pg_catalog.clock_timestamp()
    WHERE c.organization_id = p_organization
      AND c.id = ANY (p_claim_ids)
      AND c.scope = p_scope
      AND c.model = p_model
      AND c.row_id = p_id
      AND c.ended_at IS NULL
    RETURNING c.*
  LOOP
    v_count := v_count + 1;
    v_ignored := pgsync_private.record_claim_event(
      v_claim, CASE v_claim.status WHEN 'committed' THEN 'released' ELSE 'canceled' END, NULL, v_claim.status = 'canceled');
  END LOOP;
  v_ignored := pgsync_private.advance_claims(p_scope, p_model, p_id);
  RETURN v_count;
END
$function$;

ALTER FUNCTION pgsync_private.end_claims(text, text, text, text, text[]) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.end_claims(text, text, text, text, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.end_claims(text, text, text, text, text[]) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.end_claims(text, text, text, text, text[]) IS
  'Ends claims of a row that their participant gives back, and lets the next in.';
