-- The last sync id of a transaction, or of its commit number p_ordinal if one is given, that a listener has stored; null when none has.
-- For gateways, about what refusals and notices speak of.
-- SECURITY DEFINER: positions are private.
CREATE OR REPLACE FUNCTION pgsync.sync_id_of_v1(p_xid xid8, p_ordinal integer)
  RETURNS bigint
  LANGUAGE sql
  STABLE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
  SELECT CASE WHEN p_ordinal IS NULL THEN p.last_sync_id ELSE p.commit_sync_ids[p_ordinal + 1] END
  FROM pgsync_private.position AS p
  WHERE p.xid = p_xid
  LIMIT 1;
$function$;

ALTER FUNCTION pgsync.sync_id_of_v1(xid8, integer) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.sync_id_of_v1(xid8, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.sync_id_of_v1(xid8, integer) TO pgsync_gateway;
COMMENT ON FUNCTION pgsync.sync_id_of_v1(xid8, integer) IS 'The last sync id of a transaction or commit that a listener has stored.';
