-- Locks the claims of a row until the end of the transaction: shared for a commit that writes the row, exclusive for what changes its claims.
-- So a lease is granted only after every write that was checked before it has committed, and no write slips in between check and commit.
CREATE OR REPLACE FUNCTION pgsync_private.lock_claim_target(p_organization text, p_model text, p_id text, p_exclusive boolean)
  RETURNS void
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_key bigint := pgsync_private.claim_lock_key(pgsync_generated.claim_scope(p_model, p_organization), p_model, p_id);
  v_ignored text; -- an assignment is cheaper than PERFORM, which goes through the executor
BEGIN
  IF p_exclusive THEN
    v_ignored := pg_catalog.pg_advisory_xact_lock(v_key);
  ELSE
    v_ignored := pg_catalog.pg_advisory_xact_lock_shared(v_key);
  END IF;
END
$function$;

ALTER FUNCTION pgsync_private.lock_claim_target(text, text, text, boolean) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.lock_claim_target(text, text, text, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.lock_claim_target(text, text, text, boolean) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.lock_claim_target(text, text, text, boolean) IS 'Locks the claims of a row until the end of the transaction.';
