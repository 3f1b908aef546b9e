-- The sync groups that the memberships of the caller grant it now, in its organization; empty outside a pgsync call. Looked up, not
-- remembered: a membership that is gone grants nothing from the next transaction on.
-- SECURITY DEFINER (pgsync_writer): the caller need not be able to read the memberships themselves.
CREATE OR REPLACE FUNCTION pgsync.edge_groups()
  RETURNS text[]
  LANGUAGE plpgsql
  STABLE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  RETURN ARRAY(
    SELECT DISTINCT e.sync_group
    FROM pgsync_generated.edges(pgsync.organization_id(), pgsync.participant_id()) AS e
    ORDER BY e.sync_group
  );
END
$function$;

ALTER FUNCTION pgsync.edge_groups() OWNER TO pgsync_writer;
REVOKE ALL ON FUNCTION pgsync.edge_groups() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.edge_groups() TO pgsync_owner, pgsync_gateway;
COMMENT ON FUNCTION pgsync.edge_groups() IS 'The sync groups that the memberships of the caller grant it now.';
