-- Judges the premises of a commit, after everything that it touches is locked. {"refused": ..}, or {"held": [operation index, ..],
-- "notifications": [..]}. A stale entry of reads refuses or holds the whole commit, a stale readAt its operation.
-- A write under one's own claim without a readAt depends on the row as it was when the claim was granted.
CREATE OR REPLACE FUNCTION pgsync_private.check_premises(
  p_identity jsonb,
  p_plan pgsync_private.planned_operation[],
  p_premises jsonb,
  p_evidence jsonb
)
  RETURNS jsonb
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_organization text := p_identity ->> 'organizationId';
  v_premise jsonb;
  v_planned pgsync_private.planned_operation;
  v_change pgsync_private.change;
  v_fields text[];
  v_evidence jsonb;
  v_notifications jsonb := '[]'::jsonb;
  v_held jsonb := '[]'::jsonb;
  v_all boolean := false;
BEGIN
  FOR v_premise IN SELECT r.r FROM pg_catalog.jsonb_array_elements(p_premises) AS r(r)
  LOOP
    CONTINUE WHEN v_premise ->> 'onStale' = 'overwrite';
    v_fields := CASE
      WHEN v_premise ? 'fields' THEN ARRAY(SELECT f.f FROM pg_catalog.jsonb_array_elements_text(v_premise -> 'fields') AS f(f))
    END;
    v_change := pgsync_private.unseen_change(
      v_organization, v_premise ->> 'model', v_premise ->> 'id', v_premise ->> 'group', v_fields, p_evidence -> (v_premise ->> 'readAt'), NULL, NULL);
    CONTINUE WHEN v_change.xid IS NULL;
    IF v_premise ->> 'onStale' = 'reject' THEN
      RETURN pg_catalog.jsonb_build_object('refused', pgsync_private.stale_refusal(
        v_change, v_premise ->> 'modelKey', v_premise ->> 'id', v_premise ->> 'group', NULL, NULL));
    END IF;
    v_all := true;
    v_notifications := v_notifications || pgsync_private.stale_notification(
      v_change, v_premise ->> 'model', v_premise ->> 'modelKey', v_premise ->> 'id', v_premise ->> 'group', v_fields,
      (v_premise ->> 'readAt')::bigint);
  END LOOP;

  FOREACH v_planned IN ARRAY COALESCE(p_plan, ARRAY[]::pgsync_private.planned_operation[])
  LOOP
    IF v_planned.read_at IS NOT NULL AND v_planned.on_stale <> 'overwrite' THEN
      v_change := pgsync_private.unseen_change(
        v_organization, v_planned.model, v_planned.id, NULL, v_planned.fields, p_evidence -> v_planned.read_at::text, NULL, NULL);
    ELSIF v_planned.read_at IS NULL AND v_planned.claim_id IS NOT NULL AND v_planned.on_stale <> 'overwrite' THEN
      v_evidence := pg_catalog.jsonb_build_object('snapshot', pgsync_private.claim_granted_snapshot(v_planned.claim_id)::text);
      v_change := pgsync_private.unseen_change(
        v_organization, v_planned.model, v_planned.id, NULL, v_planned.fields, v_evidence,
        p_identity ->> 'participantKind', p_identity ->> 'participantId');
    ELSE
      v_change := NULL;
    END IF;
    IF v_change.xid IS NOT NULL THEN
      -- Who may write the row and not read it learns that it has changed, or his write would be lost or lose another.
      IF NOT pgsync.may_read((pgsync_generated.resolve_model(v_planned.model_key))[2]) THEN
        v_change := pgsync_private.unattributed_change(v_change);
      END IF;
      IF v_planned.on_stale <> 'notify' THEN
        RETURN pg_catalog.jsonb_build_object('refused', pgsync_private.stale_refusal(
          v_change, v_planned.model_key, v_planned.id, NULL, v_planned.read_at,
          CASE WHEN pg_catalog.cardinality(p_plan) > 1 THEN v_planned.index END));
      END IF;
      v_held := v_held || pg_catalog.to_jsonb(v_planned.index);
      v_notifications := v_notifications || pgsync_private.stale_notification(
        v_change, v_planned.model, v_planned.model_key, v_planned.id, NULL, v_planned.fields, v_planned.read_at);
    ELSIF v_all THEN
      v_held := v_held || pg_catalog.to_jsonb(v_planned.index);
    END IF;
  END LOOP;
  RETURN pg_catalog.jsonb_build_object('held', v_held, 'notifications', v_notifications);
END
$function$;

ALTER FUNCTION pgsync_private.check_premises(jsonb, pgsync_private.planned_operation[], jsonb, jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.check_premises(jsonb, pgsync_private.planned_operation[], jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.check_premises(jsonb, pgsync_private.planned_operation[], jsonb, jsonb) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.check_premises(jsonb, pgsync_private.planned_operation[], jsonb, jsonb) IS 'Judges the premises of a commit.';
