-- Takes the leases of others that collide with parts of a row (null: the whole row) from their holders. Returns the fence token of the lease
-- that takes their place, below which nothing is written from now on; null when a holder of another organization (on a shared model) is in the way.
-- The caller holds the exclusive lock of the target, makes the lease and then settles the line (pgsync_private.advance_claims).
CREATE OR REPLACE FUNCTION pgsync_private.preempt_claims(p_identity jsonb, p_scope text, p_model text, p_id text, p_parts text[])
  RETURNS bigint
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off'
AS $function$
DECLARE
  v_organization text := p_identity ->> 'organizationId';
  v_own text[];
  v_foreign boolean;
  v_token bigint;
  v_ignored text; -- an assignment is cheaper than PERFORM, which goes through the executor
BEGIN
  SELECT
    COALESCE(pg_catalog.array_agg(c.id ORDER BY c.place), '{}'),
    COALESCE(pg_catalog.bool_or(c.organization_id <> v_organization), false)
  INTO v_own, v_foreign
  FROM pgsync_private.claim AS c
  WHERE c.scope = p_scope
    AND c.model = p_model
    AND c.row_id = p_id
    AND c.ended_at IS NULL
    AND c.status = 'active'
    AND (c.organization_id, c.participant_kind, c.participant_id)
      <> (v_organization, p_identity ->> 'participantKind', p_identity ->> 'participantId')
    AND (c.parts IS NULL OR p_parts IS NULL OR c.parts && p_parts);
  IF v_foreign THEN
    RETURN NULL;
  END IF;
  v_ignored := pgsync_private.take_claims(v_organization, v_own, 'preempted');
  v_token := pgsync_private.next_claim_fence_token(p_scope, p_model, p_id);
  IF pg_catalog.cardinality(v_own) > 0 THEN
    v_ignored := pgsync_private.note_fence_token(v_organization, p_model, p_id, v_token);
  END IF;
  RETURN v_token;
END
$function$;

ALTER FUNCTION pgsync_private.preempt_claims(jsonb, text, text, text, text[]) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.preempt_claims(jsonb, text, text, text, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.preempt_claims(jsonb, text, text, text, text[]) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.preempt_claims(jsonb, text, text, text, text[]) IS 'Takes leases from their holders.';
