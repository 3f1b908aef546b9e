-- What the participant tracks: tells of what has moved since (and forgets it), then remembers the entries of p_track. {"notifications": [..]},
-- or {"refused": ..} when a tracked premise that says reject has moved and the commit has operations; tracking it again settles that.
-- A participant's own changes never count. An entry without readAt begins now; its notification says readXid, the transaction that it began with.
CREATE OR REPLACE FUNCTION pgsync_private.check_tracked(p_identity jsonb, p_operations integer, p_track jsonb, p_evidence jsonb)
  RETURNS jsonb
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_organization text := p_identity ->> 'organizationId';
  v_kind text := p_identity ->> 'participantKind';
  v_participant text := p_identity ->> 'participantId';
  v_tracked pgsync_private.tracked_premise;
  v_change pgsync_private.change;
  v_notifications jsonb := '[]'::jsonb;
  v_ignored text; -- an assignment is cheaper than PERFORM, which goes through the executor
BEGIN
  IF p_track <> '[]' THEN
    v_ignored := pgsync_private.remember_tracked(p_identity, p_track, p_evidence, true);
  END IF;

  FOR v_tracked IN
    SELECT t.*
    FROM pgsync_private.tracked_premise AS t
    WHERE t.participant_id = v_participant
      AND t.organization_id = v_organization
      AND t.participant_kind = v_kind
  LOOP
    -- What the caller has lost since, or has not with this credential, he is told nothing of.
    CONTINUE WHEN CASE v_tracked.sync_group
      WHEN '' THEN NOT COALESCE(pgsync.may_read((pgsync_generated.resolve_model(v_tracked.model_key))[2]), false)
      WHEN 'default' THEN false
      ELSE NOT pgsync.holds_group(v_tracked.sync_group)
    END;
    v_change := pgsync_private.unseen_change(
      v_organization, NULLIF(v_tracked.model, ''), NULLIF(v_tracked.row_id, ''), NULLIF(v_tracked.sync_group, ''), NULL, v_tracked.evidence,
      v_kind, v_participant);
    CONTINUE WHEN v_change.xid IS NULL;
    IF v_tracked.on_stale = 'reject' AND p_operations > 0
      AND NOT EXISTS (
        SELECT
        FROM pg_catalog.jsonb_array_elements(p_track) AS r(r)
        WHERE NOT r.r ? 'readAt'
          AND (COALESCE(r.r ->> 'model', ''), COALESCE(r.r ->> 'id', ''), COALESCE(r.r ->> 'group', ''))
            = (v_tracked.model, v_tracked.row_id, v_tracked.sync_group)
      )
    THEN
      RETURN pg_catalog.jsonb_build_object('refused', pgsync_private.stale_refusal(
        v_change, v_tracked.model_key, v_tracked.row_id, NULLIF(v_tracked.sync_group, ''), v_tracked.read_at, NULL));
    END IF;
    v_notifications := v_notifications || (
      pgsync_private.stale_notification(
        v_change, v_tracked.model, v_tracked.model_key, v_tracked.row_id, NULLIF(v_tracked.sync_group, ''), NULL, v_tracked.read_at)
      || CASE
        WHEN v_tracked.read_at IS NULL THEN pg_catalog.jsonb_build_object('readXid', v_tracked.evidence -> 'unseen')
        ELSE '{}'
      END);
    DELETE FROM pgsync_private.tracked_premise AS t
    WHERE t.participant_id = v_participant
      AND t.organization_id = v_organization
      AND t.participant_kind = v_kind
      AND t.model = v_tracked.model
      AND t.row_id = v_tracked.row_id
      AND t.sync_group = v_tracked.sync_group;
  END LOOP;
  IF p_track <> '[]' THEN
    v_ignored := pgsync_private.remember_tracked(p_identity, p_track, p_evidence, false);
  END IF;
  RETURN pg_catalog.jsonb_build_object('notifications', v_notifications);
END
$function$;

ALTER FUNCTION pgsync_private.check_tracked(jsonb, integer, jsonb, jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.check_tracked(jsonb, integer, jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.check_tracked(jsonb, integer, jsonb, jsonb) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.check_tracked(jsonb, integer, jsonb, jsonb) IS 'Tells what moved of that which a participant tracks, and remembers new entries.';
