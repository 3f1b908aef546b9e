-- A push waits for nobody longer than this, and two pushes never run at once.
SELECT
  pg_catalog.set_config('lock_timeout', %(lock_timeout)s, true),
  pg_catalog.set_config('statement_timeout', %(statement_timeout)s, true),
  pg_catalog.set_config('search_path', '', true),
  pg_catalog.set_config('client_min_messages', 'warning', true),
  pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('pgsync push', 0));
