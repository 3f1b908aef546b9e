-- Keeps what happened to a claim for the logs, puts a hint for the gateways into the log of the database and, if p_notify, notifies whoever
-- listens. A notification takes a lock of the whole server at commit, so a lease that nobody waited for is taken and given back without one.
-- The shared lock lets a reader of the logs wait for the events that are about to be committed; see pgsync_private.claim_events.
CREATE OR REPLACE FUNCTION pgsync_private.record_claim_event(
  p_claim pgsync_private.claim,
  p_event text,
  p_position integer,
  p_notify boolean
)
  RETURNS void
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_ignored text; -- an assignment is cheaper than PERFORM, which goes through the executor
BEGIN
  v_ignored := pg_catalog.pg_advisory_xact_lock_shared(pg_catalog.hashtextextended('pgsync claim events', 0));
  INSERT INTO pgsync_private.claim_event (
    event, organization_id, claim_id, model, model_key, row_id, field, fields, status, participant_kind, participant_id,
    on_behalf_of_kind, on_behalf_of_id, capability_id, description, meta, expires_at, fence_token, position
  )
  VALUES (
    p_event, p_claim.organization_id, p_claim.id, p_claim.model, p_claim.model_key, p_claim.row_id, p_claim.field, p_claim.fields,
    p_claim.status, p_claim.participant_kind, p_claim.participant_id, p_claim.on_behalf_of_kind, p_claim.on_behalf_of_id,
    p_claim.capability_id, p_claim.description, pgsync_private.claim_meta(p_claim), p_claim.expires_at, p_claim.fence_token, p_position
  );
  v_ignored := pgsync_private.tell_claim(p_claim, p_event);
  IF p_notify THEN
    v_ignored := pg_catalog.pg_notify(
      'pgsync',
      pg_catalog.jsonb_build_object(
        't', 'claim',
        'event', p_event,
        'org', p_claim.organization_id,
        'model', p_claim.model,
        'id', p_claim.row_id,
        'claimId', p_claim.id)::text);
  END IF;
END
$function$;

ALTER FUNCTION pgsync_private.record_claim_event(pgsync_private.claim, text, integer, boolean) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.record_claim_event(pgsync_private.claim, text, integer, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.record_claim_event(pgsync_private.claim, text, integer, boolean) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.record_claim_event(pgsync_private.claim, text, integer, boolean) IS
  'Keeps what happened to a claim, and tells the gateways.';
