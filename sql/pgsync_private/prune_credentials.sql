-- Forgets sessions that ended a week ago: they are minted by the thousand. Keys of administrators (sk, pk) stay.
CREATE OR REPLACE FUNCTION pgsync_private.prune_credentials()
  RETURNS void
  LANGUAGE sql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
  DELETE FROM pgsync_private.credential AS c
  WHERE c.kind IN ('rk', 'ek')
    AND c.expires_at < pg_catalog.clock_timestamp() - INTERVAL '7 days';
$function$;

ALTER FUNCTION pgsync_private.prune_credentials() OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.prune_credentials() FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.prune_credentials() IS 'Forgets sessions that ended a week ago.';
