-- An earlier run was interrupted while it built this index.
DROP INDEX CONCURRENTLY IF EXISTS {{ index }};
