-- One credential for a caller who may see it: its own, or one of an organization whose secret key it is. Null: none, or somebody else's.
-- {.. as authenticate_v1, "label", "createdAt", "mintedBy", "rotatedTo"}
-- SECURITY DEFINER: credentials are private.
CREATE OR REPLACE FUNCTION pgsync.credential_v1(p_identity jsonb, p_id text)
  RETURNS jsonb
  LANGUAGE sql
  STABLE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
  SELECT pgsync_private.credential_json(t)
    || pg_catalog.jsonb_build_object(
      'label', t.label,
      'createdAt', pgsync_private.iso(t.created_at),
      'mintedBy', t.minted_by,
      'rotatedTo', t.rotated_to)
  FROM pgsync_private.credential AS c
  JOIN pgsync_private.credential AS t
    ON t.organization_id = c.organization_id
  WHERE c.id = p_identity ->> 'capabilityId'
    AND t.id = p_id
    AND (t.id = c.id OR c.kind = 'sk');
$function$;

ALTER FUNCTION pgsync.credential_v1(jsonb, text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.credential_v1(jsonb, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.credential_v1(jsonb, text) TO pgsync_gateway;
COMMENT ON FUNCTION pgsync.credential_v1(jsonb, text) IS 'One credential for a caller who may see it.';
