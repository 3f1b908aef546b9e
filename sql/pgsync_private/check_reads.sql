-- Checks the entries of reads or track: {"problem": {..}} for the first malformed one, or {"premises": [..]} in one form:
-- {"model", "modelKey", "id", "group", "fields", "readAt", "onStale", "lifetime"}, absent members left out.
-- p_default: what onStale means when an entry does not say; p_modes: what it may say.
CREATE OR REPLACE FUNCTION pgsync_private.check_reads(p_reads jsonb, p_param text, p_default text, p_modes text[])
  RETURNS jsonb
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_read jsonb;
  v_model text[];
  v_problem text;
  v_premises jsonb := '[]'::jsonb;
BEGIN
  FOR v_read IN SELECT r.r FROM pg_catalog.jsonb_array_elements(COALESCE(NULLIF(p_reads, 'null'), '[]')) AS r(r)
  LOOP
    v_problem := NULL;
    v_model := NULL;
    IF pg_catalog.jsonb_typeof(v_read) <> 'object' THEN
      v_problem := 'an entry is an object';
    ELSIF v_read ->> 'group' IS NOT NULL THEN
      IF v_read ->> 'group' !~ '^([a-z][a-z0-9_]*:.+|default)$' THEN
        RETURN pg_catalog.jsonb_build_object('problem', pg_catalog.jsonb_build_object(
          'code', 'invalid_sync_group', 'message', 'a sync group is default or kind:id', 'param', p_param));
      ELSIF v_read ->> 'group' <> 'default' AND NOT pgsync.holds_group(v_read ->> 'group') THEN
        RETURN pg_catalog.jsonb_build_object('problem', pg_catalog.jsonb_build_object(
          'code', 'capability_scope_denied',
          'message', 'this credential does not hold the group ' || (v_read ->> 'group'),
          'param', p_param,
          'requiredCapability', pg_catalog.jsonb_build_object('scope', v_read ->> 'group')));
      END IF;
    ELSIF v_read ->> 'model' IS NULL OR NOT pgsync_private.check_id(v_read ->> 'id') THEN
      v_problem := 'an entry names a model and an id, or a group';
    ELSE
      v_model := pgsync_generated.resolve_model(v_read ->> 'model');
      IF v_model IS NULL THEN
        RETURN pg_catalog.jsonb_build_object('problem', pg_catalog.jsonb_build_object(
          'code', 'server_execute_unknown_model',
          'message', pgsync_private.unknown_model(v_read ->> 'model'),
          'model', v_read ->> 'model',
          'param', p_param));
      ELSIF NOT pgsync.may_read(v_model[2]) THEN
        RETURN pg_catalog.jsonb_build_object('problem', pg_catalog.jsonb_build_object(
          'code', 'capability_scope_denied',
          'message', 'this credential may not read ' || v_model[3],
          'param', p_param,
          'requiredCapability', pg_catalog.jsonb_build_object('scope', v_model[2] || '.read')));
      END IF;
    END IF;
    IF COALESCE(pg_catalog.jsonb_typeof(v_read -> 'fields'), 'null') NOT IN ('array', 'null') THEN
      v_problem := 'fields is an array of field names';
    ELSIF COALESCE(v_read ->> 'readAt', '0') !~ '^[0-9]{1,18}$' THEN
      v_problem := 'readAt is a sync id';
    ELSIF v_read ->> 'readAt' IS NULL AND p_param = 'reads' THEN
      v_problem := 'an entry needs readAt, the stamp of what was read';
    ELSIF COALESCE(v_read ->> 'onStale', p_default) <> ALL (p_modes) THEN
      v_problem := 'onStale is one of ' || pg_catalog.array_to_string(p_modes, ', ');
    END IF;
    IF v_problem IS NOT NULL THEN
      RETURN pg_catalog.jsonb_build_object('problem', pg_catalog.jsonb_build_object(
        'code', 'commit_operation_invalid', 'message', p_param || ': ' || v_problem, 'param', p_param));
    END IF;
    v_premises := v_premises || pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
      'lifetime', CASE p_param WHEN 'track' THEN 'persisted' ELSE 'commit' END,
      'model', v_model[1],
      'modelKey', v_read ->> 'model',
      'id', CASE WHEN v_model IS NOT NULL THEN v_read ->> 'id' END,
      'group', v_read ->> 'group',
      'fields', NULLIF(v_read -> 'fields', '[]'),
      'readAt', v_read -> 'readAt',
      'onStale', COALESCE(v_read ->> 'onStale', p_default)));
  END LOOP;
  RETURN pg_catalog.jsonb_build_object('premises', v_premises);
END
$function$;

ALTER FUNCTION pgsync_private.check_reads(jsonb, text, text, text[]) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.check_reads(jsonb, text, text, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.check_reads(jsonb, text, text, text[]) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.check_reads(jsonb, text, text, text[]) IS 'Checks the entries of reads or track and brings them into one form.';
