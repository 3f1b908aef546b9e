-- Writes that row security lets pass whatever is written: a permissive policy says so and no restrictive one says otherwise.
-- pgsync_public is such a policy for every role: it keeps what they had when row security was off. So the roles that write for participants are
-- asked about, and of those each command that they may use. A model that all organizations share has no organization to hold on to.
SELECT
  c.oid::regclass::text AS object,
  format('%s by %s', w.command, r.rolname) AS finding
FROM pg_class AS c
CROSS JOIN (
  VALUES ('a', 'INSERT'), ('w', 'UPDATE'), ('d', 'DELETE')
) AS w(letter, command)
JOIN pg_roles AS r
  ON r.rolname IN ('pgsync_writer', 'pgsync_gateway')
WHERE c.relkind IN ('r', 'p')
  AND c.relrowsecurity
  AND has_table_privilege(r.oid, c.oid, w.command)
  AND NOT EXISTS (
    SELECT
    FROM pg_policy AS p
    WHERE p.polrelid = c.oid
      AND NOT p.polpermissive
      AND p.polcmd::text IN ('*', w.letter)
      AND (r.oid = ANY (p.polroles) OR p.polroles = '{0}')
      AND COALESCE(pg_get_expr(p.polqual, p.polrelid), 'x') <> 'true'
      AND COALESCE(pg_get_expr(p.polwithcheck, p.polrelid), 'x') <> 'true'
  )
  AND NOT EXISTS (
    SELECT
    FROM pgsync_private.schema_version AS s
    CROSS JOIN LATERAL jsonb_array_elements(s.models) AS m(m)
    WHERE s.state = 'active'
      AND m.m ->> 'tenantColumn' IS NULL
      AND to_regclass(format('%I.%I', m.m ->> 'namespace', m.m ->> 'table')) = c.oid
  );
