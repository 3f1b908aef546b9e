-- A change of which is told that it was, and neither what nor by whom nor when (op *): its reader may not know more, or nobody does.
CREATE OR REPLACE FUNCTION pgsync_private.unattributed_change(p_change pgsync_private.change)
  RETURNS pgsync_private.change
  LANGUAGE plpgsql
  IMMUTABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_change pgsync_private.change;
BEGIN
  v_change.xid := p_change.xid;
  v_change.op := '*';
  v_change.row_id := '';
  v_change.role_name := '';
  RETURN v_change;
END
$function$;

ALTER FUNCTION pgsync_private.unattributed_change(pgsync_private.change) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.unattributed_change(pgsync_private.change) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.unattributed_change(pgsync_private.change) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.unattributed_change(pgsync_private.change) IS
  'A change of which is told that it was, and neither what nor by whom nor when.';
