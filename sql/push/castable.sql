-- Whether Postgres has a cast for values of a column whose type changes. Reads only.
SELECT
  s.oid = t.oid
  OR 'S' IN (s.typcategory, t.typcategory)
  OR EXISTS (
    SELECT
    FROM pg_catalog.pg_cast AS c
    WHERE c.castsource = s.oid
      AND c.casttarget = t.oid
  )
FROM pg_catalog.pg_type AS s
CROSS JOIN pg_catalog.pg_type AS t
WHERE s.oid = {{ before }}::pg_catalog.regtype
  AND t.oid = {{ now }}::pg_catalog.regtype;
