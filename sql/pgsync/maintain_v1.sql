-- Keeps the private tables in shape: makes the partitions of the coming days, drops those past their retention, empties the third
-- day of the commit ledger, and removes checkpoints nobody can start from any more, premises, sessions and claims of long ago. Any
-- listener may call it, as often as it likes; twice at once is harmless.
-- What belongs to the audit trail goes only when it is sealed and a seal says that its days may be gone, so it seals first, unless that would take
-- long. What could not be sealed stays, for longer than its retention if need be.
-- A partition is made beside its table and attached, which no writer has to wait for; what does need a lock that writers feel waits for it
-- a fifth of a second only and is otherwise left to the next call.
-- The names of partitions follow from the date, so this is the one place where a statement is put together, with %I and %L only.
-- SECURITY DEFINER: the tables are private.
CREATE OR REPLACE FUNCTION pgsync.maintain_v1()
  RETURNS void
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
  SET lock_timeout = '200ms'
AS $function$
DECLARE
  v_today date := (pg_catalog.clock_timestamp() AT TIME ZONE 'UTC')::date;
  v_table text;
  v_days integer;
  v_day date;
  v_name text;
  v_floor xid8;
  v_kept_from date;
  v_sealed pg_snapshot;
  v_ignored text;
BEGIN
  IF NOT pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtextextended('pgsync maintain', 0)) THEN
    RETURN;
  END IF;

  BEGIN
    IF pgsync_private.is_nearly_sealed(100000) THEN
      PERFORM pgsync.seal_v1(100000, true);
    END IF;
  EXCEPTION
    WHEN lock_not_available OR SQLSTATE 'PS101' OR SQLSTATE 'PS901' THEN
      NULL; -- somebody seals, or nobody can: what is not sealed stays
  END;
  SELECT s.kept_from
  INTO v_kept_from
  FROM pgsync_private.audit_seal AS s
  ORDER BY s.number DESC
  LIMIT 1;

  FOR v_table, v_days IN
    SELECT
      t.t,
      (SELECT s.value::integer FROM pgsync_private.setting AS s WHERE s.name = t.s)
    FROM (
      VALUES
        ('change', 'change_retention_days'),
        ('claim_event', 'change_retention_days'),
        ('position', 'change_retention_days'),
        ('audit_act', 'change_retention_days'),
        ('audit_block', 'change_retention_days')
    ) AS t(t, s)
  LOOP
    FOR v_day IN SELECT v_today + d.d FROM pg_catalog.generate_series(0, 2) AS d(d)
    LOOP
      v_name := v_table || '_' || pg_catalog.to_char(v_day, 'YYYYMMDD');
      IF pg_catalog.to_regclass('pgsync_private.' || v_name) IS NULL THEN
        BEGIN
          EXECUTE pg_catalog.format(
            'CREATE TABLE pgsync_private.%I (LIKE pgsync_private.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)', v_name, v_table);
          EXECUTE pg_catalog.format(
            'ALTER TABLE pgsync_private.%I ATTACH PARTITION pgsync_private.%I FOR VALUES FROM (%L) TO (%L)',
            v_table,
            v_name,
            v_day::text || ' 00:00:00+00',
            (v_day + 1)::text || ' 00:00:00+00');
        EXCEPTION
          WHEN check_violation THEN
            NULL; -- rows of that day are in the default partition already, where they stay
          WHEN lock_not_available THEN
            NULL; -- the partitions of two more days are there
        END;
      END IF;
    END LOOP;

    FOR v_name IN
      SELECT c.relname::text
      FROM pg_catalog.pg_inherits AS i
      JOIN pg_catalog.pg_class AS c
        ON c.oid = i.inhrelid
      WHERE i.inhparent = ('pgsync_private.' || v_table)::regclass
        AND c.relname ~ '_[0-9]{8}$'
        AND pg_catalog.to_date(pg_catalog.right(c.relname, 8), 'YYYYMMDD') < v_today - v_days
    LOOP
      CONTINUE WHEN v_table <> 'position' AND (pg_catalog.to_date(pg_catalog.right(v_name, 8), 'YYYYMMDD') < v_kept_from) IS NOT TRUE;
      BEGIN
        IF v_table IN ('change', 'claim_event') THEN
          EXECUTE pg_catalog.format('LOCK TABLE pgsync_private.%I IN ACCESS EXCLUSIVE MODE', v_name);
          CONTINUE WHEN NOT pgsync_private.is_sealed(
            (pg_catalog.to_date(pg_catalog.right(v_name, 8), 'YYYYMMDD') + 1)::timestamp AT TIME ZONE 'UTC');
        END IF;
        IF v_table = 'change' THEN
          EXECUTE pg_catalog.format('SELECT c.xid FROM pgsync_private.%I AS c ORDER BY c.xid DESC LIMIT 1', v_name) INTO v_floor;
          v_ignored := pgsync_private.raise_change_floor(v_floor);
        END IF;
        EXECUTE pg_catalog.format('DROP TABLE pgsync_private.%I', v_name);
      EXCEPTION
        WHEN lock_not_available THEN
          NULL; -- somebody who wrote has not committed yet
      END;
    END LOOP;
  END LOOP;

  -- Today's commits go to one partition, yesterday's may still be asked for; the third holds what ended 24 hours ago or more. Not around
  -- midnight, when it becomes today's.
  BEGIN
    CASE
      WHEN (pg_catalog.clock_timestamp() AT TIME ZONE 'UTC')::time NOT BETWEEN TIME '00:10' AND TIME '23:50' THEN
        NULL;
      WHEN (v_today - DATE '2000-01-01' + 1) % 3 = 0 THEN
        IF EXISTS (SELECT FROM pgsync_private.commit_0) THEN
          LOCK TABLE pgsync_private.commit_0 IN ACCESS EXCLUSIVE MODE;
          IF pgsync_private.is_sealed(v_today::timestamp AT TIME ZONE 'UTC') THEN
            TRUNCATE pgsync_private.commit_0, pgsync_private.commit_replay_0;
          END IF;
        END IF;
      WHEN (v_today - DATE '2000-01-01' + 1) % 3 = 1 THEN
        IF EXISTS (SELECT FROM pgsync_private.commit_1) THEN
          LOCK TABLE pgsync_private.commit_1 IN ACCESS EXCLUSIVE MODE;
          IF pgsync_private.is_sealed(v_today::timestamp AT TIME ZONE 'UTC') THEN
            TRUNCATE pgsync_private.commit_1, pgsync_private.commit_replay_1;
          END IF;
        END IF;
      ELSE
        IF EXISTS (SELECT FROM pgsync_private.commit_2) THEN
          LOCK TABLE pgsync_private.commit_2 IN ACCESS EXCLUSIVE MODE;
          IF pgsync_private.is_sealed(v_today::timestamp AT TIME ZONE 'UTC') THEN
            TRUNCATE pgsync_private.commit_2, pgsync_private.commit_replay_2;
          END IF;
        END IF;
    END CASE;
  EXCEPTION
    WHEN lock_not_available THEN
      NULL; -- the ledger is read by every commit: next time
  END;

  -- Rows that came when there was no partition for their day.
  v_days := (SELECT s.value::integer FROM pgsync_private.setting AS s WHERE s.name = 'change_retention_days') + 1;
  v_sealed := pgsync_private.sealed_snapshot();
  WITH gone AS (
    DELETE FROM pgsync_private.change_default AS c
    WHERE c.changed_at < pg_catalog.clock_timestamp() - pg_catalog.make_interval(days => v_days)
      AND c.changed_at < v_kept_from::timestamp AT TIME ZONE 'UTC'
      AND pg_catalog.pg_visible_in_snapshot(c.xid, v_sealed)
    RETURNING c.xid
  )
  SELECT pg_catalog.max(g.xid::text::numeric)::text::xid8
  INTO v_floor
  FROM gone AS g;
  v_ignored := pgsync_private.raise_change_floor(v_floor);
  DELETE FROM pgsync_private.tracked_premise AS t
  WHERE t.created_at < pg_catalog.clock_timestamp() - pg_catalog.make_interval(days => v_days);
  DELETE FROM pgsync_private.position_default AS p
  WHERE p.stored_at < pg_catalog.clock_timestamp() - pg_catalog.make_interval(days => v_days);

  DELETE FROM pgsync_private.audit_act_default AS a
  WHERE a.at < pg_catalog.clock_timestamp() - pg_catalog.make_interval(days => v_days)
    AND a.at < v_kept_from::timestamp AT TIME ZONE 'UTC';
  DELETE FROM pgsync_private.audit_block_default AS b
  WHERE b.day < v_today - v_days
    AND b.day < v_kept_from;
  DELETE FROM pgsync_private.audit_actor AS r
  WHERE r.last_day < v_today - v_days - 1
    AND r.last_day < v_kept_from;

  -- What a slot may still start from is kept, and one more.
  DELETE FROM pgsync_private.checkpoint AS c
  WHERE c.stored_at < pg_catalog.clock_timestamp() - INTERVAL '1 day'
    AND c.lsn < (
      SELECT pg_catalog.max(k.lsn)
      FROM pgsync_private.checkpoint AS k
      WHERE k.lsn <= (
        SELECT pg_catalog.min(s.restart_lsn)
        FROM pg_catalog.pg_replication_slots AS s
        WHERE s.slot_name LIKE 'pgsync\_%'
      )
    );

  PERFORM pgsync_private.prune_credentials();
  PERFORM pgsync_private.prune_claims();
END
$function$;

ALTER FUNCTION pgsync.maintain_v1() OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.maintain_v1() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.maintain_v1() TO pgsync_listener;
COMMENT ON FUNCTION pgsync.maintain_v1() IS 'Makes and drops partitions of the private tables; removes old checkpoints.';
