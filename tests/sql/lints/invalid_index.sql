-- Indexes that are written to and serve nobody, because building them was interrupted.
SELECT
  i.indrelid::regclass::text AS object,
  i.indexrelid::regclass::text AS finding
FROM pg_index AS i
WHERE NOT i.indisvalid;
