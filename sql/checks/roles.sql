-- The four roles: who is missing, and who has more than it should.
WITH expected (name, logs_in) AS (
  VALUES
    ('pgsync_owner', false),
    ('pgsync_writer', false),
    ('pgsync_gateway', true),
    ('pgsync_listener', true)
),
role AS (
  SELECT
    e.name,
    e.logs_in,
    r.oid,
    r.rolsuper,
    r.rolbypassrls,
    r.rolcanlogin,
    r.rolreplication
  FROM expected AS e
  LEFT JOIN pg_catalog.pg_roles AS r
    ON r.rolname = e.name
)
SELECT
  'error' AS level,
  'role ' || r.name AS object,
  'does not exist' AS finding,
  'pgsync push makes it again' AS remedy
FROM role AS r
WHERE r.oid IS NULL
UNION ALL
SELECT
  'error',
  'role ' || r.name,
  'is a superuser or bypasses row security: no rule binds it',
  pg_catalog.format('ALTER ROLE %I NOSUPERUSER NOBYPASSRLS', r.name)
FROM role AS r
WHERE r.rolsuper
  OR r.rolbypassrls
UNION ALL
SELECT
  'warning',
  'role ' || r.name,
  'may log in; nobody should act as it',
  pg_catalog.format('ALTER ROLE %I NOLOGIN', r.name)
FROM role AS r
WHERE r.rolcanlogin
  AND NOT r.logs_in
UNION ALL
SELECT
  'error',
  'role ' || r.name,
  'may not log in',
  pg_catalog.format('ALTER ROLE %I LOGIN', r.name)
FROM role AS r
WHERE NOT r.rolcanlogin
  AND r.logs_in
UNION ALL
SELECT
  'error',
  'role pgsync_listener',
  'may not read the log',
  'ALTER ROLE pgsync_listener REPLICATION; at a provider: GRANT rds_replication (or what stands for it) TO pgsync_listener'
FROM role AS r
WHERE r.name = 'pgsync_listener'
  AND NOT r.rolreplication
  AND NOT EXISTS (
    SELECT
    FROM pg_catalog.pg_roles AS p
    WHERE p.rolname IN ('rds_replication', 'rds_superuser', 'cloudsqlsuperuser', 'azure_pg_admin', 'alloydbreplica')
      AND pg_catalog.pg_has_role(r.oid, p.oid, 'MEMBER')
  )
UNION ALL
SELECT
  'warning',
  'role ' || r.name,
  pg_catalog.format('is a member of %I and has its rights too', g.rolname),
  pg_catalog.format('REVOKE %I FROM %I', g.rolname, r.name)
FROM role AS r
JOIN pg_catalog.pg_auth_members AS m
  ON m.member = r.oid
JOIN pg_catalog.pg_roles AS g
  ON g.oid = m.roleid
WHERE g.rolname NOT LIKE 'pgsync\_%'
  AND g.rolname NOT IN ('rds_replication')
UNION ALL
SELECT DISTINCT
  CASE WHEN u.rolcanlogin AND NOT u.rolcreaterole THEN 'warning' ELSE 'notice' END,
  'role ' || u.rolname,
  pg_catalog.format('is a member of %s: it can act %s', r.name,
    CASE r.name WHEN 'pgsync_gateway' THEN 'for any participant' ELSE 'on everything that pgsync owns' END),
  pg_catalog.format('REVOKE %s FROM %I, unless it pushes schemas or is a gateway''s login', r.name, u.rolname)
FROM role AS r
JOIN pg_catalog.pg_auth_members AS m
  ON m.roleid = r.oid
JOIN pg_catalog.pg_roles AS u
  ON u.oid = m.member
WHERE r.name IN ('pgsync_owner', 'pgsync_writer', 'pgsync_gateway')
  AND u.rolname NOT LIKE 'pgsync\_%'
  AND NOT u.rolsuper
ORDER BY level, object, finding;
