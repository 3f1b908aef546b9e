-- Puts a sample into the log: the snapshot of this moment, at this position. For listeners, when nothing else carries samples.
-- SECURITY DEFINER: only listeners may add messages under our prefix.
CREATE OR REPLACE FUNCTION pgsync.heartbeat_v1()
  RETURNS pg_lsn
  LANGUAGE sql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
  SELECT pg_catalog.pg_logical_emit_message(
    true,
    'pgsync',
    pg_catalog.jsonb_build_object('t', 'h', 'w', pgsync_private.message_token(), 'snap', pg_catalog.pg_current_snapshot()::text)::text);
$function$;

ALTER FUNCTION pgsync.heartbeat_v1() OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.heartbeat_v1() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.heartbeat_v1() TO pgsync_listener;
COMMENT ON FUNCTION pgsync.heartbeat_v1() IS 'Puts a snapshot sample into the log.';
