-- The publication that the stream reads. Tables are added by a push, each when everything about it is in place.
-- publish_via_partition_root: a partitioned table streams as one model.
DO $publication$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_publication AS p WHERE p.pubname = 'pgsync') THEN
    CREATE PUBLICATION pgsync
      WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = true);
  END IF;
END
$publication$;
