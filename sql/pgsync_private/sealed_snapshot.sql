-- What is sealed is what this sees: the snapshot of the newest seal, and one that sees nothing before there is a seal.
CREATE OR REPLACE FUNCTION pgsync_private.sealed_snapshot()
  RETURNS pg_snapshot
  LANGUAGE sql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
  SELECT COALESCE(
    (
      SELECT s.snapshot
      FROM pgsync_private.audit_seal AS s
      ORDER BY s.number DESC
      LIMIT 1
    ),
    '3:3:')
$function$;

ALTER FUNCTION pgsync_private.sealed_snapshot() OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.sealed_snapshot() FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.sealed_snapshot() IS 'What is sealed is what this sees.';
