-- What the gateway's role may read without row security in between: tables without it, and what never has it (rls_disabled_in_public,
-- materialized_view_in_api, foreign_table_in_api). Columns alone are a right to read, too.
SELECT
  c.oid::regclass::text AS object,
  format('%s without row security', c.relkind) AS finding
FROM pg_class AS c
WHERE c.relkind IN ('r', 'p', 'm', 'f')
  AND c.relnamespace <> ALL (ARRAY['pg_catalog', 'information_schema']::regnamespace[])
  AND NOT c.relrowsecurity
  AND has_any_column_privilege('pgsync_gateway', c.oid, 'SELECT');
