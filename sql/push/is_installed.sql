-- Whether pgsync is here at all, and in a version that can tell what was changed by hand.
SELECT
  pg_catalog.to_regclass('pgsync_private.installed_object') IS NOT NULL,
  pg_catalog.to_regprocedure('pgsync_private.object_state(text, text)') IS NOT NULL;
