-- The ledger's row for an idempotency key of the last 24 hours; no row when there is none.
-- enable_seqscan is off because a partition that was empty when it was last analyzed looks free to scan to a cached plan, and stays so
-- while it fills: tomorrow's partition always is. IS NOT DISTINCT FROM, which no index serves, keeps the plan from the index by organization.
CREATE OR REPLACE FUNCTION pgsync_private.stored_commit(
  p_organization text,
  p_kind text,
  p_participant text,
  p_key text,
  p_now timestamptz
)
  RETURNS pgsync_private.commit
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off'
AS $function$
DECLARE
  v_stored pgsync_private.commit;
BEGIN
  SELECT c.*
  INTO v_stored
  FROM pgsync_private.commit AS c
  WHERE c.key = p_key
    AND c.participant_id = p_participant
    AND c.organization_id IS NOT DISTINCT FROM p_organization
    AND c.participant_kind = p_kind
    AND c.created_at > p_now - INTERVAL '24 hours';
  RETURN v_stored;
END
$function$;

ALTER FUNCTION pgsync_private.stored_commit(text, text, text, text, timestamptz) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.stored_commit(text, text, text, text, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.stored_commit(text, text, text, text, timestamptz) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.stored_commit(text, text, text, text, timestamptz) IS 'The ledger''s row for an idempotency key of the last 24 hours.';
