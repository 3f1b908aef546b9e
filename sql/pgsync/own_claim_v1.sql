-- The id of the claim that a participant has on a row: its lease or, if it has none, its place in line; null: neither. Of several the oldest.
-- SECURITY DEFINER: claims are private.
CREATE OR REPLACE FUNCTION pgsync.own_claim_v1(p_identity jsonb, p_model text, p_id text)
  RETURNS text
  LANGUAGE plpgsql
  STABLE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off'
AS $function$
DECLARE
  v_organization text := p_identity ->> 'organizationId';
  v_model text := (pgsync_generated.resolve_model(p_model))[1];
  v_scope text := pgsync_generated.claim_scope(v_model, v_organization);
BEGIN
  RETURN (
    SELECT c.id
    FROM pgsync_private.claim AS c
    WHERE c.scope = ANY (ARRAY[v_scope, pgsync_private.unseen_scope(v_scope)])
      AND c.model = v_model
      AND c.row_id = p_id
      AND c.ended_at IS NULL
      AND (c.organization_id, c.participant_kind, c.participant_id)
        IS NOT DISTINCT FROM (v_organization, p_identity ->> 'participantKind', p_identity ->> 'participantId')
    ORDER BY c.status, c.place
    LIMIT 1
  );
END
$function$;

ALTER FUNCTION pgsync.own_claim_v1(jsonb, text, text) OWNER TO pgsync_writer;
REVOKE ALL ON FUNCTION pgsync.own_claim_v1(jsonb, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.own_claim_v1(jsonb, text, text) TO pgsync_gateway;
COMMENT ON FUNCTION pgsync.own_claim_v1(jsonb, text, text) IS 'The id of the claim that a participant has on a row.';
