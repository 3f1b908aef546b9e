-- Takes from the ledger, which forgets after a day, who made the commits whose changes p_now sees and p_sealed does not. Commits that changed
-- nothing are left out. p_patience: how long before its first change a commit may have begun; what it leaves out can be looked for again.
-- Returns how many of the commits are kept by now, and how many there are.
CREATE OR REPLACE FUNCTION pgsync_private.keep_acts(
  p_sealed pg_snapshot,
  p_now pg_snapshot,
  p_patience interval,
  OUT p_kept bigint,
  OUT p_wanted bigint
)
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off' -- a partition that was empty when it was last analyzed looks free to scan
  SET plan_cache_mode = 'force_custom_plan'
AS $function$
DECLARE
  v_start xid8 := pg_catalog.pg_snapshot_xmax(p_sealed);
  v_end xid8 := pg_catalog.pg_snapshot_xmax(p_now);
  v_late xid8[] := ARRAY(SELECT x.x FROM pg_catalog.pg_snapshot_xip(p_sealed) AS x(x));
  v_open xid8[] := ARRAY(SELECT x.x FROM pg_catalog.pg_snapshot_xip(p_now) AS x(x));
BEGIN
  WITH made AS MATERIALIZED (
    SELECT
      c.xid,
      c.server_tx_id,
      c.organization_id,
      c.changed_at
    FROM pgsync_private.change AS c
    WHERE c.xid >= v_start
      AND c.xid < v_end
      AND c.xid <> ALL (v_open)
      AND c.server_tx_id IS NOT NULL
    UNION ALL
    SELECT
      c.xid,
      c.server_tx_id,
      c.organization_id,
      c.changed_at
    FROM pgsync_private.change AS c
    WHERE c.xid = ANY (v_late)
      AND c.xid <> ALL (v_open)
      AND c.server_tx_id IS NOT NULL
  ),
  wanted AS MATERIALIZED (
    SELECT
      m.xid,
      m.server_tx_id,
      pg_catalog.min(m.changed_at) AS at
    FROM made AS m
    GROUP BY m.xid, m.server_tx_id
  ),
  span AS (
    SELECT
      pg_catalog.min(w.at) - p_patience AS first,
      pg_catalog.max(w.at) + INTERVAL '1 minute' AS last -- clocks may be set back
    FROM wanted AS w
  ),
  -- The ledger is found by organization, which is that of one of the changes at least. One of a model that all organizations share does not say.
  organization AS (
    SELECT m.organization_id AS id
    FROM made AS m
    WHERE m.organization_id IS NOT NULL
    UNION
    SELECT a.id
    FROM pgsync_private.ledger_organizations() AS a(id)
    WHERE EXISTS (SELECT FROM made AS m WHERE m.organization_id IS NULL)
  ),
  found AS MATERIALIZED (
    SELECT
      w.xid,
      l.ordinal,
      w.at,
      l.key,
      l.route,
      l.organization_id,
      l.participant_kind,
      l.participant_id,
      l.capability_id,
      k.kind AS credential_kind,
      k.minted_by,
      l.on_behalf_of_kind,
      l.on_behalf_of_id,
      pg_catalog.sha256(
        pg_catalog.convert_to(
          pg_catalog.json_build_array(
            l.organization_id, l.participant_kind, l.participant_id, l.capability_id, k.kind, k.minted_by, l.on_behalf_of_kind,
            l.on_behalf_of_id)::text,
          'UTF8')) AS identity
    FROM organization AS o
    CROSS JOIN span AS s
    JOIN pgsync_private.commit AS l
      ON l.organization_id = o.id
      AND l.created_at BETWEEN s.first AND s.last
    JOIN wanted AS w
      ON w.server_tx_id = l.server_tx_id
    LEFT JOIN pgsync_private.credential AS k
      ON k.id = l.capability_id
    WHERE NOT EXISTS (
      SELECT
      FROM pgsync_private.audit_act AS a
      WHERE a.xid = w.xid
        AND a.ordinal = l.ordinal
    )
  ),
  actor AS (
    INSERT INTO pgsync_private.audit_actor AS r (
      identity, organization_id, participant_kind, participant_id, capability_id, credential_kind, minted_by, on_behalf_of_kind,
      on_behalf_of_id, last_day
    )
    SELECT
      f.identity,
      f.organization_id,
      f.participant_kind,
      f.participant_id,
      f.capability_id,
      f.credential_kind,
      f.minted_by,
      f.on_behalf_of_kind,
      f.on_behalf_of_id,
      pg_catalog.max((f.at AT TIME ZONE 'UTC')::date)
    FROM found AS f
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
    ORDER BY 1
    ON CONFLICT (identity) DO UPDATE
    SET last_day = GREATEST(r.last_day, EXCLUDED.last_day)
    RETURNING r.id, r.identity
  ),
  kept AS (
    INSERT INTO pgsync_private.audit_act (xid, ordinal, actor, key, route, at)
    SELECT
      f.xid,
      f.ordinal,
      r.id,
      f.key,
      f.route,
      f.at
    FROM found AS f
    JOIN actor AS r
      ON r.identity = f.identity
    RETURNING 1
  )
  SELECT
    (SELECT pg_catalog.count(*) FROM kept),
    (SELECT pg_catalog.count(*) FROM wanted)
  INTO p_kept, p_wanted;
END
$function$;

ALTER FUNCTION pgsync_private.keep_acts(pg_snapshot, pg_snapshot, interval) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.keep_acts(pg_snapshot, pg_snapshot, interval) FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.keep_acts(pg_snapshot, pg_snapshot, interval) IS
  'Takes from the ledger who made the commits that one snapshot sees and another does not.';
