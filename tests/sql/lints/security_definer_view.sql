-- Views that read with their owner's rights, past the row security of whoever asks.
SELECT
  c.oid::regclass::text AS object,
  'security_invoker is off' AS finding
FROM pg_class AS c
WHERE c.relkind = 'v'
  AND c.relnamespace <> ALL (ARRAY['pg_catalog', 'information_schema']::regnamespace[])
  AND NOT COALESCE(
    (
      SELECT o.option_value::boolean
      FROM pg_options_to_table(c.reloptions) AS o
      WHERE o.option_name = 'security_invoker'
    ),
    false);
