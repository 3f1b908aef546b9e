-- State of pgsync: three namespaces and the private tables. Nothing here touches a table of the application.

CREATE SCHEMA pgsync AUTHORIZATION pgsync_owner;
CREATE SCHEMA pgsync_private AUTHORIZATION pgsync_owner;
CREATE SCHEMA pgsync_generated AUTHORIZATION pgsync_owner;

COMMENT ON SCHEMA pgsync IS 'Functions that gateways, listeners and policies call.';
COMMENT ON SCHEMA pgsync_private IS 'State and helpers of pgsync; out of reach of the gateway.';
COMMENT ON SCHEMA pgsync_generated IS 'Functions compiled from the pushed schema, one set per model.';

REVOKE ALL ON SCHEMA pgsync, pgsync_private, pgsync_generated FROM PUBLIC;
GRANT USAGE ON SCHEMA pgsync TO pgsync_writer, pgsync_gateway, pgsync_listener;
GRANT CREATE ON SCHEMA pgsync TO pgsync_writer; -- or only a superuser could make it the owner of the write functions
GRANT USAGE ON SCHEMA pgsync_private, pgsync_generated TO pgsync_writer;

CREATE TABLE pgsync_private.migration (
  name text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  CONSTRAINT migration_pkey PRIMARY KEY (name)
);
COMMENT ON TABLE pgsync_private.migration IS 'Which files of sql/migrations this database has run.';

CREATE TABLE pgsync_private.setting (
  name text NOT NULL,
  value text NOT NULL,
  CONSTRAINT setting_pkey PRIMARY KEY (name)
);
COMMENT ON TABLE pgsync_private.setting IS
  'epoch: identity of the number line, new whenever it has to jump. change_retention_days: how long the change log is kept. change_floor_xid: no older change is in it.';
INSERT INTO pgsync_private.setting (name, value)
VALUES
  ('epoch', pg_catalog.replace(pg_catalog.gen_random_uuid()::text, '-', '')),
  ('change_retention_days', '7'),
  ('change_floor_xid', '0');

CREATE TABLE pgsync_private.schema_version (
  version integer NOT NULL,
  state text NOT NULL,
  hash text NOT NULL,
  definition_hash text NOT NULL,
  document jsonb NOT NULL,
  models jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  created_by text NOT NULL DEFAULT SESSION_USER,
  activated_at timestamptz,
  CONSTRAINT schema_version_pkey PRIMARY KEY (version),
  CONSTRAINT schema_version_state_check CHECK (state IN ('active', 'retired'))
);
CREATE UNIQUE INDEX schema_version_one_active_idx ON pgsync_private.schema_version (state) WHERE state = 'active';
COMMENT ON TABLE pgsync_private.schema_version IS 'Every pushed schema; at most one is active.';
COMMENT ON COLUMN pgsync_private.schema_version.hash IS 'The contract''s hash of the schema document.';
COMMENT ON COLUMN pgsync_private.schema_version.definition_hash IS 'SHA-256 of the document with everything that only pgsync knows.';

CREATE TABLE pgsync_private.schema_proposal (
  hash text NOT NULL,
  document jsonb NOT NULL,
  options jsonb NOT NULL,
  proposed_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  proposed_by text NOT NULL,
  CONSTRAINT schema_proposal_pkey PRIMARY KEY (hash)
);
COMMENT ON TABLE pgsync_private.schema_proposal IS 'Schemas sent over HTTP, waiting for somebody with DDL rights to push them.';

CREATE TABLE pgsync_private.installed_object (
  model text NOT NULL,
  kind text NOT NULL,
  identity text NOT NULL,
  hash text NOT NULL,
  CONSTRAINT installed_object_pkey PRIMARY KEY (kind, identity)
);
COMMENT ON TABLE pgsync_private.installed_object IS 'What the last push created and the hash of the statement that did.';

