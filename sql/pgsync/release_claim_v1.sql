-- Gives back a claim of the participant by its id, a lease or a place in line; the next in line gets its turn.
-- Answer: {"outcome": "answered", "answer": {"object": "claim_release", "released"}}; false: there is no such claim of yours any more.
-- SECURITY DEFINER: claims are private.
CREATE OR REPLACE FUNCTION pgsync.release_claim_v1(p_identity jsonb, p_claim_id text)
  RETURNS jsonb
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off'
AS $function$
DECLARE
  v_claim pgsync_private.claim;
  v_count integer := 0;
  v_ignored text; -- an assignment is cheaper than PERFORM, which goes through the executor
BEGIN
  SELECT c.*
  INTO v_claim
  FROM pgsync_private.claim AS c
  WHERE c.organization_id = p_identity ->> 'organizationId'
    AND c.id = p_claim_id
    AND (c.participant_kind, c.participant_id) IS NOT DISTINCT FROM (p_identity ->> 'participantKind', p_identity ->> 'participantId')
    AND c.ended_at IS NULL;
  IF FOUND THEN
    v_ignored := pg_catalog.pg_advisory_xact_lock(pgsync_private.claim_lock_key(v_claim.scope, v_claim.model, v_claim.row_id));
    v_ignored := pgsync_private.advance_claims(v_claim.scope, v_claim.model, v_claim.row_id);
    v_count := pgsync_private.end_claims(v_claim.scope, v_claim.model, v_claim.row_id, v_claim.organization_id, ARRAY[p_claim_id]);
  END IF;
  RETURN pgsync_private.claim_answer(pg_catalog.jsonb_build_object('object', 'claim_release', 'released', v_count > 0));
END
$function$;

ALTER FUNCTION pgsync.release_claim_v1(jsonb, text) OWNER TO pgsync_writer;
REVOKE ALL ON FUNCTION pgsync.release_claim_v1(jsonb, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.release_claim_v1(jsonb, text) TO pgsync_gateway;
COMMENT ON FUNCTION pgsync.release_claim_v1(jsonb, text) IS 'Gives back a claim by its id.';
