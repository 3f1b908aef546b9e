-- Changes the order of the line for a row: the given tickets go first, in the given order; the others follow as they stood.
-- p_request: {"order": [{"heldBy", "claimId"}, ..]}; an entry that does not wait, or is not heldBy the one it says, is passed over.
-- Holders of the row may, and participants of the kinds user and system; an agent in line may not put itself first. Who does not see the row
-- has to do with the line of those who do not see it either.
-- On a model that organizations share, only the caller's organization's tickets change places among themselves.
-- Answer: {"outcome": "answered", "answer": {"object": "claim_reorder", "reordered"}}; false: nobody named there waits.
-- Refused with forbidden, malformed_claim and the codes of grants and models. Raises: as set_identity_v1.
-- SECURITY DEFINER: claims are private.
CREATE OR REPLACE FUNCTION pgsync.reorder_claims_v1(p_identity jsonb, p_model text, p_id text, p_request jsonb)
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
  v_problem jsonb;
  v_named text[];
  v_claim pgsync_private.claim;
  v_ignored text; -- an assignment is cheaper than PERFORM, which goes through the executor
BEGIN
  v_ignored := pgsync.set_identity_v1(p_identity);
  v_problem := pgsync_private.check_claim_target(p_identity, v_model, p_model, p_id, true);
  IF v_problem IS NULL AND (
    pg_catalog.jsonb_typeof(p_request) IS DISTINCT FROM 'object' OR pg_catalog.jsonb_typeof(p_request -> 'order') IS DISTINCT FROM 'array'
  ) THEN
    v_problem := '{"code": "malformed_claim", "message": "order is an array of {heldBy, claimId}", "param": "order"}'::jsonb;
  END IF;
  IF v_problem IS NOT NULL THEN
    RETURN pgsync_private.claim_refusal(v_problem);
  END IF;
  v_ignored := pgsync_private.lock_claim_target(v_organization, v_model[1], p_id, true);
  v_ignored := pgsync_private.advance_claims(v_scope, v_model[1], p_id);
  v_lane := pgsync_private.claim_lane(v_scope, v_model[1], p_id);
  IF v_lane <> v_scope THEN
    v_scope := v_lane;
    v_ignored := pg_catalog.pg_advisory_xact_lock(pgsync_private.claim_lock_key(v_scope, v_model[1], p_id));
    v_ignored := pgsync_private.advance_claims(v_scope, v_model[1], p_id);
  END IF;
  IF p_identity ->> 'participantKind' = 'agent' AND NOT EXISTS (
    SELECT
    FROM pgsync_private.claim AS c
    WHERE c.scope = v_scope
      AND c.model = v_model[1]
      AND c.row_id = p_id
      AND c.ended_at IS NULL
      AND c.status = 'active'
      AND (c.organization_id, c.participant_kind, c.participant_id) IS NOT DISTINCT FROM (v_organization, 'agent', p_identity ->> 'participantId')
  ) THEN
    RETURN pgsync_private.refusal('forbidden', pg_catalog.format('an agent may reorder the line for %s/%s only while it holds it', p_model, p_id));
  END IF;

  SELECT pg_catalog.array_agg(c.id ORDER BY o.n)
  INTO v_named
  FROM (
    SELECT
      e.e ->> 'claimId' AS claim_id,
      pg_catalog.min(e.e ->> 'heldBy') AS held_by,
      pg_catalog.min(e.n) AS n
    FROM pg_catalog.jsonb_array_elements(p_request -> 'order') WITH ORDINALITY AS e(e, n)
    GROUP BY e.e ->> 'claimId'
  ) AS o
  JOIN pgsync_private.claim AS c
    ON c.organization_id = v_organization
    AND c.id = o.claim_id
  WHERE c.scope = v_scope
    AND c.model = v_model[1]
    AND c.row_id = p_id
    AND c.ended_at IS NULL
    AND c.status = 'queued'
    AND c.participant_id = COALESCE(o.held_by, c.participant_id);
  IF v_named IS NOT NULL THEN
    FOR v_claim IN
      UPDATE pgsync_private.claim AS c
      SET place = w.place
      FROM (
        -- The n-th of the new order gets the n-th of the places that the line has.
        SELECT
          a.organization_id,
          a.id,
          b.place
        FROM (
          SELECT
            q.organization_id,
            q.id,
            pg_catalog.row_number() OVER (ORDER BY pg_catalog.array_position(v_named, q.id) NULLS LAST, q.place) AS n
          FROM pgsync_private.claim AS q
          WHERE q.scope = v_scope
            AND q.model = v_model[1]
            AND q.row_id = p_id
            AND q.ended_at IS NULL
            AND q.status = 'queued'
            AND q.organization_id = v_organization
        ) AS a
        JOIN (
          SELECT
            q.place,
            pg_catalog.row_number() OVER (ORDER BY q.place) AS n
          FROM pgsync_private.claim AS q
          WHERE q.scope = v_scope
            AND q.model = v_model[1]
            AND q.row_id = p_id
            AND q.ended_at IS NULL
            AND q.status = 'queued'
            AND q.organization_id = v_organization
        ) AS b
          ON b.n = a.n
      ) AS w
      WHERE c.organization_id = w.organization_id
        AND c.id = w.id
        AND c.place <> w.place
      RETURNING c.*
    LOOP
      v_ignored := pgsync_private.record_claim_event(v_claim, 'moved', pgsync_private.claim_position(v_claim), true);
    END LOOP;
    v_ignored := pgsync_private.advance_claims(v_scope, v_model[1], p_id);
  END IF;
  RETURN pgsync_private.claim_answer(pg_catalog.jsonb_build_object('object', 'claim_reorder', 'reordered', v_named IS NOT NULL));
END
$function$;

ALTER FUNCTION pgsync.reorder_claims_v1(jsonb, text, text, jsonb) OWNER TO pgsync_writer;
REVOKE ALL ON FUNCTION pgsync.reorder_claims_v1(jsonb, text, text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.reorder_claims_v1(jsonb, text, text, jsonb) TO pgsync_gateway;
COMMENT ON FUNCTION pgsync.reorder_claims_v1(jsonb, text, text, jsonb) IS 'Changes the order of the line for a row.';
