-- The chain in order. text is what hash has to be the SHA-256 of; before is the snapshot of the seal before. For whoever may read the audit tables.
SELECT
  s.number,
  s.previous_hash,
  s.hash,
  s.snapshot::text,
  s.kept_from,
  s.first_position,
  s.row_count,
  s.contents,
  s.sealed_at,
  pg_catalog.concat_ws(
    pg_catalog.chr(10),
    'pgsync seal 1',
    s.number,
    pg_catalog.encode(s.previous_hash, 'hex'),
    s.snapshot::text,
    pg_catalog.to_char(s.kept_from, 'YYYY-MM-DD'),
    s.first_position,
    s.row_count,
    pg_catalog.to_char(s.sealed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    s.contents) AS text
FROM pgsync_private.audit_seal AS s
ORDER BY s.number;
