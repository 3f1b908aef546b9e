-- What was done to tables before this push is told apart from what it does itself.
SELECT pgsync_private.look_at_tables();
