-- What a participant is told about a claim of his that has ended: released, canceled, expired, revoked or preempted.
CREATE OR REPLACE FUNCTION pgsync_private.claim_end_reason(p_claim pgsync_private.claim)
  RETURNS text
  LANGUAGE sql
  IMMUTABLE
  SECURITY INVOKER
  RETURN CASE (p_claim).status
    WHEN 'committed' THEN 'released'
    WHEN 'canceled' THEN 'canceled'
    ELSE COALESCE((p_claim).end_reason, 'expired')
  END;

ALTER FUNCTION pgsync_private.claim_end_reason(pgsync_private.claim) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.claim_end_reason(pgsync_private.claim) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.claim_end_reason(pgsync_private.claim) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.claim_end_reason(pgsync_private.claim) IS 'What a participant is told about a claim of his that has ended.';
