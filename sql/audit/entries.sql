-- The audit rows that a seal stands for, as they are now, in the form in which they were sealed: kind, UTC day, part, and 48 bytes for each row
-- (transaction, number within, SHA-256 of the rest). Says by itself what pgsync_private.seal says, so that no function in the database is believed.
-- Parameters: the seal's snapshot and that of the seal before ('3:3:' for the first). For whoever may read the audit tables.
WITH seal AS MATERIALIZED (
  SELECT
    pg_catalog.pg_snapshot_xmax(%(before)s::pg_snapshot) AS first,
    pg_catalog.pg_snapshot_xmax(%(snapshot)s::pg_snapshot) AS bound,
    ARRAY(SELECT x.x FROM pg_catalog.pg_snapshot_xip(%(before)s::pg_snapshot) AS x(x)) AS late,
    ARRAY(SELECT x.x FROM pg_catalog.pg_snapshot_xip(%(snapshot)s::pg_snapshot) AS x(x)) AS open
),
fresh AS (
  SELECT
    'act' AS kind,
    a.xid,
    a.ordinal::bigint AS seq,
    (a.at AT TIME ZONE 'UTC')::date AS day,
    pg_catalog.json_build_array(
      pg_catalog.to_char(a.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), a.key, a.route, r.organization_id, r.participant_kind,
      r.participant_id, r.capability_id, r.credential_kind, r.minted_by, r.on_behalf_of_kind, r.on_behalf_of_id)::text AS content
  FROM pgsync_private.audit_act AS a
  LEFT JOIN pgsync_private.audit_actor AS r
    ON r.id = a.actor
  WHERE a.xid >= (SELECT s.first FROM seal AS s)
    AND a.xid < (SELECT s.bound FROM seal AS s)
    AND a.xid <> ALL ((SELECT s.open FROM seal AS s)::xid8[])
    OR a.xid = ANY ((SELECT s.late FROM seal AS s)::xid8[])
    AND a.xid <> ALL ((SELECT s.open FROM seal AS s)::xid8[])
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
  WHERE c.xid >= (SELECT s.first FROM seal AS s)
    AND c.xid < (SELECT s.bound FROM seal AS s)
    AND c.xid <> ALL ((SELECT s.open FROM seal AS s)::xid8[])
    OR c.xid = ANY ((SELECT s.late FROM seal AS s)::xid8[])
    AND c.xid <> ALL ((SELECT s.open FROM seal AS s)::xid8[])
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
  WHERE e.xid >= (SELECT s.first FROM seal AS s)
    AND e.xid < (SELECT s.bound FROM seal AS s)
    AND e.xid <> ALL ((SELECT s.open FROM seal AS s)::xid8[])
    OR e.xid = ANY ((SELECT s.late FROM seal AS s)::xid8[])
    AND e.xid <> ALL ((SELECT s.open FROM seal AS s)::xid8[])
),
placed AS (
  SELECT
    f.*,
    (pg_catalog.row_number() OVER (PARTITION BY f.kind, f.day ORDER BY f.xid, f.seq) - 1) / 16384 AS part
  FROM fresh AS f
)
SELECT
  p.kind,
  p.day,
  p.part::integer,
  pg_catalog.string_agg(
    pg_catalog.xid8send(p.xid) || pg_catalog.int8send(p.seq) || pg_catalog.sha256(pg_catalog.convert_to(p.content, 'UTF8')), ''
    ORDER BY p.xid, p.seq)
FROM placed AS p
GROUP BY p.kind, p.day, p.part
ORDER BY p.kind COLLATE "C", p.day, p.part;
