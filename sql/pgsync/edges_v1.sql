-- The memberships of a participant, for a stream that follows them from here: {"edges": [{"model": key, "id", "group"}], "kinds": [kinds of
-- groups that memberships can grant]}.
-- Makes the rest of the transaction act for the identity. Raises: as set_identity_v1.
-- SECURITY DEFINER (pgsync_writer): the caller need not be able to read the memberships themselves.
CREATE OR REPLACE FUNCTION pgsync.edges_v1(p_identity jsonb)
  RETURNS jsonb
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  PERFORM pgsync.set_identity_v1(p_identity);
  RETURN pg_catalog.jsonb_build_object(
    'edges', (
      SELECT COALESCE(
        pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('model', e.model, 'id', e.row_id, 'group', e.sync_group)),
        '[]')
      FROM pgsync_generated.edges(pgsync.organization_id(), pgsync.participant_id()) AS e
    ),
    'kinds', pg_catalog.to_jsonb(pgsync_generated.edge_kinds()));
END
$function$;

ALTER FUNCTION pgsync.edges_v1(jsonb) OWNER TO pgsync_writer;
REVOKE ALL ON FUNCTION pgsync.edges_v1(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.edges_v1(jsonb) TO pgsync_gateway;
COMMENT ON FUNCTION pgsync.edges_v1(jsonb) IS 'The memberships of a participant, for a stream that follows them from here.';
