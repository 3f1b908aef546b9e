-- What the logs need to know about each model of the active schema that the caller may read. Called after set_identity_v1.
-- A model that had another name before comes once for each, with the typename of now.
-- is_shared: all organizations share its rows. has_groups, has_rule: who sees a row is not just its organization's matter.
CREATE OR REPLACE FUNCTION pgsync_private.log_models()
  RETURNS TABLE (name text, typename text, is_shared boolean, has_groups boolean, has_rule boolean)
  LANGUAGE sql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
  WITH active AS (
    SELECT m.m
    FROM pgsync_private.schema_version AS s
    CROSS JOIN pg_catalog.jsonb_array_elements(s.models) AS m(m)
    WHERE s.state = 'active'
  )
  SELECT
    n.name,
    m.m ->> 'typename',
    m.m ->> 'tenantColumn' IS NULL,
    pg_catalog.jsonb_array_length(m.m -> 'groups') > 0,
    m.m ->> 'rule' IS NOT NULL
  FROM active AS m
  CROSS JOIN LATERAL (
    SELECT m.m ->> 'name' AS name
    UNION ALL
    SELECT r.before
    FROM pgsync_private.model_rename AS r
    WHERE r.now = m.m ->> 'name'
      AND NOT EXISTS (
        SELECT
        FROM active AS o
        WHERE o.m ->> 'name' = r.before
      )
  ) AS n
  WHERE pgsync.may_read(pg_catalog.lower(m.m ->> 'typename'));
$function$;

ALTER FUNCTION pgsync_private.log_models() OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.log_models() FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.log_models() IS 'What the logs need to know about each model that the caller may read.';
