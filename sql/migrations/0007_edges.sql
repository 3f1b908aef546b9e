-- Which credentials gain the groups that the memberships of their participant grant, and a first version of what a push compiles.

ALTER TABLE pgsync_private.credential ADD COLUMN follows_edges boolean NOT NULL DEFAULT true;
COMMENT ON COLUMN pgsync_private.credential.follows_edges IS
  'Whether it also holds the groups that memberships grant its participant. Not when its groups were given by name: then those are all.';

UPDATE pgsync_private.credential AS c
SET follows_edges = false
WHERE c.control_plane_only
  OR NOT c.sync_groups @> ARRAY['org:' || c.organization_id, c.participant_kind || ':' || c.participant_id];

CREATE FUNCTION pgsync_generated.edges(p_organization text, p_participant text)
  RETURNS TABLE (model text, row_id text, sync_group text, writer text)
  LANGUAGE sql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
  SELECT NULL::text, NULL::text, NULL::text, NULL::text
  WHERE false
$function$;
ALTER FUNCTION pgsync_generated.edges(text, text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.edges(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_generated.edges(text, text) TO pgsync_writer;

CREATE FUNCTION pgsync_generated.edge_kinds()
  RETURNS text[]
  LANGUAGE sql
  IMMUTABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
  SELECT ARRAY[]::text[]
$function$;
ALTER FUNCTION pgsync_generated.edge_kinds() OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_generated.edge_kinds() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_generated.edge_kinds() TO pgsync_writer;
