-- What of a table meets what pgsync puts on it: row security and policies, triggers and rules, what the log says of old rows.
-- pgsync.models holds the models as JSON; pgsync check sets it.
WITH model AS (
{% include "fit/parts/model.sql" %}
),
-- Roles that row security will apply to; what that means to them is in sql/checks/guests.sql.
guest AS (
  SELECT
    m.identity,
    r.rolname,
    pg_catalog.has_any_column_privilege(r.oid, m.oid, 'INSERT') AS inserts
  FROM model AS m
  JOIN pg_catalog.pg_class AS c
    ON c.oid = m.oid
    AND NOT c.relrowsecurity
    AND c.relkind IN ('r', 'p')
  JOIN pg_catalog.pg_roles AS r
    ON r.rolcanlogin
    AND NOT r.rolsuper
    AND NOT r.rolbypassrls
    AND r.rolname NOT LIKE 'pgsync\_%'
    AND NOT pg_catalog.pg_has_role(r.oid, c.relowner, 'USAGE')
    AND pg_catalog.has_any_column_privilege(r.oid, m.oid, 'SELECT, INSERT')
)
SELECT
  'error' AS level,
  m.identity AS object,
  pg_catalog.format('policy %I is restrictive and asleep, for row security is off: pgsync turns that on, and it would narrow what others see', p.polname) AS finding,
  pg_catalog.format('DROP POLICY %I ON %s', p.polname, m.identity) AS remedy
FROM model AS m
JOIN pg_catalog.pg_policy AS p
  ON p.polrelid = m.oid
WHERE NOT m.relrowsecurity
  AND NOT p.polpermissive
  AND p.polname NOT LIKE 'pgsync\_%'
UNION ALL
SELECT
  'notice',
  m.identity,
  pg_catalog.format('policy %I does not narrow what participants see or write: pgsync lets its own roles in beside it', p.polname),
  pg_catalog.format('say it as the rule of model %s: %s', m.key, COALESCE(pg_catalog.pg_get_expr(p.polqual, p.polrelid), 'it narrows writes only'))
FROM model AS m
JOIN pg_catalog.pg_policy AS p
  ON p.polrelid = m.oid
WHERE m.relrowsecurity
  AND p.polpermissive
  AND p.polname NOT LIKE 'pgsync\_%'
UNION ALL
SELECT
  'warning',
  m.identity,
  pg_catalog.format('policy %I is restrictive and for everybody: it binds the roles of pgsync too, whatever it asks about the session', p.polname),
  pg_catalog.format('ALTER POLICY %I ON %s TO <the roles that it is for>', p.polname, m.identity)
FROM model AS m
JOIN pg_catalog.pg_policy AS p
  ON p.polrelid = m.oid
WHERE m.relrowsecurity
  AND NOT p.polpermissive
  AND p.polroles = '{0}'
  AND p.polname NOT LIKE 'pgsync\_%'
UNION ALL
SELECT
  'notice',
  m.identity,
  pg_catalog.format(
    'has no tenant column: whoever has a key, of whatever organization, reads%s the rows%s',
    CASE WHEN (m.m ->> 'mutable')::boolean THEN ' and writes' ELSE '' END,
    CASE WHEN (m.m ->> 'rule')::boolean THEN ' that its rule lets through' ELSE '' END),
  'right for what organizations share, and in a database of one; else tenant=, rule= or mutable=False'
FROM model AS m
WHERE m.tenant IS NULL
  AND m.relkind IN ('r', 'p')
UNION ALL
SELECT
  'error',
  m.identity,
  pg_catalog.format('belongs to %s: a table''s owner is not bound by its row security', m.owner),
  pg_catalog.format('ALTER TABLE %s OWNER TO <a role of yours>', m.identity)
FROM model AS m
WHERE m.owner LIKE 'pgsync\_%'
UNION ALL
SELECT
  'error',
  m.identity,
  'is unlogged or temporary: its changes are not in the log',
  pg_catalog.format('ALTER TABLE %s SET LOGGED', m.identity)
FROM model AS m
WHERE m.relkind IN ('r', 'p')
  AND m.relpersistence <> 'p'
UNION ALL
SELECT
  'notice',
  m.identity,
  'a push sets REPLICA IDENTITY FULL: every update and delete logs the whole old row',
  'none is needed; a primary key that begins with the tenant column, and no rule or group, would do with the key'
FROM model AS m
WHERE m.relkind IN ('r', 'p')
  AND (m.m ->> 'full')::boolean
  AND m.relreplident <> 'f'
