-- What the rows of a model are kept in, as gateways saw it last: a difference says that rows changed without the log telling.

CREATE TABLE pgsync_private.table_state (
  model_key text NOT NULL,
  state text NOT NULL,
  noticed_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  CONSTRAINT table_state_pkey PRIMARY KEY (model_key)
);
COMMENT ON TABLE pgsync_private.table_state IS
  'What the rows of a model are kept in: table, partitions with their files, columns of the fields with their types.';

ALTER TABLE pgsync_private.table_state OWNER TO pgsync_owner;
