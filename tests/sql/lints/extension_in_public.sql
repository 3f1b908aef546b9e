-- Extensions whose objects lie among those of the application.
SELECT
  e.extname::text AS object,
  'is in public' AS finding
FROM pg_extension AS e
WHERE e.extnamespace = 'public'::regnamespace;
