-- Tables whose policies do nothing, because row security is off.
SELECT DISTINCT
  c.oid::regclass::text AS object,
  'policies without row security' AS finding
FROM pg_class AS c
JOIN pg_policy AS p
  ON p.polrelid = c.oid
WHERE NOT c.relrowsecurity;
