-- Forgets sessions that ended a week ago, or before anything that the change log still has: they are minted by the thousand, and the audit trail
-- asks who minted whom. Keys of administrators (sk, pk) stay.
CREATE OR REPLACE FUNCTION pgsync_private.prune_credentials()
  RETURNS void
  LANGUAGE sql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
  DELETE FROM pgsync_private.credential AS c
  WHERE c.kind IN ('rk', 'ek')
    AND c.expires_at < pg_catalog.clock_timestamp()
      - (
        SELECT pg_catalog.make_interval(days => GREATEST(7, s.value::integer + 2))
        FROM pgsync_private.setting AS s
        WHERE s.name = 'change_retention_days'
      );
$function$;

ALTER FUNCTION pgsync_private.prune_credentials() OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.prune_credentials() FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.prune_credentials() IS 'Forgets sessions that ended a week ago.';
