-- Gives field {{ field }} of model {{ key }} a value where {{ what }}: a few pages of the table at a time, each in a transaction of its own,
-- so that nobody waits for long. These are writes like any other: logged, streamed, in the name of the role that pushes.
DO $backfill$
DECLARE
  c_pages CONSTANT bigint := 25;
  v_page bigint;
  v_end bigint;
BEGIN
  FOR v_pass IN 1..3 LOOP -- a row that moved to a page that was done is found the next time
    EXIT WHEN NOT EXISTS (
      SELECT
      FROM {{ table }} AS t
      WHERE {{ condition }}
    );
    v_page := 0;
    v_end := pg_catalog.pg_relation_size({{ table_literal }}::pg_catalog.regclass) / pg_catalog.current_setting('block_size')::bigint;
    WHILE v_page <= v_end LOOP
      UPDATE {{ table }} AS t
      SET {{ column }} = {{ value }}
      WHERE t.ctid >= pg_catalog.format('(%s,0)', v_page)::tid
        AND t.ctid < pg_catalog.format('(%s,0)', v_page + c_pages)::tid
        AND ({{ condition }});
      COMMIT;
      v_page := v_page + c_pages;
    END LOOP;
  END LOOP;
END
$backfill$;
