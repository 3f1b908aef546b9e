-- The kinds of the sync groups that memberships can grant.
CREATE OR REPLACE FUNCTION pgsync_generated.edge_kinds()
  RETURNS text[]
  LANGUAGE sql
  IMMUTABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
  SELECT ARRAY[{{ edge_kinds }}]::text[];
$function$;
