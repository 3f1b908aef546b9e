-- Takes the exclusive lock on the claims of a row if nobody has it, for what can as well be done by the next caller. False: somebody has it.
CREATE OR REPLACE FUNCTION pgsync_private.try_lock_claim_target(p_scope text, p_model text, p_id text)
  RETURNS boolean
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  RETURN pg_catalog.pg_try_advisory_xact_lock(pgsync_private.claim_lock_key(p_scope, p_model, p_id));
END
$function$;

ALTER FUNCTION pgsync_private.try_lock_claim_target(text, text, text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.try_lock_claim_target(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.try_lock_claim_target(text, text, text) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.try_lock_claim_target(text, text, text) IS 'Takes the exclusive lock on the claims of a row if nobody has it.';
