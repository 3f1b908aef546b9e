-- Lists credentials, newest first; never a key, nor its hash. For administrators: no EXECUTE for the gateway.
-- SECURITY DEFINER: credentials are private.
CREATE OR REPLACE FUNCTION pgsync.credentials_v1(p_organization_id text DEFAULT NULL)
  RETURNS SETOF jsonb
  LANGUAGE sql
  STABLE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
  SELECT pgsync_private.credential_json(c) || pg_catalog.jsonb_build_object('label', c.label, 'createdAt', c.created_at)
  FROM pgsync_private.credential AS c
  WHERE p_organization_id IS NULL
    OR c.organization_id = p_organization_id
  ORDER BY c.created_at DESC, c.id;
$function$;

ALTER FUNCTION pgsync.credentials_v1(text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.credentials_v1(text) FROM PUBLIC;
COMMENT ON FUNCTION pgsync.credentials_v1(text) IS 'Credentials, newest first, without keys.';
