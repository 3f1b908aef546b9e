-- Whether every committed change and claim event of before p_before is in a seal: what is not must not be pruned. Whoever asks holds a lock
-- that keeps out those who might still commit one. Looks at what is not sealed, not at what is.
CREATE OR REPLACE FUNCTION pgsync_private.is_sealed(p_before timestamptz)
  RETURNS boolean
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off' -- a partition that was empty when it was last analyzed looks free to scan
AS $function$
DECLARE
  v_sealed pg_snapshot := pgsync_private.sealed_snapshot();
  v_end xid8 := pg_catalog.pg_snapshot_xmax(v_sealed);
  v_open xid8[] := ARRAY(SELECT x.x FROM pg_catalog.pg_snapshot_xip(v_sealed) AS x(x));
BEGIN
  RETURN NOT EXISTS (SELECT FROM pgsync_private.change AS c WHERE c.xid >= v_end AND c.changed_at < p_before)
    AND NOT EXISTS (SELECT FROM pgsync_private.change AS c WHERE c.xid = ANY (v_open) AND c.changed_at < p_before)
    AND NOT EXISTS (SELECT FROM pgsync_private.claim_event AS e WHERE e.xid >= v_end AND e.at < p_before)
    AND NOT EXISTS (SELECT FROM pgsync_private.claim_event AS e WHERE e.xid = ANY (v_open) AND e.at < p_before);
END
$function$;

ALTER FUNCTION pgsync_private.is_sealed(timestamptz) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.is_sealed(timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.is_sealed(timestamptz) IS 'Whether every committed change and claim event of before a time is in a seal.';