CREATE TABLE pgsync_private.credential (
  id text NOT NULL,
  kind text NOT NULL,
  key_hash bytea NOT NULL,
  organization_id text NOT NULL,
  participant_kind text NOT NULL,
  participant_id text NOT NULL,
  sync_groups text[] NOT NULL,
  operations text[] NOT NULL DEFAULT '{}',
  on_behalf_of_kind text,
  on_behalf_of_id text,
  user_meta jsonb NOT NULL DEFAULT '{}',
  label text,
  minted_by text,
  created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  expires_at timestamptz,
  revoked_at timestamptz,
  CONSTRAINT credential_pkey PRIMARY KEY (id),
  CONSTRAINT credential_key_hash_key UNIQUE (key_hash),
  CONSTRAINT credential_kind_check CHECK (kind IN ('sk', 'rk', 'ek', 'pk')),
  CONSTRAINT credential_key_hash_check CHECK (pg_catalog.octet_length(key_hash) = 32),
  CONSTRAINT credential_participant_kind_check CHECK (participant_kind IN ('user', 'agent', 'system'))
);
COMMENT ON TABLE pgsync_private.credential IS 'Who may call the gateway. Only the SHA-256 of a key is kept, never the key.';

CREATE TABLE pgsync_private.commit (
  organization_id text NOT NULL,
  participant_kind text NOT NULL,
  participant_id text NOT NULL,
  key text NOT NULL,
  request_hash bytea NOT NULL,
  server_tx_id text NOT NULL,
  xid xid8 NOT NULL,
  ordinal integer NOT NULL,
  capability_id text,
  on_behalf_of_kind text,
  on_behalf_of_id text,
  operation_count integer NOT NULL,
  operations jsonb NOT NULL,
  read_set jsonb NOT NULL DEFAULT '[]',
  claims jsonb NOT NULL DEFAULT '[]',
  result jsonb NOT NULL,
  created_at timestamptz NOT NULL,
  day_of_three smallint NOT NULL,
  CONSTRAINT commit_pkey PRIMARY KEY (key, participant_id, organization_id, participant_kind, day_of_three)
) PARTITION BY LIST (day_of_three);
CREATE TABLE pgsync_private.commit_0 PARTITION OF pgsync_private.commit FOR VALUES IN (0);
CREATE TABLE pgsync_private.commit_1 PARTITION OF pgsync_private.commit FOR VALUES IN (1);
CREATE TABLE pgsync_private.commit_2 PARTITION OF pgsync_private.commit FOR VALUES IN (2);
COMMENT ON TABLE pgsync_private.commit IS
  'One row per accepted commit: the idempotency ledger and the commit record. A key counts for 24 hours.';
COMMENT ON COLUMN pgsync_private.commit.day_of_three IS
  'The UTC day of created_at modulo 3: one partition is written, one is kept, one is truncated, so that nothing is deleted row by row.';

CREATE TABLE pgsync_private.change (
  xid xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id(),
  seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
  organization_id text,
  model text NOT NULL,
  row_id text NOT NULL,
  -- "char" in quotes is one byte, not character(1).
  -- squawk-ignore ban-char-field
  op "char" NOT NULL,
  fields text[],
  sync_groups text[],
  server_tx_id text,
  actor_kind text,
  actor_id text,
  role_name text NOT NULL,
  changed_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
) PARTITION BY RANGE (changed_at);
CREATE INDEX change_row_idx ON pgsync_private.change (row_id, model, xid);
CREATE TABLE pgsync_private.change_default PARTITION OF pgsync_private.change DEFAULT;
COMMENT ON TABLE pgsync_private.change IS
  'Every change of a synced row by anybody, written in the writer''s own transaction: which transaction, which fields, who.';
COMMENT ON COLUMN pgsync_private.change.op IS 'I, U, D as in the stream; T: the table was truncated (row_id is empty).';
COMMENT ON COLUMN pgsync_private.change.fields IS 'Wire names of the changed fields; null for I, D and T.';
COMMENT ON COLUMN pgsync_private.change.server_tx_id IS 'The commit that made the change; null for direct SQL.';
COMMENT ON COLUMN pgsync_private.change.actor_id IS 'The participant whose commit made the change; null for direct SQL.';
COMMENT ON COLUMN pgsync_private.change.role_name IS 'The database role that wrote.';

