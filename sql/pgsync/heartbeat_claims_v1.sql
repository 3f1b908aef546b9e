-- Says that the participant still holds, and still waits for, all of its claims. p_request: {"ttl"}.
-- One that somebody else is changing at this moment is reported as it was; its next heartbeat counts.
-- Answer: {"outcome": "answered", "answer": {"object": "list", "results": [{"claimId", "status": held, queued or lost, ..}]}}; lost are those
-- that ran out within the last minute.
-- SECURITY DEFINER: claims are private.
CREATE OR REPLACE FUNCTION pgsync.heartbeat_claims_v1(p_identity jsonb, p_request jsonb)
  RETURNS jsonb
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off'
AS $function$
DECLARE
  v_organization text := p_identity ->> 'organizationId';
  v_kind text := p_identity ->> 'participantKind';
  v_participant text := p_identity ->> 'participantId';
  v_ttl interval := CASE WHEN COALESCE(p_request -> 'ttl', 'null') <> 'null' THEN pgsync_private.claim_ttl(p_request -> 'ttl') END;
  v_problem jsonb;
  v_results jsonb;
BEGIN
  v_problem := pgsync_private.check_claim_request(p_request - 'target');
  IF v_problem IS NOT NULL THEN
    RETURN pgsync_private.claim_refusal(v_problem);
  END IF;
  UPDATE pgsync_private.claim AS c
  SET ttl = COALESCE(v_ttl, c.ttl),
      expires_at = pg_catalog.clock_timestamp()
        + CASE c.status WHEN 'active' THEN COALESCE(v_ttl, c.ttl) ELSE pgsync_private.claim_ticket_lease() END,
      also_through = pgsync_private.claim_through(c.capability_id, c.also_through, p_identity ->> 'capabilityId')
  WHERE c.organization_id = v_organization
    AND c.id = ANY (ARRAY(
      SELECT o.id
      FROM pgsync_private.claim AS o
      WHERE o.organization_id = v_organization
        AND o.participant_id = v_participant
        AND o.participant_kind = v_kind
        AND o.ended_at IS NULL
        AND o.expires_at > pg_catalog.clock_timestamp()
      FOR UPDATE SKIP LOCKED
    ));
  SELECT COALESCE(
    pg_catalog.jsonb_agg(
      CASE
        WHEN o.expires_at > pg_catalog.clock_timestamp() THEN pgsync_private.claim_beat(o)
        ELSE pg_catalog.jsonb_build_object('claimId', o.id, 'status', 'lost')
      END
      ORDER BY o.place),
    '[]')
  INTO v_results
  FROM pgsync_private.claim AS o
  WHERE o.organization_id = v_organization
    AND o.participant_id = v_participant
    AND o.participant_kind = v_kind
    AND o.ended_at IS NULL;
  SELECT v_results || COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('claimId', o.id, 'status', 'lost') ORDER BY o.place), '[]')
  INTO v_results
  FROM pgsync_private.claim AS o
  WHERE o.organization_id = v_organization
    AND o.participant_id = v_participant
    AND o.participant_kind = v_kind
    AND o.ended_at > pg_catalog.clock_timestamp() - INTERVAL '1 minute'
    AND o.status = 'expired';
  RETURN pgsync_private.claim_answer(pg_catalog.jsonb_build_object('object', 'list', 'results', v_results));
END
$function$;

ALTER FUNCTION pgsync.heartbeat_claims_v1(jsonb, jsonb) OWNER TO pgsync_writer;
REVOKE ALL ON FUNCTION pgsync.heartbeat_claims_v1(jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.heartbeat_claims_v1(jsonb, jsonb) TO pgsync_gateway;
COMMENT ON FUNCTION pgsync.heartbeat_claims_v1(jsonb, jsonb) IS 'Extends all leases and places in line of a participant.';
