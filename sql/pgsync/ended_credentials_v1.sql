-- Which of these credentials (a JSON array of ids) have ended or were given an end since: revoked, rotated away, expired, or no longer there.
-- For a gateway that was not listening for a while, about the sessions that it has: the notifications of that time are lost.
-- [{"capabilityId", "status": "active" | "expired" | "revoked", "expiresAt"}, ..]
-- SECURITY DEFINER: credentials are private.
CREATE OR REPLACE FUNCTION pgsync.ended_credentials_v1(p_ids jsonb)
  RETURNS jsonb
  LANGUAGE sql
  STABLE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
  SELECT COALESCE(
    pg_catalog.jsonb_agg(
      pg_catalog.jsonb_build_object(
        'capabilityId', i.id,
        'status', CASE WHEN c.id IS NULL OR c.revoked_at IS NOT NULL THEN 'revoked'
          WHEN c.expires_at <= pg_catalog.clock_timestamp() THEN 'expired'
          ELSE 'active' END,
        'expiresAt', pgsync_private.iso(c.expires_at))
      ORDER BY i.id),
    '[]')
  FROM pg_catalog.jsonb_array_elements_text(p_ids) AS i(id)
  LEFT JOIN pgsync_private.credential AS c
    ON c.id = i.id
  WHERE c.id IS NULL
    OR c.revoked_at IS NOT NULL
    OR c.rotated_to IS NOT NULL
    OR c.expires_at <= pg_catalog.clock_timestamp();
$function$;

ALTER FUNCTION pgsync.ended_credentials_v1(jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.ended_credentials_v1(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.ended_credentials_v1(jsonb) TO pgsync_gateway;
COMMENT ON FUNCTION pgsync.ended_credentials_v1(jsonb) IS 'Which of these credentials have ended, or were given an end.';
