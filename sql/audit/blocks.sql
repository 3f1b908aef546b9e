-- What was sealed, row by row, as it was then. Parameter: the number of the seal. For whoever may read the audit tables.
SELECT
  b.kind,
  b.day,
  b.part,
  b.entries
FROM pgsync_private.audit_block AS b
WHERE b.seal = %(seal)s
  AND b.day = ANY (%(days)s::date[])
ORDER BY b.kind COLLATE "C", b.day, b.part;
