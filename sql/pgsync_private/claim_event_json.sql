-- An event of a claim as the logs carry it. p_model: the spelling of the model that the logs use.
CREATE OR REPLACE FUNCTION pgsync_private.claim_event_json(p_event pgsync_private.claim_event, p_model text)
  RETURNS jsonb
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  RETURN pg_catalog.jsonb_build_object(
      'object', 'claim_event',
      'seq', p_event.seq,
      'at', pgsync_private.iso(p_event.at),
      'claimId', p_event.claim_id,
      'status', p_event.status,
      'actor', p_event.participant_id,
      'participantKind', p_event.participant_kind,
      'onBehalfOfId', p_event.on_behalf_of_id,
      'onBehalfOfKind', p_event.on_behalf_of_kind,
      'capabilityId', p_event.capability_id,
      'description', p_event.description,
      'expiresAt', pgsync_private.claim_ms(p_event.expires_at),
      'target', pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
        'model', p_model,
        'id', p_event.row_id,
        'field', p_event.field,
        'fields', pg_catalog.to_jsonb(p_event.fields)))
        || CASE WHEN p_event.meta IS NULL THEN '{}' ELSE pg_catalog.jsonb_build_object('meta', p_event.meta) END)
    || pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object('fenceToken', p_event.fence_token, 'position', p_event.position));
END
$function$;

ALTER FUNCTION pgsync_private.claim_event_json(pgsync_private.claim_event, text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.claim_event_json(pgsync_private.claim_event, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.claim_event_json(pgsync_private.claim_event, text) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.claim_event_json(pgsync_private.claim_event, text) IS 'An event of a claim as the logs carry it.';
