-- The rows of an organization that somebody holds or waits for, and those of shared models, where other organizations may, too; for a gateway
-- that begins to serve clients of the organization. At most p_limit. Answer: [[scope, model, id], ..].
-- SECURITY DEFINER: claims are private.
CREATE OR REPLACE FUNCTION pgsync.claimed_rows_v1(p_organization text, p_limit integer)
  RETURNS jsonb
  LANGUAGE plpgsql
  STABLE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off'
AS $function$
BEGIN
  RETURN COALESCE(
    (
      SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(t.scope, t.model, t.row_id))
      FROM (
        SELECT DISTINCT
          c.scope,
          c.model,
          c.row_id
        FROM pgsync_private.claim AS c
        WHERE c.scope = ANY (ARRAY[p_organization, '', pgsync_private.unseen_scope(p_organization), pgsync_private.unseen_scope('')])
          AND c.ended_at IS NULL
        LIMIT p_limit
      ) AS t
    ),
    '[]');
END
$function$;

ALTER FUNCTION pgsync.claimed_rows_v1(text, integer) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.claimed_rows_v1(text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.claimed_rows_v1(text, integer) TO pgsync_gateway;
COMMENT ON FUNCTION pgsync.claimed_rows_v1(text, integer) IS 'The rows of an organization that somebody holds or waits for.';
