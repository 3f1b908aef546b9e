-- Claims of the caller's organization that the caller is shown: holders first, in the order of the line; those who wait only when model and id
-- are given. p_filter: {"model", "id", "field", "actorId", "actorKind", "onBehalfOfId", "capabilityId", "limit", "starting_after"}, all of text.
-- field: only claims that a claim on this part would collide with.
-- Answer: {"outcome": "answered", "answer": {"object": "list", "data", "has_more", "next_cursor"}}, or refused with unknown_model, invalid_input.
-- SECURITY DEFINER: claims are private; owned by the writer because it looks at rows under row-level security.
CREATE OR REPLACE FUNCTION pgsync.claims_v1(p_identity jsonb, p_filter jsonb)
  RETURNS jsonb
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off'
AS $function$
DECLARE
  v_organization text := p_identity ->> 'organizationId';
  v_model_key text := p_filter ->> 'model';
  v_model text[] := pgsync_generated.resolve_model(v_model_key);
  v_with_line boolean := v_model_key IS NOT NULL AND p_filter ->> 'id' IS NOT NULL;
  v_actor_kind text := CASE p_filter ->> 'actorKind' WHEN 'human' THEN 'user' ELSE p_filter ->> 'actorKind' END;
  v_problem jsonb;
  v_limit integer;
  v_claim pgsync_private.claim;
  v_data jsonb := '[]';
  v_count integer := 0;
  v_last bigint;
  v_more boolean := false;
  v_ignored text; -- an assignment is cheaper than PERFORM, which goes through the executor
BEGIN
  v_ignored := pgsync.set_identity_v1(p_identity);
  IF v_model_key IS NOT NULL THEN
    v_problem := pgsync_private.check_claim_target(p_identity, v_model, v_model_key, p_filter ->> 'id', false);
  END IF;
  IF COALESCE(p_filter ->> 'limit', '1') !~ '^[1-9][0-9]{0,3}$' OR COALESCE(p_filter ->> 'starting_after', '0') !~ '^[0-9]{1,18}$' THEN
    v_problem := '{"code": "invalid_input", "message": "limit is 1 to 1000, starting_after the cursor of the page before", "param": "limit"}';
  END IF;
  IF v_problem IS NOT NULL THEN
    RETURN pgsync_private.claim_refusal(v_problem);
  END IF;
  v_limit := LEAST(COALESCE(p_filter ->> 'limit', '1000')::integer, 1000);

  FOR v_claim IN
    SELECT c.*
    FROM pgsync_private.claim AS c
    WHERE c.organization_id = v_organization
      AND c.ended_at IS NULL
      AND c.expires_at > pg_catalog.clock_timestamp()
      AND (v_model IS NULL OR (c.scope = pgsync_generated.claim_scope(v_model[1], v_organization) AND c.model = v_model[1]))
      AND (p_filter ->> 'id' IS NULL OR c.row_id = p_filter ->> 'id')
      AND (c.status = 'active' OR v_with_line)
      AND (p_filter ->> 'field' IS NULL OR c.parts IS NULL OR pg_catalog.lower(p_filter ->> 'field') = ANY (c.parts))
      AND (p_filter ->> 'actorId' IS NULL OR c.participant_id = p_filter ->> 'actorId')
      AND (v_actor_kind IS NULL OR c.participant_kind = v_actor_kind)
      AND (p_filter ->> 'onBehalfOfId' IS NULL OR c.on_behalf_of_id = p_filter ->> 'onBehalfOfId')
      AND (p_filter ->> 'capabilityId' IS NULL OR c.capability_id = p_filter ->> 'capabilityId')
      AND (v_with_line OR c.place > COALESCE(p_filter ->> 'starting_after', '0')::bigint)
    ORDER BY c.status, c.place
  LOOP
    CONTINUE WHEN NOT pgsync_private.sees_claim(p_identity, v_claim);
    IF v_count = v_limit AND NOT v_with_line THEN
      v_more := true;
      EXIT;
    END IF;
    v_last := v_claim.place;
    v_count := v_count + 1;
    v_data := v_data || pgsync_private.claim_json(
      v_claim, COALESCE(v_model_key, v_claim.model_key), CASE v_claim.status WHEN 'queued' THEN pgsync_private.claim_position(v_claim) END);
  END LOOP;
  RETURN pgsync_private.claim_answer(pg_catalog.jsonb_build_object(
    'object', 'list',
    'data', v_data,
    'has_more', v_more,
    'next_cursor', CASE WHEN v_more THEN v_last::text END));
END
$function$;

ALTER FUNCTION pgsync.claims_v1(jsonb, jsonb) OWNER TO pgsync_writer;
REVOKE ALL ON FUNCTION pgsync.claims_v1(jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.claims_v1(jsonb, jsonb) TO pgsync_gateway;
COMMENT ON FUNCTION pgsync.claims_v1(jsonb, jsonb) IS 'Claims of the caller''s organization.';
