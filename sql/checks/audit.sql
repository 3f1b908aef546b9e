-- Whether the audit trail is sealed: what is not can be changed without a trace, and is not pruned.
SELECT
  'warning' AS level,
  'pgsync_private.audit_seal' AS object,
  pg_catalog.format('changes since %s are not sealed (a gateway seals every minute)', pg_catalog.date_trunc('second', o.oldest)) AS finding,
  'run a gateway, or: pgsync audit seal' AS remedy
FROM (
  SELECT
    pg_catalog.min(c.changed_at) AS oldest
  FROM pgsync_private.change AS c
  WHERE c.xid >= pg_catalog.pg_snapshot_xmax(pgsync_private.sealed_snapshot())
) AS o
WHERE o.oldest < pg_catalog.clock_timestamp() - INTERVAL '1 hour'
  AND pg_catalog.pg_snapshot_xmax(pgsync_private.sealed_snapshot()) <= pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())
UNION ALL
SELECT
  'error',
  'pgsync_private.audit_seal',
  'the chain is ahead of this server''s transactions: nothing more can be sealed, and nothing is pruned',
  'this database was restored from a dump: begin a new chain, see docs/operations.md'
WHERE pg_catalog.pg_snapshot_xmax(pgsync_private.sealed_snapshot()) > pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())
ORDER BY level, object;
