-- Roles that use a synced table, own it not and bypass no row security: what they notice of it since it came on with pgsync.
-- Postgres refuses them COPY .. FROM and a pg_dump, tells them no values in the errors of constraints, and plans conditions whose operators
-- might tell a value (not leakproof: LIKE, all of numeric and jsonb) without the statistics of the columns. All that whatever the policies say.
WITH guest AS (
  SELECT
    pg_catalog.format('%I.%I', n.nspname, c.relname) AS identity,
    r.rolname,
    pg_catalog.has_any_column_privilege(r.oid, c.oid, 'INSERT') AS inserts
  FROM pgsync_private.schema_version AS s
  CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(s.models) AS m(m)
  JOIN pg_catalog.pg_namespace AS n
    ON n.nspname = m.m ->> 'namespace'
  JOIN pg_catalog.pg_class AS c
    ON c.relnamespace = n.oid
    AND c.relname = m.m ->> 'table'
    AND c.relrowsecurity
  JOIN pg_catalog.pg_policy AS p
    ON p.polrelid = c.oid
    AND p.polname = 'pgsync_public'
    AND p.polroles = '{0}'
  JOIN pg_catalog.pg_roles AS r
    ON r.rolcanlogin
    AND NOT r.rolsuper
    AND NOT r.rolbypassrls
    AND r.rolname NOT LIKE 'pgsync\_%'
    AND NOT pg_catalog.pg_has_role(r.oid, c.relowner, 'USAGE')
    AND pg_catalog.has_any_column_privilege(r.oid, c.oid, 'SELECT, INSERT')
  WHERE s.state = 'active'
)
SELECT
  'notice' AS level,
  g.identity AS object,
  CASE
    WHEN g.inserts THEN 'row security is on: COPY .. FROM and pg_dump are refused, errors tell no values, and LIKE, numeric and jsonb are planned without statistics for '
    ELSE 'row security is on: pg_dump is refused, and LIKE, numeric and jsonb are planned without statistics for '
  END || pg_catalog.string_agg(pg_catalog.quote_ident(g.rolname), ', ' ORDER BY g.rolname) AS finding,
  'ALTER ROLE .. BYPASSRLS for those whom no row security is to bind; else INSERT, and pg_dump --enable-row-security' AS remedy
FROM guest AS g
GROUP BY
  g.identity,
  g.inserts
ORDER BY
  object,
  finding;
