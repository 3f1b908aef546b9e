-- Columns of types that pg_upgrade does not carry over.
SELECT
  a.attrelid::regclass::text AS object,
  format('%s %s', a.attname, a.atttypid::regtype) AS finding
FROM pg_attribute AS a
JOIN pg_class AS c
  ON c.oid = a.attrelid
  AND c.relkind IN ('r', 'p', 'm')
WHERE c.relnamespace <> ALL (ARRAY['pg_catalog', 'information_schema']::regnamespace[])
  AND a.attnum > 0
  AND NOT a.attisdropped
  AND a.atttypid = ANY (ARRAY[
    'regcollation', 'regconfig', 'regdictionary', 'regnamespace', 'regoper', 'regoperator', 'regproc', 'regprocedure']::regtype[]);
