-- Puts an anchor into the log: a listener with a new slot finds its place in the number line by it.
-- A running listener that reads it stores the checkpoint of that position. For listeners.
CREATE OR REPLACE FUNCTION pgsync.anchor_v1(p_id text)
  RETURNS pg_lsn
  LANGUAGE sql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
  SELECT pg_catalog.pg_logical_emit_message(
    true,
    'pgsync',
    pg_catalog.jsonb_build_object('t', 'a', 'w', pgsync_private.message_token(), 'id', p_id, 'snap', pg_catalog.pg_current_snapshot()::text)::text);
$function$;

ALTER FUNCTION pgsync.anchor_v1(text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.anchor_v1(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.anchor_v1(text) TO pgsync_listener;
COMMENT ON FUNCTION pgsync.anchor_v1(text) IS 'Puts an anchor for a new listener into the log.';
