-- The logs (of changes and of claims) for a caller: {"log": {"events", "last", "more"}, "claims": {"events", "last", "more"}}.
-- p_after, p_claims_after: what the caller has seen of each; null: the newest. p_model: any spelling; p_op: letters of the change log,
-- which no event of a claim has. Call it in a transaction of its own, READ COMMITTED.
-- Raises: PS301 for a model that the caller may not read, PS102 for one that is not in the schema.
-- SECURITY DEFINER: the logs are private.
CREATE OR REPLACE FUNCTION pgsync.logs_v1(
  p_identity jsonb,
  p_after bigint,
  p_claims_after bigint,
  p_model text,
  p_op text[],
  p_since timestamptz,
  p_limit integer
)
  RETURNS jsonb
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_model text[];
  v_log jsonb;
  v_claims jsonb;
BEGIN
  PERFORM pgsync.set_identity_v1(p_identity);
  IF p_model IS NOT NULL THEN
    v_model := pgsync_generated.resolve_model(p_model);
    IF v_model IS NULL THEN
      RAISE EXCEPTION USING
        ERRCODE = 'PS102',
        MESSAGE = pg_catalog.format('model %s is not in the pushed schema', pg_catalog.to_json(p_model)),
        HINT = 'Add it to the schema and run: pgsync push schema.py';
    END IF;
    PERFORM pgsync.require_read_v1(v_model[2]);
  END IF;
  v_log := pgsync_private.log_changes(p_after, v_model[1], p_op, p_since, p_limit, 5000);
  IF p_op IS NULL THEN
    v_claims := pgsync_private.log_claims(p_claims_after, v_model[1], p_since, p_limit);
  ELSE
    v_claims := pg_catalog.jsonb_build_object('events', '[]'::jsonb, 'last', COALESCE(p_claims_after, 0), 'more', false);
  END IF;
  RETURN pg_catalog.jsonb_build_object('log', v_log, 'claims', v_claims);
END
$function$;

ALTER FUNCTION pgsync.logs_v1(jsonb, bigint, bigint, text, text[], timestamptz, integer) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.logs_v1(jsonb, bigint, bigint, text, text[], timestamptz, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.logs_v1(jsonb, bigint, bigint, text, text[], timestamptz, integer) TO pgsync_gateway;
COMMENT ON FUNCTION pgsync.logs_v1(jsonb, bigint, bigint, text, text[], timestamptz, integer) IS 'The logs of changes and of claims for a caller.';
