-- Puts the next seal on the audit chain: over everything that has been committed since the newest one (see next_sealed_snapshot for p_limit). Returns
-- it, or null when there is nothing to seal: no row, and no day that retention lets go. Whoever calls holds the lock of pgsync.seal_v1.
-- An audit row belongs to the first seal whose snapshot sees its transaction. So no row is missed or sealed twice, however late its transaction
-- commits, and a transaction that stays open holds up only itself.
-- Raises: PS101 in a transaction that does not see the newest seal, PS901 as next_sealed_snapshot.
CREATE OR REPLACE FUNCTION pgsync_private.seal(p_limit integer)
  RETURNS pgsync_private.audit_seal
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off' -- a partition that was empty when it was last analyzed looks free to scan
  SET plan_cache_mode = 'force_custom_plan'
AS $function$
DECLARE
  c_part CONSTANT integer := 16384;
  v_last pgsync_private.audit_seal;
  v_seal pgsync_private.audit_seal;
  v_sealed pg_snapshot;
  v_start xid8;
  v_end xid8;
  v_late xid8[];
  v_open xid8[];
  v_acts record;
BEGIN
  IF pg_catalog.current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION USING
      ERRCODE = 'PS101',
      MESSAGE = 'sealing needs the isolation level READ COMMITTED',
      DETAIL = pg_catalog.format('transaction_isolation=%s', pg_catalog.current_setting('transaction_isolation')),
      HINT = 'It must see the seal that was made while it waited: begin the transaction with READ COMMITTED.';
  END IF;
  SELECT s.*
  INTO v_last
  FROM pgsync_private.audit_seal AS s
  ORDER BY s.number DESC
  LIMIT 1;
  v_sealed := COALESCE(v_last.snapshot, '3:3:');

  v_seal.number := COALESCE(v_last.number, 0) + 1;
  v_seal.previous_hash := COALESCE(v_last.hash, pg_catalog.decode(pg_catalog.repeat('00', 32), 'hex'));
  v_seal.snapshot := pgsync_private.next_sealed_snapshot(v_sealed, p_limit);
  v_seal.first_position := COALESCE(v_last.first_position + v_last.row_count, 1);
  SELECT GREATEST(v_last.kept_from, (pg_catalog.clock_timestamp() AT TIME ZONE 'UTC')::date - s.value::integer)
  INTO v_seal.kept_from
  FROM pgsync_private.setting AS s
  WHERE s.name = 'change_retention_days';

  v_acts := pgsync_private.keep_acts(v_sealed, v_seal.snapshot, INTERVAL '1 minute');
  IF v_acts.p_kept < v_acts.p_wanted THEN
    v_acts := pgsync_private.keep_acts(v_sealed, v_seal.snapshot, INTERVAL '3 days');
  END IF;

  v_start := pg_catalog.pg_snapshot_xmax(v_sealed);
  v_end := pg_catalog.pg_snapshot_xmax(v_seal.snapshot);
  v_late := ARRAY(SELECT x.x FROM pg_catalog.pg_snapshot_xip(v_sealed) AS x(x));
  v_open := ARRAY(SELECT x.x FROM pg_catalog.pg_snapshot_xip(v_seal.snapshot) AS x(x));
  WITH fresh AS (
    SELECT
      'act' AS kind,
      a.xid,
      a.ordinal::bigint AS seq,
      (a.at AT TIME ZONE 'UTC')::date AS day,
      pg_catalog.json_build_array(
        pg_catalog.to_char(a.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), a.key, a.route, r.organization_id, r.participant_kind,
        r.participant_id, r.capability_id, r.credential_kind, r.minted_by, r.on_behalf_of_kind, r.on_behalf_of_id)::text AS content
    FROM pgsync_private.audit_act AS a
    JOIN pgsync_private.audit_actor AS r
      ON r.id = a.actor
    WHERE a.xid >= v_start
      AND a.xid < v_end
      AND a.xid <> ALL (v_open)
      OR a.xid = ANY (v_late)
      AND a.xid <> ALL (v_open)
    UNION ALL
    SELECT
      'change',
      c.xid,
      c.seq,
      (c.changed_at AT TIME ZONE 'UTC')::date,
      pg_catalog.json_build_array(
        pg_catalog.to_char(c.changed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), c.organization_id, c.model, c.row_id, c.op, c.fields,
        c.sync_groups, c.server_tx_id, c.actor_kind, c.actor_id, c.role_name)::text
    FROM pgsync_private.change AS c
    WHERE c.xid >= v_start
      AND c.xid < v_end
      AND c.xid <> ALL (v_open)
      OR c.xid = ANY (v_late)
      AND c.xid <> ALL (v_open)
    UNION ALL
    SELECT
      'claim',
      e.xid,
      e.seq,
      (e.at AT TIME ZONE 'UTC')::date,
      pg_catalog.json_build_array(
        pg_catalog.to_char(e.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), e.event, e.organization_id, e.claim_id, e.model, e.model_key,
        e.row_id, e.field, e.fields, e.status, e.participant_kind, e.participant_id, e.on_behalf_of_kind, e.on_behalf_of_id, e.capability_id,
        e.description, e.meta::text, pg_catalog.to_char(e.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), e.fence_token,
        e.position)::text
    FROM pgsync_private.claim_event AS e
    WHERE e.xid >= v_start
      AND e.xid < v_end
      AND e.xid <> ALL (v_open)
      OR e.xid = ANY (v_late)
      AND e.xid <> ALL (v_open)
  ),
  placed AS (
    SELECT
      r.kind,
      r.day,
      r.xid,
      r.seq,
      r.content,
      (pg_catalog.row_number() OVER (PARTITION BY r.kind, r.day ORDER BY r.xid, r.seq) - 1) / c_part AS part
    FROM fresh AS r
  ),
  block AS (
    INSERT INTO pgsync_private.audit_block AS b (day, seal, kind, part, entries)
    SELECT
      p.day,
      v_seal.number,
      p.kind,
      p.part,
      pg_catalog.string_agg(
        pg_catalog.xid8send(p.xid) || pg_catalog.int8send(p.seq) || pg_catalog.sha256(pg_catalog.convert_to(p.content, 'UTF8')), ''
        ORDER BY p.xid, p.seq)
    FROM placed AS p
    GROUP BY p.day, p.kind, p.part
    RETURNING b.kind, b.day, b.part, b.entries
  )
  SELECT
    COALESCE(pg_catalog.sum(pg_catalog.octet_length(b.entries) / 48), 0),
    COALESCE(
      pg_catalog.string_agg(
        pg_catalog.concat_ws(
          ' ', b.kind, pg_catalog.to_char(b.day, 'YYYY-MM-DD'), b.part, pg_catalog.octet_length(b.entries) / 48,
          pg_catalog.encode(pg_catalog.sha256(b.entries), 'hex')),
        pg_catalog.chr(10)
        ORDER BY b.kind COLLATE "C", b.day, b.part),
      '')
  INTO v_seal.row_count, v_seal.contents
  FROM block AS b;

  IF v_seal.row_count = 0 AND v_seal.kept_from IS NOT DISTINCT FROM v_last.kept_from THEN
    RETURN NULL;
  END IF;
  v_seal.sealed_at := pg_catalog.clock_timestamp();
  v_seal.hash := pg_catalog.sha256(pg_catalog.convert_to(pgsync_private.seal_text(v_seal), 'UTF8'));
  INSERT INTO pgsync_private.audit_seal (
    number, previous_hash, snapshot, kept_from, first_position, row_count, contents, sealed_at, hash
  )
  VALUES (
    v_seal.number, v_seal.previous_hash, v_seal.snapshot, v_seal.kept_from, v_seal.first_position, v_seal.row_count, v_seal.contents,
    v_seal.sealed_at, v_seal.hash
  );
  RETURN v_seal;
END
$function$;

ALTER FUNCTION pgsync_private.seal(integer) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.seal(integer) FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.seal(integer) IS 'Puts the next seal on the audit chain.';
