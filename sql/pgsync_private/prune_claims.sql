-- Removes what is left of claims: those that ended more than an hour ago, and the fence tokens of rows that nobody has claimed for a week.
-- Events go with their partitions; what came before there was one for its day is removed here.
-- Tokens of a row that was forgotten start above a floor, which is first raised and used by the next call, so that every grant that can run
-- beside this one knows it already.
CREATE OR REPLACE FUNCTION pgsync_private.prune_claims()
  RETURNS void
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off'
AS $function$
DECLARE
  v_idle timestamptz := pg_catalog.clock_timestamp() - INTERVAL '7 days';
BEGIN
  DELETE FROM pgsync_private.claim AS c
  WHERE c.ended_at < pg_catalog.clock_timestamp() - INTERVAL '1 hour'
    AND c.ended_at IS NOT NULL;

  DELETE FROM pgsync_private.claim_event_default AS e
  WHERE e.at < pg_catalog.clock_timestamp()
      - (SELECT pg_catalog.make_interval(days => s.value::integer + 1) FROM pgsync_private.setting AS s WHERE s.name = 'change_retention_days')
    AND (
      e.xid IS NULL
      OR pg_catalog.pg_visible_in_snapshot(e.xid, pgsync_private.sealed_snapshot())
      AND e.at < (
        SELECT s.kept_from::timestamp AT TIME ZONE 'UTC'
        FROM pgsync_private.audit_seal AS s
        ORDER BY s.number DESC
        LIMIT 1
      )
    );

  DELETE FROM pgsync_private.claim_fence AS f
  WHERE (f.scope, f.model, f.row_id) IN (
    SELECT
      o.scope,
      o.model,
      o.row_id
    FROM pgsync_private.claim_fence AS o
    WHERE o.granted_at < v_idle
      AND GREATEST(o.last_token, o.high_water) <= (SELECT s.value::bigint FROM pgsync_private.setting AS s WHERE s.name = 'claim_fence_floor')
      AND NOT EXISTS (
        SELECT
        FROM pgsync_private.claim AS c
        WHERE c.scope = o.scope
          AND c.model = o.model
          AND c.row_id = o.row_id
          AND c.ended_at IS NULL
      )
    FOR UPDATE SKIP LOCKED
  );
  UPDATE pgsync_private.setting AS s
  SET value = m.token::text
  FROM (
    SELECT pg_catalog.max(GREATEST(f.last_token, f.high_water)) AS token
    FROM pgsync_private.claim_fence AS f
    WHERE f.granted_at < v_idle
  ) AS m
  WHERE s.name = 'claim_fence_floor'
    AND s.value::bigint < m.token;
END
$function$;

ALTER FUNCTION pgsync_private.prune_claims() OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.prune_claims() FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.prune_claims() IS 'Removes what is left of claims.';
