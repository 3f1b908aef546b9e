-- Roles that read a synced table without owning it or bypassing row security: their pg_dump refuses it.
SELECT
  'notice' AS level,
  pg_catalog.format('%I.%I', n.nspname, c.relname) AS object,
  pg_catalog.format(
    'pg_dump refuses this table to %s, because row security is on',
    (
      SELECT pg_catalog.string_agg(pg_catalog.quote_ident(r.rolname), ', ' ORDER BY r.rolname)
      FROM pg_catalog.pg_roles AS r
      WHERE pg_catalog.has_table_privilege(r.oid, c.oid, 'SELECT')
        AND r.rolcanlogin
        AND NOT r.rolsuper
        AND NOT r.rolbypassrls
        AND r.rolname NOT LIKE 'pgsync\_%'
        AND NOT pg_catalog.pg_has_role(r.oid, c.relowner, 'USAGE')
    )) AS finding,
  'dump with --enable-row-security (they see every row), or as the owner' AS remedy
FROM pgsync_private.schema_version AS s
CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(s.models) AS m(m)
JOIN pg_catalog.pg_namespace AS n
  ON n.nspname = m.m ->> 'namespace'
JOIN pg_catalog.pg_class AS c
  ON c.relnamespace = n.oid
  AND c.relname = m.m ->> 'table'
WHERE s.state = 'active'
  AND c.relrowsecurity
  AND EXISTS (
    SELECT
    FROM pg_catalog.pg_roles AS r
    WHERE pg_catalog.has_table_privilege(r.oid, c.oid, 'SELECT')
      AND r.rolcanlogin
      AND NOT r.rolsuper
      AND NOT r.rolbypassrls
      AND r.rolname NOT LIKE 'pgsync\_%'
      AND NOT pg_catalog.pg_has_role(r.oid, c.relowner, 'USAGE')
  )
ORDER BY object;
