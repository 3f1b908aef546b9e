-- The schema no longer asks for this index, which pgsync made.
DROP INDEX CONCURRENTLY IF EXISTS {{ index }};
