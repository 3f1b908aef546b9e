-- The organizations that have commits in the ledger, by as many looks at an index.
CREATE OR REPLACE FUNCTION pgsync_private.ledger_organizations()
  RETURNS SETOF text
  LANGUAGE sql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off' -- a partition that was empty when it was last analyzed looks free to scan
AS $function$
  WITH RECURSIVE organization AS (
    (
      SELECT c.organization_id AS id
      FROM pgsync_private.commit AS c
      ORDER BY c.organization_id
      LIMIT 1
    )
    UNION ALL
    SELECT (
      SELECT c.organization_id
      FROM pgsync_private.commit AS c
      WHERE c.organization_id > o.id
      ORDER BY c.organization_id
      LIMIT 1
    )
    FROM organization AS o
    WHERE o.id IS NOT NULL
  )
  SELECT o.id
  FROM organization AS o
  WHERE o.id IS NOT NULL
$function$;

ALTER FUNCTION pgsync_private.ledger_organizations() OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.ledger_organizations() FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.ledger_organizations() IS 'The organizations that have commits in the ledger.';
