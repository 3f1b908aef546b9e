-- Keeps the places in line of clients that are connected, so that they need not beat themselves. p_claims: [[organization, claim id], ..].
-- Answer: of these, [[organization, claim id], ..] that do not wait in line any more: their turn has come, or they have ended.
-- A ticket that somebody else changes at this moment is left to him; the next call keeps it.
-- SECURITY DEFINER: claims are private.
CREATE OR REPLACE FUNCTION pgsync.keep_tickets_v1(p_claims jsonb)
  RETURNS jsonb
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off'
AS $function$
BEGIN
  UPDATE pgsync_private.claim AS c
  SET expires_at = pg_catalog.clock_timestamp() + pgsync_private.claim_ticket_lease()
  FROM (
    SELECT
      o.organization_id,
      o.id
    FROM pg_catalog.jsonb_array_elements(p_claims) AS k(k)
    JOIN pgsync_private.claim AS o
      ON o.organization_id = k.k ->> 0
      AND o.id = k.k ->> 1
    WHERE o.ended_at IS NULL
      AND o.status = 'queued'
      AND o.expires_at > pg_catalog.clock_timestamp()
    FOR UPDATE OF o SKIP LOCKED
  ) AS w
  WHERE c.organization_id = w.organization_id
    AND c.id = w.id;
  RETURN COALESCE(
    (
      SELECT pg_catalog.jsonb_agg(k.k)
      FROM pg_catalog.jsonb_array_elements(p_claims) AS k(k)
      WHERE NOT EXISTS (
        SELECT
        FROM pgsync_private.claim AS o
        WHERE o.organization_id = k.k ->> 0
          AND o.id = k.k ->> 1
          AND o.ended_at IS NULL
          AND o.status = 'queued'
      )
    ),
    '[]');
END
$function$;

ALTER FUNCTION pgsync.keep_tickets_v1(jsonb) OWNER TO pgsync_writer;
REVOKE ALL ON FUNCTION pgsync.keep_tickets_v1(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.keep_tickets_v1(jsonb) TO pgsync_gateway;
COMMENT ON FUNCTION pgsync.keep_tickets_v1(jsonb) IS 'Keeps the places in line of clients that are connected.';
