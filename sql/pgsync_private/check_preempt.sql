-- Why a participant may not take claims on a model that others hold: {"code", "message", ..}, or null. Both have to agree: the model, which
-- is declared with preempt=True, and the credential, which was granted claim.preempt.
CREATE OR REPLACE FUNCTION pgsync_private.check_preempt(p_identity jsonb, p_model text, p_model_key text)
  RETURNS jsonb
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  IF COALESCE(p_identity -> 'mayPreempt', 'false') <> 'true' THEN
    RETURN '{"code": "capability_scope_denied", "message": "this credential was not granted claim.preempt", "param": "preempt",
      "requiredCapability": {"scope": "claim.preempt"}}'::jsonb;
  END IF;
  IF NOT pgsync_generated.claims_preemptible(p_model) THEN
    RETURN pg_catalog.jsonb_build_object(
      'code', 'forbidden',
      'message', pg_catalog.format('claims on %s are not taken from their holders: the model is not declared with preempt=True', p_model_key),
      'param', 'preempt');
  END IF;
  RETURN NULL;
END
$function$;

ALTER FUNCTION pgsync_private.check_preempt(jsonb, text, text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.check_preempt(jsonb, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.check_preempt(jsonb, text, text) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.check_preempt(jsonb, text, text) IS 'Why a participant may not take claims that others hold; null when it may.';
