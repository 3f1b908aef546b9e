-- What clients may know of this deployment: the name of its database and since when pgsync is in it. {"database", "createdAt"}
-- SECURITY DEFINER: migrations are private.
CREATE OR REPLACE FUNCTION pgsync.deployment_v1()
  RETURNS jsonb
  LANGUAGE sql
  STABLE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
  SELECT pg_catalog.jsonb_build_object(
    'database', pg_catalog.current_database(),
    'createdAt', pgsync_private.iso(pg_catalog.min(m.applied_at)))
  FROM pgsync_private.migration AS m;
$function$;

ALTER FUNCTION pgsync.deployment_v1() OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.deployment_v1() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.deployment_v1() TO pgsync_gateway;
COMMENT ON FUNCTION pgsync.deployment_v1() IS 'What clients may know of this deployment.';
