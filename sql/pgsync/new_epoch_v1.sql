-- Begins a new number line identity: every cursor handed out before is refused and its holder bootstraps. For listeners.
-- SECURITY DEFINER: settings are private.
CREATE OR REPLACE FUNCTION pgsync.new_epoch_v1()
  RETURNS text
  LANGUAGE sql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
  -- What no slot can start from is of no use any more, and of harm when it came from another cluster in a dump: positions mean nothing here.
  DELETE FROM pgsync_private.checkpoint AS c
  WHERE c.lsn > pg_catalog.pg_current_wal_lsn()
    OR NOT EXISTS (
      SELECT
      FROM pg_catalog.pg_replication_slots AS s
      WHERE s.slot_name LIKE 'pgsync\_%'
        AND s.confirmed_flush_lsn <= c.lsn
    );
  UPDATE pgsync_private.setting AS s
  SET value = pg_catalog.replace(pg_catalog.gen_random_uuid()::text, '-', '')
  WHERE s.name = 'epoch'
  RETURNING s.value;
$function$;

ALTER FUNCTION pgsync.new_epoch_v1() OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.new_epoch_v1() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.new_epoch_v1() TO pgsync_listener;
COMMENT ON FUNCTION pgsync.new_epoch_v1() IS 'Begins a new number line identity, so that everybody bootstraps.';
