-- Tables that nobody vacuums.
SELECT
  c.oid::regclass::text AS object,
  'autovacuum_enabled is off' AS finding
FROM pg_class AS c
CROSS JOIN LATERAL pg_options_to_table(c.reloptions) AS o
WHERE o.option_name = 'autovacuum_enabled'
  AND NOT o.option_value::boolean;
