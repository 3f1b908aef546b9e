-- Functions that lend their owner's rights to every role (anon_security_definer_function_executable).
SELECT
  f.oid::regprocedure::text AS object,
  'SECURITY DEFINER for PUBLIC' AS finding
FROM pg_proc AS f
CROSS JOIN LATERAL aclexplode(COALESCE(f.proacl, acldefault('f', f.proowner))) AS a
WHERE f.pronamespace <> ALL (ARRAY['pg_catalog', 'information_schema']::regnamespace[])
  AND f.prosecdef
  AND a.grantee = 0;
