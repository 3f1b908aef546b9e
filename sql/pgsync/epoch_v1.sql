-- Identity of the number line. A resume cursor of another epoch is worth nothing.
-- SECURITY DEFINER: settings are private.
CREATE OR REPLACE FUNCTION pgsync.epoch_v1()
  RETURNS text
  LANGUAGE sql
  STABLE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
  SELECT s.value
  FROM pgsync_private.setting AS s
  WHERE s.name = 'epoch';
$function$;

ALTER FUNCTION pgsync.epoch_v1() OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.epoch_v1() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.epoch_v1() TO pgsync_gateway, pgsync_listener;
COMMENT ON FUNCTION pgsync.epoch_v1() IS 'Identity of the number line of sync ids.';
