-- The snapshot that the next seal stands for: what is committed now, cut off so that some p_limit rows become new, but never within a transaction.
-- p_sealed: that of the newest seal. The caller's own transaction is left for the next one, because it may write more.
-- Raises: PS901 when the database has fewer transactions behind it than it has sealed (it was restored from a dump).
CREATE OR REPLACE FUNCTION pgsync_private.next_sealed_snapshot(p_sealed pg_snapshot, p_limit integer)
  RETURNS pg_snapshot
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off' -- a partition that was empty when it was last analyzed looks free to scan
AS $function$
DECLARE
  v_now pg_snapshot;
  v_start xid8 := pg_catalog.pg_snapshot_xmax(p_sealed);
  v_end xid8;
  v_first xid8;
  v_cut xid8;
  v_open text[];
BEGIN
  SELECT pg_catalog.pg_current_snapshot()
  INTO v_now;
  v_end := pg_catalog.pg_snapshot_xmax(v_now);
  IF v_end < v_start THEN
    RAISE EXCEPTION USING
      ERRCODE = 'PS901',
      MESSAGE = 'the audit chain is ahead of this database',
      DETAIL = pg_catalog.format('transactions up to %s are sealed, the server is at %s', v_start, v_end),
      HINT = 'It was restored from a dump: keep the chain elsewhere and begin a new one, see docs/operations.md.';
  END IF;

  FOR v_first, v_cut IN
    SELECT
      (
        SELECT c.xid
        FROM pgsync_private.change AS c
        WHERE c.xid >= v_start
          AND c.xid < v_end
        ORDER BY c.xid
        LIMIT 1
      ),
      (
        SELECT c.xid
        FROM pgsync_private.change AS c
        WHERE c.xid >= v_start
          AND c.xid < v_end
        ORDER BY c.xid
        OFFSET p_limit
        LIMIT 1
      )
    UNION ALL
    SELECT
      (
        SELECT e.xid
        FROM pgsync_private.claim_event AS e
        WHERE e.xid >= v_start
          AND e.xid < v_end
        ORDER BY e.xid
        LIMIT 1
      ),
      (
        SELECT e.xid
        FROM pgsync_private.claim_event AS e
        WHERE e.xid >= v_start
          AND e.xid < v_end
        ORDER BY e.xid
        OFFSET p_limit
        LIMIT 1
      )
  LOOP
    IF v_cut = v_first THEN -- larger than that by itself: there would never be another seal
      v_cut := (v_first::text::bigint + 1)::text::xid8;
    END IF;
    IF v_cut < v_end THEN
      v_end := v_cut;
    END IF;
  END LOOP;

  v_open := ARRAY(
    SELECT o.xid::text
    FROM (
      SELECT x.x AS xid
      FROM pg_catalog.pg_snapshot_xip(v_now) AS x(x)
      UNION
      SELECT pg_catalog.pg_current_xact_id_if_assigned()
    ) AS o
    WHERE o.xid < v_end
    ORDER BY o.xid
  );
  RETURN pg_catalog.concat_ws(':', COALESCE(v_open[1], v_end::text), v_end, pg_catalog.array_to_string(v_open, ','))::pg_snapshot;
END
$function$;

ALTER FUNCTION pgsync_private.next_sealed_snapshot(pg_snapshot, integer) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.next_sealed_snapshot(pg_snapshot, integer) FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.next_sealed_snapshot(pg_snapshot, integer) IS 'The snapshot that the next seal stands for.';
