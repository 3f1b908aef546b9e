-- Notes that changes of transactions up to p_xid may have left the change log: evidence that old sees nothing. Null: nothing has left.
CREATE OR REPLACE FUNCTION pgsync_private.raise_change_floor(p_xid xid8)
  RETURNS void
  LANGUAGE sql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
  UPDATE pgsync_private.setting AS s
  SET value = p_xid::text
  WHERE s.name = 'change_floor_xid'
    AND s.value::xid8 < p_xid;
$function$;

ALTER FUNCTION pgsync_private.raise_change_floor(xid8) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.raise_change_floor(xid8) FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.raise_change_floor(xid8) IS 'Notes up to where changes may have left the change log.';
