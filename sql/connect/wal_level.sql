-- Needs a restart of the server to take effect.
ALTER SYSTEM SET wal_level = 'logical';
