-- Gives back the leases that the participant has on a row or, if it has none, its places in line; the next gets its turn.
-- Two handles of one participant on one row therefore release together.
-- Answer: {"outcome": "answered", "answer": {"object": "claim_release", "released"}}, or refused with unknown_model.
-- SECURITY DEFINER: claims are private.
CREATE OR REPLACE FUNCTION pgsync.release_row_claims_v1(p_identity jsonb, p_model text, p_id text)
  RETURNS jsonb
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off'
AS $function$
DECLARE
  v_organization text := p_identity ->> 'organizationId';
  v_model text[] := pgsync_generated.resolve_model(p_model);
  v_scope text := pgsync_generated.claim_scope(v_model[1], v_organization);
  v_lane text;
  v_leases text[];
  v_all text[];
  v_count integer := 0;
  v_ignored text; -- an assignment is cheaper than PERFORM, which goes through the executor
BEGIN
  IF v_model IS NULL THEN
    RETURN pgsync_private.claim_refusal(pgsync_private.check_claim_target(p_identity, v_model, p_model, p_id, false));
  END IF;
  FOREACH v_lane IN ARRAY ARRAY[v_scope, pgsync_private.unseen_scope(v_scope)]
  LOOP
    v_ignored := pg_catalog.pg_advisory_xact_lock(pgsync_private.claim_lock_key(v_lane, v_model[1], p_id));
    v_ignored := pgsync_private.advance_claims(v_lane, v_model[1], p_id);
    SELECT
      pg_catalog.array_agg(c.id) FILTER (WHERE c.status = 'active'),
      pg_catalog.array_agg(c.id)
    INTO v_leases, v_all
    FROM pgsync_private.claim AS c
    WHERE c.scope = v_lane
      AND c.model = v_model[1]
      AND c.row_id = p_id
      AND c.ended_at IS NULL
      AND (c.organization_id, c.participant_kind, c.participant_id)
        IS NOT DISTINCT FROM (v_organization, p_identity ->> 'participantKind', p_identity ->> 'participantId');
    IF v_all IS NOT NULL THEN
      v_count := v_count + pgsync_private.end_claims(v_lane, v_model[1], p_id, v_organization, COALESCE(v_leases, v_all));
    END IF;
  END LOOP;
  RETURN pgsync_private.claim_answer(pg_catalog.jsonb_build_object('object', 'claim_release', 'released', v_count > 0));
END
$function$;

ALTER FUNCTION pgsync.release_row_claims_v1(jsonb, text, text) OWNER TO pgsync_writer;
REVOKE ALL ON FUNCTION pgsync.release_row_claims_v1(jsonb, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.release_row_claims_v1(jsonb, text, text) TO pgsync_gateway;
COMMENT ON FUNCTION pgsync.release_row_claims_v1(jsonb, text, text) IS 'Gives back the claims that a participant has on a row.';
