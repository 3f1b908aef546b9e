-- The publication passes on stored generated columns, from PostgreSQL 18 on: before, no publication can.
-- Without, a table whose whole old rows are logged could not be updated there, by anybody, if it had such a column.
DO $publication$
BEGIN
  IF pg_catalog.current_setting('server_version_num')::integer >= 180000
    AND EXISTS (SELECT FROM pg_catalog.pg_publication AS p WHERE p.pubname = 'pgsync')
  THEN
    ALTER PUBLICATION pgsync SET (publish_generated_columns = 'stored');
  END IF;
END
$publication$;
