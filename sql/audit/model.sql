-- What the change log calls a model, which may be named by its key, its typename or its table, in any case. Null: the active schema has no such model.
-- Parameter: the name. For whoever may read the audit tables.
SELECT m.m ->> 'name'
FROM pgsync_private.schema_version AS s
CROSS JOIN pg_catalog.jsonb_array_elements(s.models) AS m(m)
WHERE s.state = 'active'
  AND pg_catalog.lower(%(model)s) IN (
    pg_catalog.lower(m.m ->> 'key'), pg_catalog.lower(m.m ->> 'typename'), pg_catalog.lower(m.m ->> 'name'), pg_catalog.lower(m.m ->> 'table'))
ORDER BY pg_catalog.lower(m.m ->> 'key') = pg_catalog.lower(%(model)s) DESC, m.m ->> 'name'
LIMIT 1;
