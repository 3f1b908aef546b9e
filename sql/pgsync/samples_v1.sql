-- The newest stored samples: at which position which snapshot had been taken. Newest first.
-- SECURITY DEFINER: checkpoints are private.
CREATE OR REPLACE FUNCTION pgsync.samples_v1(p_limit integer)
  RETURNS jsonb
  LANGUAGE sql
  STABLE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
  SELECT COALESCE(
    pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('syncId', c.sync_id, 'snapshot', c.snapshot) ORDER BY c.lsn DESC),
    '[]')
  FROM (
    SELECT
      k.lsn,
      k.sync_id,
      k.snapshot
    FROM pgsync_private.checkpoint AS k
    WHERE k.snapshot IS NOT NULL
    ORDER BY k.lsn DESC
    LIMIT p_limit
  ) AS c;
$function$;

ALTER FUNCTION pgsync.samples_v1(integer) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.samples_v1(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.samples_v1(integer) TO pgsync_gateway, pgsync_listener;
COMMENT ON FUNCTION pgsync.samples_v1(integer) IS 'The newest stored snapshot samples of the number line.';
