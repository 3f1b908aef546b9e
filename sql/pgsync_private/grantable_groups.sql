-- Which of the groups a secret key may hand out: a key that holds its organization's own group acts for the whole organization and
-- may hand out every group in it (rows of other organizations are out of reach whatever the group); any other key only what it holds.
CREATE OR REPLACE FUNCTION pgsync_private.grantable_groups(p_minter pgsync_private.credential, p_groups text[])
  RETURNS text[]
  LANGUAGE sql
  IMMUTABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
  SELECT COALESCE(pg_catalog.array_agg(g.g ORDER BY g.n), ARRAY[]::text[])
  FROM pg_catalog.unnest(p_groups) WITH ORDINALITY AS g(g, n)
  WHERE g.g = ANY ((p_minter).sync_groups)
    OR (
      ('org:' || (p_minter).organization_id) = ANY ((p_minter).sync_groups)
      AND g.g NOT LIKE 'org:%'
    );
$function$;

ALTER FUNCTION pgsync_private.grantable_groups(pgsync_private.credential, text[]) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.grantable_groups(pgsync_private.credential, text[]) FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.grantable_groups(pgsync_private.credential, text[]) IS 'Which of the groups a secret key may hand out.';
