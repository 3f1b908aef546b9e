-- Gives out the next fence token of a row: greater than every one given out or written with before. Call it under the exclusive lock of the target.
CREATE OR REPLACE FUNCTION pgsync_private.next_claim_fence_token(p_scope text, p_model text, p_id text)
  RETURNS bigint
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_token bigint;
BEGIN
  -- A row that was pruned, or never claimed, starts above everything that was pruned.
  INSERT INTO pgsync_private.claim_fence AS f (scope, model, row_id, last_token)
  SELECT
    p_scope,
    p_model,
    p_id,
    s.value::bigint + 1
  FROM pgsync_private.setting AS s
  WHERE s.name = 'claim_fence_floor'
  ON CONFLICT (scope, model, row_id) DO UPDATE
  SET last_token = GREATEST(f.last_token, f.high_water) + 1,
      granted_at = pg_catalog.clock_timestamp()
  RETURNING f.last_token INTO v_token;
  RETURN v_token;
END
$function$;

ALTER FUNCTION pgsync_private.next_claim_fence_token(text, text, text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.next_claim_fence_token(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.next_claim_fence_token(text, text, text) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.next_claim_fence_token(text, text, text) IS 'Gives out the next fence token of a row.';
