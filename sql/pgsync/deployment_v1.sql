-- What clients may know of this deployment, and whether its changes can reach anybody: the name of its database, since when pgsync is in it,
-- wal_level, and the tables of the active schema that are not in the publication.
-- {"database", "createdAt", "walLevel", "unpublished": ["public.tasks", ..], "schema": {"version", "hash"} or null}
-- SECURITY DEFINER: migrations and schema versions are private.
CREATE OR REPLACE FUNCTION pgsync.deployment_v1()
  RETURNS jsonb
  LANGUAGE sql
  STABLE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
  SELECT pg_catalog.jsonb_build_object(
    'database', pg_catalog.current_database(),
    'createdAt', (SELECT pgsync_private.iso(pg_catalog.min(m.applied_at)) FROM pgsync_private.migration AS m),
    'walLevel', pg_catalog.current_setting('wal_level'),
    'unpublished', (
      SELECT COALESCE(pg_catalog.jsonb_agg(t.name ORDER BY t.name), '[]')
      FROM pgsync_private.schema_version AS s
      CROSS JOIN pg_catalog.jsonb_array_elements(s.models) AS m(m)
      CROSS JOIN LATERAL pg_catalog.format('%I.%I', m.m ->> 'namespace', m.m ->> 'table') AS t(name)
      WHERE s.state = 'active'
        AND NOT EXISTS (
          SELECT
          FROM pg_catalog.pg_publication AS p
          LEFT JOIN pg_catalog.pg_publication_rel AS r
            ON r.prpubid = p.oid
          WHERE p.pubname = 'pgsync'
            AND (p.puballtables OR r.prrelid = pg_catalog.to_regclass(t.name))
        )
    ),
    'schema', (
      SELECT pg_catalog.jsonb_build_object('version', s.version, 'hash', s.hash)
      FROM pgsync_private.schema_version AS s
      WHERE s.state = 'active'
    ));
$function$;

ALTER FUNCTION pgsync.deployment_v1() OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.deployment_v1() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.deployment_v1() TO pgsync_gateway;
COMMENT ON FUNCTION pgsync.deployment_v1() IS 'What clients may know of this deployment, and whether its changes can reach anybody.';
