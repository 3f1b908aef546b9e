-- What is left of an audit row that is broken, for people: null where nothing is. Parameters: kind, transaction, number within. For whoever may read
-- the audit tables.
SELECT
  pg_catalog.concat_ws(
    ' ', CASE c.op WHEN 'I' THEN 'create' WHEN 'U' THEN 'update' WHEN 'D' THEN 'delete' WHEN 'T' THEN 'truncate' ELSE 'rename' END, 'of', c.model,
    c.row_id)
FROM pgsync_private.change AS c
WHERE %(kind)s = 'change'
  AND c.xid = %(xid)s::xid8
  AND c.seq = %(seq)s
UNION ALL
SELECT pg_catalog.concat_ws(' ', e.event, 'claim', e.claim_id, 'of', e.model, e.row_id)
FROM pgsync_private.claim_event AS e
WHERE %(kind)s = 'claim'
  AND e.xid = %(xid)s::xid8
  AND e.seq = %(seq)s
UNION ALL
SELECT pg_catalog.concat_ws(' ', 'commit', a.xid::text || '-' || a.ordinal, 'with key', a.key)
FROM pgsync_private.audit_act AS a
WHERE %(kind)s = 'act'
  AND a.xid = %(xid)s::xid8
  AND a.ordinal = %(seq)s
LIMIT 1;
