-- Whether two rows have the same {{ columns }}. Reads only.
SELECT EXISTS (
  SELECT
  FROM {{ table }} AS t
  WHERE t.{{ column }} IS NOT NULL
  GROUP BY {{ columns }}
  HAVING pg_catalog.count(*) > 1
);
