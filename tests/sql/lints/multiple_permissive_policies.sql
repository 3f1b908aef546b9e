-- Several permissive policies for one role and command: each is evaluated, and the widest decides.
-- Not where pgsync_public lets our own roles into a table that had row security: it is the constant true, so that nothing else is evaluated,
-- and what our roles see is decided by restrictive policies. Their policies cannot be merged with it: they are not ours.
SELECT
  p.polrelid::regclass::text AS object,
  format('%s for %s: %s', c.command, r.rolname, string_agg(p.polname, ', ' ORDER BY p.polname)) AS finding
FROM pg_policy AS p
CROSS JOIN (
  VALUES ('r', 'SELECT'), ('a', 'INSERT'), ('w', 'UPDATE'), ('d', 'DELETE')
) AS c(letter, command)
JOIN pg_roles AS r
  ON r.oid = ANY (p.polroles)
  OR p.polroles = '{0}'
WHERE p.polpermissive
  AND p.polcmd::text IN ('*', c.letter)
  AND r.rolname !~ '^pg_'
  AND NOT r.rolbypassrls
GROUP BY p.polrelid, c.command, r.rolname
HAVING count(*) > 1
  AND NOT COALESCE(
    r.rolname IN ('pgsync_writer', 'pgsync_gateway')
    AND bool_or(
      p.polname = 'pgsync_public'
      AND pg_get_expr(p.polqual, p.polrelid) = 'true'
      AND pg_get_expr(p.polwithcheck, p.polrelid) = 'true'),
    false);
