-- What is wrong with claiming a row, or with asking about its claims: {"code", "message", ..} or null.
-- p_model: what pgsync_generated.resolve_model returned; p_model_key: the name as it was asked for.
-- Whoever may create, update or delete rows of a model may claim them; to see claims any grant on the model is enough.
CREATE OR REPLACE FUNCTION pgsync_private.check_claim_target(p_identity jsonb, p_model text[], p_model_key text, p_id text, p_to_claim boolean)
  RETURNS jsonb
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_grants jsonb := p_identity -> 'operations';
  v_verbs text[] := CASE WHEN p_to_claim THEN ARRAY['update', 'create', 'delete'] ELSE ARRAY['read', 'update', 'create', 'delete'] END;
BEGIN
  IF p_model_key IS NULL THEN
    RETURN '{"code": "malformed_claim", "message": "a claim names its model", "param": "model"}'::jsonb;
  END IF;
  IF p_model IS NULL THEN
    RETURN pg_catalog.jsonb_build_object(
      'code', 'unknown_model',
      'message', pgsync_private.unknown_model(p_model_key),
      'model', p_model_key,
      'param', 'model');
  END IF;
  IF pg_catalog.jsonb_array_length(COALESCE(NULLIF(v_grants, 'null'), '[]')) > 0
    AND NOT EXISTS (
      SELECT
      FROM pg_catalog.unnest(v_verbs) AS v(v)
      WHERE v_grants ? (p_model[2] || '.' || v.v)
        OR v_grants ? ('*.' || v.v)
    )
  THEN
    RETURN pg_catalog.jsonb_build_object(
      'code', 'capability_scope_denied',
      'message', pg_catalog.format('this credential may not %s %s', CASE WHEN p_to_claim THEN 'claim' ELSE 'see claims on' END, p_model[3]),
      'requiredCapability', pg_catalog.jsonb_build_object('scope', p_model[2] || '.' || v_verbs[1]));
  END IF;
  IF p_to_claim AND p_model[4] = 'false' THEN
    RETURN pg_catalog.jsonb_build_object(
      'code', 'forbidden',
      'message', pg_catalog.format('model %s is read-only for clients (mutable = false in the schema)', p_model[3]),
      'model', p_model[3]);
  END IF;
  IF p_to_claim AND NOT pgsync_private.check_id(p_id) THEN
    RETURN pg_catalog.jsonb_build_object(
      'code', CASE WHEN p_id IS NULL THEN 'model_identifier_missing' ELSE 'invalid_id' END,
      'message', 'a row id has 1 to 255 characters and no control characters',
      'param', 'id');
  END IF;
  RETURN NULL;
END
$function$;

ALTER FUNCTION pgsync_private.check_claim_target(jsonb, text[], text, text, boolean) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.check_claim_target(jsonb, text[], text, text, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.check_claim_target(jsonb, text[], text, text, boolean) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.check_claim_target(jsonb, text[], text, text, boolean) IS 'What is wrong with claiming a row; null when nothing is.';
