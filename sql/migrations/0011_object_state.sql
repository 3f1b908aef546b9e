-- Lets a push and a check see what was changed by hand since.

ALTER TABLE pgsync_private.installed_object ADD COLUMN state text;
COMMENT ON COLUMN pgsync_private.installed_object.state IS
  'pgsync_private.object_state as the last push left it; null for what may change by other hands.';
