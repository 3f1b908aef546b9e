-- Models that have another name now: their history stays under the name that it was written with.

CREATE TABLE pgsync_private.model_rename (
  before text NOT NULL,
  now text NOT NULL,
  key_before text NOT NULL,
  key_now text NOT NULL,
  renamed_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  CONSTRAINT model_rename_pkey PRIMARY KEY (before)
);
COMMENT ON TABLE pgsync_private.model_rename IS
  'What models were called, by the names that the logs have of them (before, now) and by their keys. now is always the latest name.';

ALTER TABLE pgsync_private.model_rename OWNER TO pgsync_owner;
GRANT SELECT ON TABLE pgsync_private.model_rename TO pgsync_writer;
