-- One push at a time. Asked again and again rather than waited for: somebody who waits would be in the way of CREATE INDEX CONCURRENTLY.
SELECT pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended('pgsync push', 0));
