-- The oldest checkpoint at or after a position of the log; null when there is none. For listeners.
-- SECURITY DEFINER: checkpoints are private.
CREATE OR REPLACE FUNCTION pgsync.checkpoint_from_v1(p_lsn pg_lsn)
  RETURNS jsonb
  LANGUAGE sql
  STABLE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
  SELECT pgsync_private.checkpoint_json(c)
  FROM pgsync_private.checkpoint AS c
  WHERE c.lsn >= p_lsn
  ORDER BY c.lsn
  LIMIT 1;
$function$;

ALTER FUNCTION pgsync.checkpoint_from_v1(pg_lsn) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.checkpoint_from_v1(pg_lsn) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.checkpoint_from_v1(pg_lsn) TO pgsync_listener;
COMMENT ON FUNCTION pgsync.checkpoint_from_v1(pg_lsn) IS 'The oldest checkpoint at or after a position of the log.';
