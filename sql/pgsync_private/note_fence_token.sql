-- Keeps the highest fence token that a committed write of a row has carried. Call it when the operation is applied, in its transaction.
CREATE OR REPLACE FUNCTION pgsync_private.note_fence_token(p_organization text, p_model text, p_id text, p_fence_token bigint)
  RETURNS void
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  IF p_fence_token IS NULL THEN
    RETURN;
  END IF;
  INSERT INTO pgsync_private.claim_fence AS f (scope, model, row_id, last_token, high_water)
  VALUES (pgsync_generated.claim_scope(p_model, p_organization), p_model, p_id, p_fence_token, p_fence_token)
  ON CONFLICT (scope, model, row_id) DO UPDATE
  SET high_water = EXCLUDED.high_water
  WHERE f.high_water < EXCLUDED.high_water;
END
$function$;

ALTER FUNCTION pgsync_private.note_fence_token(text, text, text, bigint) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.note_fence_token(text, text, text, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.note_fence_token(text, text, text, bigint) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.note_fence_token(text, text, text, bigint) IS 'Keeps the highest fence token that a committed write of a row has carried.';
