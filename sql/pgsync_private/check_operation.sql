-- What is wrong with one operation of a commit before any row is looked at: {"code", "message", ..} or null.
-- p_model: what pgsync_generated.resolve_model returned: name, name in grants, key, whether it may be written.
CREATE OR REPLACE FUNCTION pgsync_private.check_operation(
  p_operation jsonb,
  p_action text,
  p_model text[],
  p_id text,
  p_data jsonb,
  p_grants jsonb
)
  RETURNS jsonb
  LANGUAGE plpgsql
  IMMUTABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_grant text;
BEGIN
  IF p_action IS NULL THEN
    RETURN '{"code": "commit_operation_action_required", "message": "an operation needs an action", "param": "action"}'::jsonb;
  END IF;
  IF p_operation ->> 'model' IS NULL THEN
    RETURN '{"code": "commit_operation_model_required", "message": "an operation needs a model", "param": "model"}'::jsonb;
  END IF;
  IF p_model IS NULL THEN
    RETURN pg_catalog.jsonb_build_object(
      'code', CASE p_action WHEN 'create' THEN 'mutate_create_unknown_model' ELSE 'server_execute_unknown_model' END,
      'message', pgsync_private.unknown_model(p_operation ->> 'model'),
      'model', p_operation ->> 'model',
      'param', 'model');
  END IF;
  IF p_action NOT IN ('create', 'update', 'delete', 'archive', 'unarchive') THEN
    RETURN pg_catalog.jsonb_build_object(
      'code', 'commit_operation_unsupported',
      'message', pg_catalog.format('there is no action %s; use create, update, delete, archive or unarchive', pg_catalog.to_json(p_action)),
      'param', 'action');
  END IF;
  IF p_action IN ('archive', 'unarchive') AND p_model[6] IS NULL THEN
    RETURN pg_catalog.jsonb_build_object(
      'code', 'commit_operation_unsupported',
      'message', pg_catalog.format('model %s cannot be archived: it has neither a field archivedAt (date) nor archived (boolean)', p_model[3]),
      'param', 'action');
  END IF;
  v_grant := p_model[2] || '.' || CASE WHEN p_action IN ('archive', 'unarchive') THEN 'update' ELSE p_action END;
  IF pg_catalog.jsonb_array_length(COALESCE(p_grants, '[]')) > 0
    AND NOT p_grants ? v_grant
    AND NOT p_grants ? ('*' || pg_catalog.substr(v_grant, pg_catalog.strpos(v_grant, '.')))
  THEN
    RETURN pg_catalog.jsonb_build_object(
      'code', 'capability_scope_denied',
      'message', pg_catalog.format('this credential may not %s %s', p_action, p_model[3]),
      'requiredCapability', pg_catalog.jsonb_build_object('scope', v_grant));
  END IF;
  IF p_model[4] = 'false' THEN
    RETURN pg_catalog.jsonb_build_object(
      'code', 'forbidden',
      'message', pg_catalog.format('model %s is read-only for clients (mutable = false in the schema)', p_model[3]),
      'model', p_model[3]);
  END IF;
  IF pg_catalog.jsonb_typeof(p_data) <> 'object' THEN
    RETURN '{"code": "commit_operation_invalid", "message": "data is an object of fields", "param": "data"}'::jsonb;
  END IF;
  IF NOT pgsync_private.check_id(p_id) THEN
    IF p_id IS NULL AND p_action = 'create' THEN
      RETURN NULL;
    END IF;
    RETURN pg_catalog.jsonb_build_object(
      'code', CASE WHEN p_id IS NULL THEN 'model_identifier_missing' ELSE 'invalid_id' END,
      'message', 'a row id has 1 to 255 characters and no control characters',
      'param', 'id');
  END IF;
  IF COALESCE(p_operation ->> 'readAt', '0') !~ '^[0-9]{1,18}$' THEN
    RETURN '{"code": "commit_operation_invalid", "message": "readAt is a sync id: the stamp of what was read", "param": "readAt"}'::jsonb;
  END IF;
  IF COALESCE(p_operation ->> 'onStale', 'reject') NOT IN ('reject', 'notify', 'overwrite') THEN
    RETURN '{"code": "commit_operation_invalid", "message": "onStale is reject, notify or overwrite", "param": "onStale"}'::jsonb;
  END IF;
  IF COALESCE(p_operation ->> 'fenceToken', '0') !~ '^[0-9]{1,18}$' THEN
    RETURN '{"code": "commit_operation_invalid", "message": "fenceToken is the number that came with the claim", "param": "fenceToken"}'::jsonb;
  END IF;
  IF COALESCE(pg_catalog.jsonb_typeof(p_operation -> 'claimId'), 'null') NOT IN ('string', 'null') THEN
    RETURN '{"code": "commit_operation_invalid", "message": "a claim is named by its id", "param": "claimId"}'::jsonb;
  END IF;
  RETURN NULL;
END
$function$;

ALTER FUNCTION pgsync_private.check_operation(jsonb, text, text[], text, jsonb, jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.check_operation(jsonb, text, text[], text, jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.check_operation(jsonb, text, text[], text, jsonb, jsonb) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.check_operation(jsonb, text, text[], text, jsonb, jsonb) IS
  'What is wrong with one operation of a commit before any row is looked at; null when nothing is.';