CREATE TABLE pgsync_private.tracked_premise (
  organization_id text NOT NULL,
  participant_kind text NOT NULL,
  participant_id text NOT NULL,
  model text NOT NULL,
  model_key text NOT NULL,
  row_id text NOT NULL,
  sync_group text NOT NULL,
  on_stale text NOT NULL,
  read_at bigint,
  evidence jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  CONSTRAINT tracked_premise_pkey PRIMARY KEY (participant_id, organization_id, participant_kind, model, row_id, sync_group),
  CONSTRAINT tracked_premise_on_stale_check CHECK (on_stale IN ('reject', 'notify'))
);
CREATE INDEX tracked_premise_created_at_idx ON pgsync_private.tracked_premise (created_at);
COMMENT ON TABLE pgsync_private.tracked_premise IS
  'What participants asked to be told about with their next commit: a row (model, row_id) or a group; the other is empty.';

CREATE TABLE pgsync_private.position (
  xid xid8 NOT NULL,
  first_sync_id bigint NOT NULL,
  last_sync_id bigint NOT NULL,
  commit_sync_ids bigint[] NOT NULL,
  stored_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
) PARTITION BY RANGE (stored_at);
CREATE INDEX position_xid_idx ON pgsync_private.position (xid);
CREATE TABLE pgsync_private.position_default PARTITION OF pgsync_private.position DEFAULT;
COMMENT ON TABLE pgsync_private.position IS
  'Where each streamed transaction stands in the number line; stored in bulk by the listener. commit_sync_ids[n + 1]: last sync id of its n-th commit.';

CREATE TABLE pgsync_private.checkpoint (
  lsn pg_lsn NOT NULL,
  sync_id bigint NOT NULL,
  snapshot text,
  schema_version integer NOT NULL,
  stored_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  CONSTRAINT checkpoint_pkey PRIMARY KEY (lsn)
);
CREATE INDEX checkpoint_stored_at_idx ON pgsync_private.checkpoint (stored_at);
COMMENT ON TABLE pgsync_private.checkpoint IS
  'Anchors of the number line: all changes committed up to this position of the log are counted by sync_id.';

ALTER TABLE pgsync_private.migration OWNER TO pgsync_owner;
ALTER TABLE pgsync_private.setting OWNER TO pgsync_owner;
ALTER TABLE pgsync_private.schema_version OWNER TO pgsync_owner;
ALTER TABLE pgsync_private.schema_proposal OWNER TO pgsync_owner;
ALTER TABLE pgsync_private.installed_object OWNER TO pgsync_owner;
ALTER TABLE pgsync_private.credential OWNER TO pgsync_owner;
ALTER TABLE pgsync_private.commit OWNER TO pgsync_owner;
ALTER TABLE pgsync_private.commit_0 OWNER TO pgsync_owner;
ALTER TABLE pgsync_private.commit_1 OWNER TO pgsync_owner;
ALTER TABLE pgsync_private.commit_2 OWNER TO pgsync_owner;
ALTER TABLE pgsync_private.change OWNER TO pgsync_owner;
ALTER TABLE pgsync_private.change_default OWNER TO pgsync_owner;
ALTER TABLE pgsync_private.tracked_premise OWNER TO pgsync_owner;
ALTER TABLE pgsync_private.position OWNER TO pgsync_owner;
ALTER TABLE pgsync_private.position_default OWNER TO pgsync_owner;
ALTER TABLE pgsync_private.checkpoint OWNER TO pgsync_owner;

GRANT SELECT, INSERT ON TABLE pgsync_private.commit TO pgsync_writer;
GRANT SELECT ON TABLE pgsync_private.change, pgsync_private.position, pgsync_private.setting TO pgsync_writer;
GRANT SELECT ON TABLE pgsync_private.schema_version TO pgsync_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE pgsync_private.tracked_premise TO pgsync_writer;

CREATE TYPE pgsync_private.planned_operation AS (
  index integer,
  action text,
  model text,
  model_key text,
  id text,
  data jsonb,
  fields text[],
  claim_id text,
  fence_token bigint,
  read_at bigint,
  on_stale text,
  policy text,
  held boolean
);
ALTER TYPE pgsync_private.planned_operation OWNER TO pgsync_owner;
COMMENT ON TYPE pgsync_private.planned_operation IS 'One operation of a commit after its checks: what remains is to run it.';
