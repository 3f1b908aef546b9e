-- Begins a new number line identity: every cursor handed out before is refused and its holder bootstraps. For listeners.
-- SECURITY DEFINER: settings are private.
CREATE OR REPLACE FUNCTION pgsync.new_epoch_v1()
  RETURNS text
  LANGUAGE sql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
  UPDATE pgsync_private.setting AS s
  SET value = pg_catalog.replace(pg_catalog.gen_random_uuid()::text, '-', '')
  WHERE s.name = 'epoch'
  RETURNING s.value;
$function$;

ALTER FUNCTION pgsync.new_epoch_v1() OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.new_epoch_v1() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.new_epoch_v1() TO pgsync_listener;
COMMENT ON FUNCTION pgsync.new_epoch_v1() IS 'Begins a new number line identity, so that everybody bootstraps.';
