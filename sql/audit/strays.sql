-- Audit rows of a day that is kept, in transactions of seals whose days are all gone: nobody has sealed them. The first of them, if there is one.
-- Parameters: the snapshot of the last such seal, and the first day that is kept. For whoever may read the audit tables.
SELECT
  k.kind,
  k.xid::text,
  k.seq,
  k.day
FROM (
  SELECT
    'change' AS kind,
    c.xid,
    c.seq,
    (c.changed_at AT TIME ZONE 'UTC')::date AS day
  FROM pgsync_private.change AS c
  WHERE c.xid < pg_catalog.pg_snapshot_xmax(%(snapshot)s::pg_snapshot)
    AND c.changed_at >= %(kept_from)s::date::timestamp AT TIME ZONE 'UTC'
  UNION ALL
  SELECT
    'claim',
    e.xid,
    e.seq,
    (e.at AT TIME ZONE 'UTC')::date
  FROM pgsync_private.claim_event AS e
  WHERE e.xid < pg_catalog.pg_snapshot_xmax(%(snapshot)s::pg_snapshot)
    AND e.at >= %(kept_from)s::date::timestamp AT TIME ZONE 'UTC'
  UNION ALL
  SELECT
    'act',
    a.xid,
    a.ordinal,
    (a.at AT TIME ZONE 'UTC')::date
  FROM pgsync_private.audit_act AS a
  WHERE a.xid < pg_catalog.pg_snapshot_xmax(%(snapshot)s::pg_snapshot)
    AND a.at >= %(kept_from)s::date::timestamp AT TIME ZONE 'UTC'
) AS k
WHERE pg_catalog.pg_visible_in_snapshot(k.xid, %(snapshot)s::pg_snapshot)
ORDER BY k.xid, k.kind, k.seq
LIMIT 1;
