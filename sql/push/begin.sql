-- A push waits for nobody longer than this, and two pushes never run at once.
SET LOCAL lock_timeout = {{ lock_timeout }};
SET LOCAL statement_timeout = {{ statement_timeout }};
SET LOCAL search_path = '';
SET LOCAL client_min_messages = 'warning';
SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('pgsync push', 0));
