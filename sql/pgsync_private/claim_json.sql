-- A claim as reads, lists and the answer to its acquirer carry it. p_model_key: the model as the caller spelled it; p_position: of one that waits.
CREATE OR REPLACE FUNCTION pgsync_private.claim_json(p_claim pgsync_private.claim, p_model_key text, p_position integer)
  RETURNS jsonb
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_meta jsonb := pgsync_private.claim_meta(p_claim);
  v_details jsonb;
BEGIN
  v_details := pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object('field', p_claim.field, 'fields', pg_catalog.to_jsonb(p_claim.fields)))
    || CASE WHEN v_meta IS NULL THEN '{}' ELSE pg_catalog.jsonb_build_object('meta', v_meta) END;
  RETURN pg_catalog.jsonb_build_object(
      'id', p_claim.id,
      'actor', p_claim.participant_id,
      'participantKind', p_claim.participant_kind,
      'onBehalfOfId', p_claim.on_behalf_of_id,
      'onBehalfOfKind', p_claim.on_behalf_of_kind,
      'capabilityId', p_claim.capability_id,
      'description', p_claim.description,
      'status', p_claim.status,
      'expiresAt', pgsync_private.claim_ms(p_claim.expires_at),
      'target', pg_catalog.jsonb_build_object('model', p_model_key, 'id', p_claim.row_id) || v_details)
    || (v_details - 'fields')
    || pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
      'fenceToken', CASE WHEN p_claim.status <> 'queued' THEN p_claim.fence_token END,
      'position', CASE WHEN p_claim.status = 'queued' THEN p_position END));
END
$function$;

ALTER FUNCTION pgsync_private.claim_json(pgsync_private.claim, text, integer) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.claim_json(pgsync_private.claim, text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.claim_json(pgsync_private.claim, text, integer) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.claim_json(pgsync_private.claim, text, integer) IS
  'A claim as reads, lists and the answer to its acquirer carry it.';
