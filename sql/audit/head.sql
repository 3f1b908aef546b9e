-- The newest seal. No row: nothing was ever sealed. For whoever may read the audit tables.
SELECT
  s.number,
  pg_catalog.encode(s.hash, 'hex'),
  s.sealed_at,
  s.first_position + s.row_count - 1
FROM pgsync_private.audit_seal AS s
ORDER BY s.number DESC
LIMIT 1;
