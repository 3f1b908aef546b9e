-- Whether {{ what }}. Reads only.
SELECT EXISTS (
  SELECT
  FROM {{ table }} AS t
  WHERE {{ condition }}
);
