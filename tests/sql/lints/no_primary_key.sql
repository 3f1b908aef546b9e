-- Tables without a primary key.
-- Four of ours are logs: rows are added, read by time or transaction through other indexes, and leave with their partition. None is ever
-- found by a key, which would be one more index for every write of the application.
SELECT
  c.oid::regclass::text AS object,
  'no primary key' AS finding
FROM pg_class AS c
WHERE c.relkind IN ('r', 'p')
  AND c.relnamespace <> ALL (ARRAY['pg_catalog', 'information_schema']::regnamespace[])
  AND NOT EXISTS (
    SELECT
    FROM pg_index AS i
    WHERE i.indrelid = c.oid
      AND i.indisprimary
  )
  AND COALESCE(pg_partition_root(c.oid), c.oid) <> ALL (ARRAY[
    'pgsync_private.change', 'pgsync_private.claim_event', 'pgsync_private.commit_replay', 'pgsync_private.position']::regclass[]);
