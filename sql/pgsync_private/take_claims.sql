-- Ends claims of a row against their participants' will, leases and places in line; p_reason: why, for their participants to learn.
-- The caller holds the exclusive lock of the target, and settles the line afterwards (pgsync_private.advance_claims).
CREATE OR REPLACE FUNCTION pgsync_private.take_claims(p_organization text, p_claim_ids text[], p_reason text)
  RETURNS void
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off'
AS $function$
DECLARE
  v_claim pgsync_private.claim;
  v_ignored text;
BEGIN
  FOR v_claim IN
    UPDATE pgsync_private.claim AS c
    SET status = 'expired',
        end_reason = p_reason,
        ended_at = pg_catalog.clock_timestamp()
    WHERE c.organization_id = p_organization
      AND c.id = ANY (p_claim_ids)
      AND c.ended_at IS NULL
    RETURNING c.*
  LOOP
    v_ignored := pgsync_private.record_claim_event(v_claim, p_reason, NULL, true);
  END LOOP;
END
$function$;

ALTER FUNCTION pgsync_private.take_claims(text, text[], text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.take_claims(text, text[], text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.take_claims(text, text[], text) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.take_claims(text, text[], text) IS 'Ends claims of a row against their participants'' will.';
