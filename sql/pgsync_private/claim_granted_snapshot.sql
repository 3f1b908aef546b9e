-- What was committed when a lease of the caller's organization was granted; null when there is no such lease.
-- A write under the lease depends on the row as it was then: later changes by others make it stale.
CREATE OR REPLACE FUNCTION pgsync_private.claim_granted_snapshot(p_claim_id text)
  RETURNS pg_snapshot
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_snapshot pg_snapshot;
BEGIN
  SELECT c.granted_snapshot
  INTO v_snapshot
  FROM pgsync_private.claim AS c
  WHERE c.organization_id = pgsync.organization_id()
    AND c.id = p_claim_id;
  RETURN v_snapshot;
END
$function$;

ALTER FUNCTION pgsync_private.claim_granted_snapshot(text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.claim_granted_snapshot(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.claim_granted_snapshot(text) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.claim_granted_snapshot(text) IS 'What was committed when a lease was granted.';
