-- Lets a premise be judged by what its reader could see: a change keeps the values that decide who sees the row.

ALTER TABLE pgsync_private.change
  ADD COLUMN old_row jsonb,
  ADD COLUMN new_row jsonb;
COMMENT ON COLUMN pgsync_private.change.old_row IS
  'Of the row before the change, by column, what groups and read rule of its model look at; null for I, and for U when they are as after it.';
COMMENT ON COLUMN pgsync_private.change.new_row IS
  'The same of the row after the change; null for D. Both null: the model shows its rows to the whole organization, or the change is older than this column.';
