-- Part of a WITH: the models of pgsync.models, each with its table; columns of the table are null where there is none.
SELECT
  m.m AS m,
  m.m ->> 'key' AS key,
  pg_catalog.format('%I.%I', m.m ->> 'namespace', m.m ->> 'table') AS identity,
  m.m ->> 'id' AS id,
  m.m ->> 'tenant' AS tenant,
  c.oid,
  c.relkind,
  c.relpersistence,
  c.relrowsecurity,
  c.relreplident,
  r.rolname AS owner
FROM pg_catalog.jsonb_array_elements(pg_catalog.current_setting('pgsync.models')::jsonb) AS m(m)
LEFT JOIN (
  pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n
    ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_roles AS r
    ON r.oid = c.relowner
)
  ON n.nspname = m.m ->> 'namespace'
  AND c.relname = m.m ->> 'table'
  AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
