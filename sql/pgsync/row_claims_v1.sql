-- Who holds the row, or parts of it, as the answer to a read carries it: an array of claims. p_model: as the caller spelled it.
-- For a transaction whose identity has been set, together with the read of the row; it writes nothing.
-- SECURITY DEFINER: claims are private.
CREATE OR REPLACE FUNCTION pgsync.row_claims_v1(p_model text, p_id text)
  RETURNS jsonb
  LANGUAGE plpgsql
  STABLE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off'
AS $function$
DECLARE
  v_organization text := pgsync.organization_id();
  v_model text := (pgsync_generated.resolve_model(p_model))[1];
  v_scope text := pgsync_generated.claim_scope(v_model, v_organization);
BEGIN
  RETURN COALESCE(
    (
      SELECT pg_catalog.jsonb_agg(pgsync_private.claim_json(c, p_model, NULL) ORDER BY c.place)
      FROM pgsync_private.claim AS c
      WHERE c.scope = ANY (ARRAY[v_scope, pgsync_private.unseen_scope(v_scope)])
        AND c.model = v_model
        AND c.row_id = p_id
        AND c.ended_at IS NULL
        AND c.status = 'active'
        AND c.expires_at > pg_catalog.clock_timestamp()
        AND c.organization_id IS NOT DISTINCT FROM v_organization
        AND (
          (c.participant_kind, c.participant_id) = (pgsync.participant_kind(), pgsync.participant_id())
          OR CASE c.scope
            WHEN v_scope THEN NOT c.row_seen OR pgsync_generated.sees_row(v_model, p_id)
            ELSE NOT pgsync_generated.sees_row(v_model, p_id)
          END
        )
    ),
    '[]');
END
$function$;

ALTER FUNCTION pgsync.row_claims_v1(text, text) OWNER TO pgsync_writer;
REVOKE ALL ON FUNCTION pgsync.row_claims_v1(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.row_claims_v1(text, text) TO pgsync_gateway;
COMMENT ON FUNCTION pgsync.row_claims_v1(text, text) IS 'Who holds a row, for the answer to a read.';
