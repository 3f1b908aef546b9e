-- Tables that nobody but their owner sees a row of: row security is on and there is no policy.
SELECT
  c.oid::regclass::text AS object,
  'row security without a policy' AS finding
FROM pg_class AS c
WHERE c.relrowsecurity
  AND NOT EXISTS (
    SELECT
    FROM pg_policy AS p
    WHERE p.polrelid = c.oid
  );
