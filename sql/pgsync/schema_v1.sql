-- The active schema version: number, hash, the document as pushed and what gateways need to know about each model. Null: none yet.
-- SECURITY DEFINER: versions are private.
CREATE OR REPLACE FUNCTION pgsync.schema_v1(p_version integer DEFAULT NULL)
  RETURNS jsonb
  LANGUAGE sql
  STABLE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
  SELECT pg_catalog.jsonb_build_object(
    'version', s.version,
    'hash', s.hash,
    'pushedAt', pgsync_private.iso(s.activated_at),
    'schema', s.document,
    'models', s.models,
    'renamed', (
      SELECT COALESCE(pg_catalog.jsonb_object_agg(pg_catalog.lower(r.key_before), r.key_now), '{}')
      FROM pgsync_private.model_rename AS r
    ))
  FROM pgsync_private.schema_version AS s
  WHERE CASE WHEN p_version IS NULL THEN s.state = 'active' ELSE s.version = p_version END;
$function$;

ALTER FUNCTION pgsync.schema_v1(integer) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.schema_v1(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.schema_v1(integer) TO pgsync_gateway, pgsync_listener;
COMMENT ON FUNCTION pgsync.schema_v1(integer) IS 'The active (or a given) schema version; null when there is none.';
