-- Tells what clients have been sent of a model's rows field by field, so that a field more is not taken for other rows.
-- What was noted is noted anew at the next look. Functions follow from their files; the one that is dropped gives more columns now.
-- Nothing but pgsync calls it.
-- squawk-ignore ban-drop-function
DROP FUNCTION IF EXISTS pgsync_private.table_states();
DELETE FROM pgsync_private.table_state AS s;
ALTER TABLE pgsync_private.table_state
  ADD COLUMN fields jsonb NOT NULL DEFAULT '{}',
  ADD COLUMN last_column smallint NOT NULL DEFAULT 0;
COMMENT ON TABLE pgsync_private.table_state IS
  'What clients have been sent of a model, and what the rows are kept in: a difference says what they have to load anew.';
COMMENT ON COLUMN pgsync_private.table_state.state IS
  'Hash of the table, its partitions with their files, the names of the model, and who sees its rows; empty while there is no such model.';
COMMENT ON COLUMN pgsync_private.table_state.fields IS
  'Name of each field with column and type, ["title", "text"]; null for one that was taken away.';
COMMENT ON COLUMN pgsync_private.table_state.last_column IS
  'Number of the table''s last column: one with a higher number has come since.';
