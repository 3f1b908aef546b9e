-- The publication that the stream reads. Tables are added by a push, each when everything about it is in place.
-- publish_via_partition_root: a partitioned table streams as one model.
-- publish_generated_columns (from PostgreSQL 18 on): there, a table whose whole old rows are logged could not be written if it had one.
DO $publication$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_publication AS p WHERE p.pubname = 'pgsync') THEN
    CREATE PUBLICATION pgsync
      WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = true);
    IF pg_catalog.current_setting('server_version_num')::integer >= 180000 THEN
      ALTER PUBLICATION pgsync SET (publish_generated_columns = 'stored');
    END IF;
  END IF;
END
$publication$;
