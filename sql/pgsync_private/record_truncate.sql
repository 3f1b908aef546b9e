-- Trigger, after TRUNCATE of a synced table: one change of the whole table. The argument is the model's name.
-- SECURITY DEFINER: any role may own the right to truncate, only we write the change log.
CREATE OR REPLACE FUNCTION pgsync_private.record_truncate()
  RETURNS trigger
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  INSERT INTO pgsync_private.change (model, row_id, op, server_tx_id, role_name)
  VALUES (
    TG_ARGV[0],
    '',
    'T',
    pgsync_private.current_commit(),
    pgsync_private.role_name()
  );
  RETURN NULL;
END
$function$;

ALTER FUNCTION pgsync_private.record_truncate() OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.record_truncate() FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.record_truncate() IS 'Records that a synced table was truncated.';
