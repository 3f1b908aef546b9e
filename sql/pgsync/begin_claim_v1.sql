-- As acquire_claim_v1, for a client that is connected: beside the outcome, {"heldByKind"}, the kind of the participant that is in the way, and
-- {"scope"}, where the claim meets others, for pgsync.claim_lines_v1.
-- Raises what acquire_claim_v1 raises.
-- SECURITY DEFINER: claims are private.
CREATE OR REPLACE FUNCTION pgsync.begin_claim_v1(p_identity jsonb, p_request jsonb)
  RETURNS jsonb
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off'
AS $function$
DECLARE
  v_outcome jsonb := pgsync.acquire_claim_v1(p_identity, p_request);
  v_holder text := COALESCE(v_outcome #>> '{answer,heldByClaim,claimId}', v_outcome #>> '{error,heldByClaim,claimId}');
BEGIN
  IF v_outcome -> 'answer' ->> 'id' IS NOT NULL THEN
    v_outcome := v_outcome || pg_catalog.jsonb_build_object(
      'scope',
      (
        SELECT c.scope
        FROM pgsync_private.claim AS c
        WHERE c.organization_id = p_identity ->> 'organizationId'
          AND c.id = v_outcome -> 'answer' ->> 'id'
      ));
  END IF;
  IF v_holder IS NOT NULL THEN
    v_outcome := v_outcome || pg_catalog.jsonb_build_object(
      'heldByKind',
      (
        SELECT c.participant_kind
        FROM pgsync_private.claim AS c
        WHERE c.organization_id = p_identity ->> 'organizationId'
          AND c.id = v_holder
      ));
  END IF;
  RETURN v_outcome;
END
$function$;

ALTER FUNCTION pgsync.begin_claim_v1(jsonb, jsonb) OWNER TO pgsync_writer;
REVOKE ALL ON FUNCTION pgsync.begin_claim_v1(jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.begin_claim_v1(jsonb, jsonb) TO pgsync_gateway;
COMMENT ON FUNCTION pgsync.begin_claim_v1(jsonb, jsonb) IS 'Takes a lease on a row or a place in line, for a client that is connected.';
