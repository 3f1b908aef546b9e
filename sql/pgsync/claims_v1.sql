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
  v_scope text := pgsync_generated.claim_scope(v_model[1], v_organization);
  v_with_line boolean := v_model_key IS NOT NULL AND p_filter ->> 'id' IS NOT NULL;
  v_actor_kind text := CASE p_filter ->> 'actorKind' WHEN 'human' THEN 'user' ELSE p_filter ->> 'actorKind' END;
  v_problem jsonb;
  v_limit integer;
  v_found record;
  v_claim pgsync_private.claim;
  v_data jsonb[] := '{}'::jsonb[];
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
    v_problem := '{"code": "invalid_input", "message": "limit is 1 to 1000, starting_after the cursor of the page before", "param": "limit"}'::jsonb;
  END IF;
  IF v_problem IS NOT NULL THEN
    RETURN pgsync_private.claim_refusal(v_problem);
  END IF;
  v_limit := LEAST(COALESCE(p_filter ->> 'limit', '1000')::integer, 1000);

  FOR v_found IN
    SELECT
      s.claim,
      s.position
    FROM (
      SELECT
        t AS claim,
        pg_catalog.row_number() OVER (PARTITION BY t.scope, t.status ORDER BY t.place) - 1 AS position
      FROM pgsync_private.claim AS t
      WHERE v_with_line
        AND t.scope = ANY (ARRAY[v_scope, pgsync_private.unseen_scope(v_scope)])
        AND t.model = v_model[1]
        AND t.row_id = p_filter ->> 'id'
        AND t.ended_at IS NULL
      UNION ALL
      SELECT
        t,
        NULL
      FROM pgsync_private.claim AS t
      WHERE NOT v_with_line
        AND t.scope = ANY (ARRAY[v_organization, '', pgsync_private.unseen_scope(v_organization), pgsync_private.unseen_scope('')])
        AND t.ended_at IS NULL
        AND t.status = 'active'
        AND (v_model IS NULL OR t.model = v_model[1])
        AND (p_filter ->> 'id' IS NULL OR t.row_id = p_filter ->> 'id')
    ) AS s
    WHERE (s.claim).organization_id IS NOT DISTINCT FROM v_organization
      AND (s.claim).expires_at > pg_catalog.clock_timestamp()
      AND (p_filter ->> 'field' IS NULL OR (s.claim).parts IS NULL OR pg_catalog.lower(p_filter ->> 'field') = ANY ((s.claim).parts))
      AND (p_filter ->> 'actorId' IS NULL OR (s.claim).participant_id = p_filter ->> 'actorId')
      AND (v_actor_kind IS NULL OR (s.claim).participant_kind = v_actor_kind)
      AND (p_filter ->> 'onBehalfOfId' IS NULL OR (s.claim).on_behalf_of_id = p_filter ->> 'onBehalfOfId')
      AND (p_filter ->> 'capabilityId' IS NULL OR (s.claim).capability_id = p_filter ->> 'capabilityId')
      AND (v_with_line OR (s.claim).place > COALESCE(p_filter ->> 'starting_after', '0')::bigint)
    ORDER BY (s.claim).status, (s.claim).place
  LOOP
    v_claim := v_found.claim;
    CONTINUE WHEN NOT pgsync_private.sees_claim(p_identity, v_claim);
    IF v_count = v_limit AND NOT v_with_line THEN
      v_more := true;
      EXIT;
    END IF;
    v_last := v_claim.place;
    v_count := v_count + 1;
    v_data := pg_catalog.array_append(
      v_data, pgsync_private.claim_json(v_claim, COALESCE(v_model_key, v_claim.model_key), v_found.position::integer));
  END LOOP;
  RETURN pgsync_private.claim_answer(pg_catalog.jsonb_build_object(
    'object', 'list',
    'data', pg_catalog.to_jsonb(v_data),
    'has_more', v_more,
    'next_cursor', CASE WHEN v_more THEN v_last::text END));
END
$function$;

ALTER FUNCTION pgsync.claims_v1(jsonb, jsonb) OWNER TO pgsync_writer;
REVOKE ALL ON FUNCTION pgsync.claims_v1(jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.claims_v1(jsonb, jsonb) TO pgsync_gateway;
COMMENT ON FUNCTION pgsync.claims_v1(jsonb, jsonb) IS 'Claims of the caller''s organization.';