UNION ALL
SELECT
  'error',
  m.identity,
  pg_catalog.format('column %I is virtual: Postgres refuses every update of a table with one whose whole old rows are logged', a.attname),
  'make it STORED'
FROM model AS m
JOIN pg_catalog.pg_attribute AS a
  ON a.attrelid = m.oid
WHERE (m.m ->> 'full')::boolean
  AND a.attgenerated = 'v'
UNION ALL
SELECT
  'warning',
  m.identity,
  'other tables inherit from it: a read has their rows, the stream has not',
  'give them models of their own, or ALTER TABLE .. NO INHERIT'
FROM model AS m
WHERE m.relkind = 'r'
  AND EXISTS (
    SELECT
    FROM pg_catalog.pg_inherits AS i
    WHERE i.inhparent = m.oid
  )
UNION ALL
SELECT
  'notice',
  m.identity,
  pg_catalog.format('trigger %I runs before each row and may change or drop what a client writes; what it does cannot be told from here', t.tgname),
  pg_catalog.format('read %s: it must not return NULL (the commit is refused then), nor change %s', t.tgfoid::pg_catalog.regprocedure, pg_catalog.concat_ws(' or ', m.id, m.tenant))
FROM model AS m
JOIN pg_catalog.pg_trigger AS t
  ON t.tgrelid = m.oid
WHERE NOT t.tgisinternal
  AND t.tgenabled <> 'D'
  AND t.tgname NOT LIKE 'pgsync\_%'
  AND t.tgtype & 3 = 3 -- FOR EACH ROW, BEFORE
UNION ALL
SELECT
  'notice',
  m.identity,
  pg_catalog.format('trigger %I runs as pgsync_writer when a client writes, which has rights on synced tables only', t.tgname),
  pg_catalog.format(
    'if it needs more: GRANT it to pgsync_writer%s, or ALTER FUNCTION %s SECURITY DEFINER SET search_path = ..',
    CASE WHEN t.tginitdeferred AND pg_catalog.current_setting('server_version_num')::integer < 180000 THEN ' and pgsync_gateway' ELSE '' END,
    t.tgfoid::pg_catalog.regprocedure)
FROM model AS m
JOIN pg_catalog.pg_trigger AS t
  ON t.tgrelid = m.oid
JOIN pg_catalog.pg_proc AS f
  ON f.oid = t.tgfoid
  AND NOT f.prosecdef
JOIN pg_catalog.pg_language AS l
  ON l.oid = f.prolang
  AND l.lanname NOT IN ('c', 'internal')
WHERE NOT t.tgisinternal
  AND t.tgenabled <> 'D'
  AND t.tgname NOT LIKE 'pgsync\_%'
  AND (m.m ->> 'mutable')::boolean
UNION ALL
SELECT
  'error',
  m.identity,
  CASE
    WHEN w.is_instead THEN pg_catalog.format('rule %I puts something in the place of writes: what a client wrote would not be in the table', w.rulename)
    ELSE pg_catalog.format('rule %I keeps clients from creating rows: Postgres refuses INSERT .. ON CONFLICT beside it', w.rulename)
  END,
  pg_catalog.format('DROP RULE %I ON %s', w.rulename, m.identity)
FROM model AS m
JOIN pg_catalog.pg_rewrite AS w
  ON w.ev_class = m.oid
WHERE m.relkind IN ('r', 'p')
  AND w.ev_enabled <> 'D'
  AND (w.is_instead OR w.ev_type IN ('2', '3') AND (m.m ->> 'mutable')::boolean) -- UPDATE, INSERT
UNION ALL
SELECT
  CASE WHEN g.inserts THEN 'warning' ELSE 'notice' END,
  g.identity,
  CASE
    WHEN g.inserts THEN 'a push turns row security on: COPY .. FROM and pg_dump will be refused, errors tell no values, and LIKE, numeric and jsonb be planned without statistics for '
    ELSE 'a push turns row security on: pg_dump will be refused, and LIKE, numeric and jsonb be planned without statistics for '
  END || pg_catalog.string_agg(pg_catalog.quote_ident(g.rolname), ', ' ORDER BY g.rolname),
  'ALTER ROLE .. BYPASSRLS for those whom no row security is to bind; else INSERT, and pg_dump --enable-row-security'
FROM guest AS g
GROUP BY
  g.identity,
  g.inserts
ORDER BY level, object, finding;
