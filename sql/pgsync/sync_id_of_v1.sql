-- The last sync id of a transaction that a listener has stored; null when none has. For gateways, about transactions of refusals and notices.
-- SECURITY DEFINER: positions are private.
CREATE OR REPLACE FUNCTION pgsync.sync_id_of_v1(p_xid xid8)
  RETURNS bigint
  LANGUAGE sql
  STABLE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
  SELECT p.last_sync_id
  FROM pgsync_private.position AS p
  WHERE p.xid = p_xid
  LIMIT 1;
$function$;

ALTER FUNCTION pgsync.sync_id_of_v1(xid8) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.sync_id_of_v1(xid8) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.sync_id_of_v1(xid8) TO pgsync_gateway;
COMMENT ON FUNCTION pgsync.sync_id_of_v1(xid8) IS 'The last sync id of a transaction that a listener has stored.';
