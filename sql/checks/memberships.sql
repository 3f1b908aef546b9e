-- Models whose rows are memberships and that clients may write: whoever may create such a row gives itself a sync group.
SELECT
  'warning' AS level,
  pg_catalog.format('%I.%I', m.m ->> 'namespace', m.m ->> 'table') AS object,
  pg_catalog.format('rows grant groups of the kind %s, and clients may write them', m.m -> 'grants' ->> 'kind') AS finding,
  'declare the model with mutable=False and write it with SQL, or give every credential operations by name that leave it out' AS remedy
FROM pgsync_private.schema_version AS s
CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(s.models) AS m(m)
WHERE s.state = 'active'
  AND pg_catalog.jsonb_typeof(m.m -> 'grants') = 'object'
  AND m.m -> 'mutable' = 'true'
ORDER BY object;
