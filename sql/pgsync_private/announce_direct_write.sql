-- Trigger, before a statement that writes a synced table outside a commit: puts the writer's role into the log, so that readers of
-- the stream know whose change it is. Once per transaction and role; commits announce themselves (the trigger's WHEN leaves them out).
-- SECURITY DEFINER: any role may write the table, only we add messages under our prefix.
CREATE OR REPLACE FUNCTION pgsync_private.announce_direct_write()
  RETURNS trigger
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_role text := pgsync_private.role_name();
BEGIN
  IF pg_catalog.current_setting('pgsync.announced', true) IS DISTINCT FROM v_role THEN
    PERFORM pg_catalog.set_config('pgsync.announced', v_role, true);
    PERFORM pg_catalog.pg_logical_emit_message(
      true,
      'pgsync',
      pg_catalog.jsonb_build_object(
        't', 'd',
        'w', pgsync_private.message_token(),
        'role', v_role,
        'snap', pg_catalog.pg_current_snapshot()::text)::text);
  END IF;
  RETURN NULL;
END
$function$;

ALTER FUNCTION pgsync_private.announce_direct_write() OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.announce_direct_write() FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.announce_direct_write() IS 'Puts the role of a direct SQL write into the log.';
