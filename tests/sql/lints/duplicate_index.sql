-- Indexes of a table that differ in nothing but their names.
SELECT
  i.indrelid::regclass::text AS object,
  string_agg(x.relname, ', ' ORDER BY x.relname) AS finding
FROM pg_index AS i
JOIN pg_class AS x
  ON x.oid = i.indexrelid
WHERE x.relnamespace <> ALL (ARRAY['pg_catalog', 'pg_toast']::regnamespace[])
GROUP BY
  i.indrelid,
  i.indkey::text,
  i.indclass::text,
  i.indcollation::text,
  i.indoption::text,
  pg_get_expr(i.indexprs, i.indrelid),
  pg_get_expr(i.indpred, i.indrelid),
  x.relam
HAVING count(*) > 1;
