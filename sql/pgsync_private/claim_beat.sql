-- What a heartbeat answers for a claim that lives: held or queued, until when, and the line.
CREATE OR REPLACE FUNCTION pgsync_private.claim_beat(p_claim pgsync_private.claim)
  RETURNS jsonb
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  RETURN pg_catalog.jsonb_build_object(
    'claimId', p_claim.id,
    'status', CASE p_claim.status WHEN 'active' THEN 'held' ELSE 'queued' END,
    'expiresAt', pgsync_private.claim_ms(p_claim.expires_at),
    CASE p_claim.status WHEN 'active' THEN 'queueDepth' ELSE 'position' END, pgsync_private.claim_position(p_claim));
END
$function$;

ALTER FUNCTION pgsync_private.claim_beat(pgsync_private.claim) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.claim_beat(pgsync_private.claim) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.claim_beat(pgsync_private.claim) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.claim_beat(pgsync_private.claim) IS 'What a heartbeat answers for a claim that lives.';
