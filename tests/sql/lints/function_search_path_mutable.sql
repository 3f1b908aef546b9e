-- Functions that look names up where the caller says. Bodies in standard SQL are bound when they are created: a search path means nothing to them.
-- follow_search_path sets it for what runs after it, which a SET of its own would undo; every name in its body is qualified.
SELECT
  f.oid::regprocedure::text AS object,
  'no search_path of its own' AS finding
FROM pg_proc AS f
WHERE f.pronamespace <> ALL (ARRAY['pg_catalog', 'information_schema']::regnamespace[])
  AND f.prosqlbody IS NULL
  AND NOT EXISTS (
    SELECT
    FROM unnest(f.proconfig) AS s(setting)
    WHERE s.setting LIKE 'search_path=%'
  )
  AND f.oid <> 'pgsync_private.follow_search_path()'::regprocedure;
