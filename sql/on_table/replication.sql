-- Changes of {{ key }} go into the log {% if full %}with the whole old row, because visibility depends on columns that can change{% else %}with the old key, which holds all that visibility depends on{% endif %}.
ALTER TABLE {{ table }} REPLICA IDENTITY {{ "FULL" if full else "DEFAULT" }};
-- Writers that began before the table was published must have ended, or their rows would miss the stream: wait for them.
LOCK TABLE {{ table }} IN SHARE ROW EXCLUSIVE MODE;
DO $publication$
BEGIN
  IF NOT EXISTS (
    SELECT
    FROM pg_catalog.pg_publication_tables AS t
    WHERE t.pubname = 'pgsync'
      AND t.schemaname = {{ namespace_literal }}
      AND t.tablename = {{ table_literal }}
  ) THEN
    ALTER PUBLICATION pgsync ADD TABLE {{ table }};
  END IF;
END
$publication$;
