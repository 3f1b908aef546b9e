-- Whether fewer changes than p_limit have come since the newest seal, so that the next one is made in no time.
CREATE OR REPLACE FUNCTION pgsync_private.is_nearly_sealed(p_limit integer)
  RETURNS boolean
  LANGUAGE sql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off' -- a partition that was empty when it was last analyzed looks free to scan
AS $function$
  SELECT pg_catalog.count(*) < p_limit
  FROM (
    SELECT
    FROM pgsync_private.change AS c
    WHERE c.xid >= pg_catalog.pg_snapshot_xmax(pgsync_private.sealed_snapshot())
    LIMIT p_limit
  ) AS c
$function$;

ALTER FUNCTION pgsync_private.is_nearly_sealed(integer) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.is_nearly_sealed(integer) FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.is_nearly_sealed(integer) IS 'Whether fewer changes than so many have come since the newest seal.';
