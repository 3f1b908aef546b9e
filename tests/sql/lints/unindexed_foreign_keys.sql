-- Foreign keys that no index begins with: a delete of the row that is referred to would scan the table.
SELECT
  k.conrelid::regclass::text AS object,
  k.conname::text AS finding
FROM pg_constraint AS k
WHERE k.contype = 'f'
  AND k.conparentid = 0
  AND NOT EXISTS (
    SELECT
    FROM pg_index AS i
    WHERE i.indrelid = k.conrelid
      AND i.indisvalid
      AND i.indpred IS NULL
      AND (i.indkey::smallint[])[0:cardinality(k.conkey) - 1] @> k.conkey
  );
