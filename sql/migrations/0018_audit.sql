-- The audit trail: who made a commit, kept as long as the changes are, and a chain of seals over all of it. Nothing here is written by a commit.

-- Claim events are sealed and looked up like changes: by transaction, by row, by who. Events of before have no transaction and are in no seal.
-- The table is partitioned: Postgres builds no index of one concurrently. Those who claim wait meanwhile.
ALTER TABLE pgsync_private.claim_event ADD COLUMN xid xid8;
ALTER TABLE pgsync_private.claim_event ALTER COLUMN xid SET DEFAULT pg_catalog.pg_current_xact_id();
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX claim_event_xid_seq_idx ON pgsync_private.claim_event (xid, seq);
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX claim_event_row_idx ON pgsync_private.claim_event (row_id, model, xid);
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX claim_event_participant_id_idx ON pgsync_private.claim_event (participant_id, xid);
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX claim_event_capability_id_idx ON pgsync_private.claim_event (capability_id, xid) WHERE capability_id IS NOT NULL;
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX claim_event_on_behalf_of_id_idx ON pgsync_private.claim_event (on_behalf_of_id, xid) WHERE on_behalf_of_id IS NOT NULL;
COMMENT ON COLUMN pgsync_private.claim_event.xid IS 'The transaction; null for events of before the audit trail.';

CREATE TABLE pgsync_private.audit_actor (
  id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
  identity bytea NOT NULL,
  organization_id text NOT NULL,
  participant_kind text NOT NULL,
  participant_id text NOT NULL,
  capability_id text,
  credential_kind text,
  minted_by text,
  on_behalf_of_kind text,
  on_behalf_of_id text,
  last_day date NOT NULL,
  CONSTRAINT audit_actor_pkey PRIMARY KEY (id),
  CONSTRAINT audit_actor_identity_key UNIQUE (identity)
);
CREATE INDEX audit_actor_participant_id_idx ON pgsync_private.audit_actor (participant_id);
CREATE INDEX audit_actor_capability_id_idx ON pgsync_private.audit_actor (capability_id);
CREATE INDEX audit_actor_on_behalf_of_id_idx ON pgsync_private.audit_actor (on_behalf_of_id);
CREATE INDEX audit_actor_minted_by_idx ON pgsync_private.audit_actor (minted_by);
COMMENT ON TABLE pgsync_private.audit_actor IS
  'Who has committed, with which credential and for whom: each combination once. Credentials themselves are forgotten when they have ended.';
COMMENT ON COLUMN pgsync_private.audit_actor.identity IS 'SHA-256 of all the rest but last_day.';
COMMENT ON COLUMN pgsync_private.audit_actor.last_day IS 'The UTC day of its latest commit.';

CREATE TABLE pgsync_private.audit_act (
  xid xid8 NOT NULL,
  ordinal integer NOT NULL,
  actor bigint NOT NULL,
  key text NOT NULL,
  route text,
  at timestamptz NOT NULL,
  CONSTRAINT audit_act_pkey PRIMARY KEY (xid, ordinal, at)
) PARTITION BY RANGE (at);
CREATE INDEX audit_act_actor_xid_idx ON pgsync_private.audit_act (actor, xid, ordinal);
CREATE TABLE pgsync_private.audit_act_default PARTITION OF pgsync_private.audit_act DEFAULT;
COMMENT ON TABLE pgsync_private.audit_act IS
  'Who made which commit: taken from the ledger, which forgets after a day, by whoever seals; kept as long as the changes.';
COMMENT ON COLUMN pgsync_private.audit_act.at IS 'When its first change was made.';

CREATE TABLE pgsync_private.audit_seal (
  number bigint NOT NULL,
  previous_hash bytea NOT NULL,
  snapshot pg_snapshot NOT NULL,
  kept_from date NOT NULL,
  first_position bigint NOT NULL,
  row_count bigint NOT NULL,
  contents text NOT NULL,
  sealed_at timestamptz NOT NULL,
  hash bytea NOT NULL,
  CONSTRAINT audit_seal_pkey PRIMARY KEY (number),
  CONSTRAINT audit_seal_hash_check CHECK (pg_catalog.octet_length(hash) = 32 AND pg_catalog.octet_length(previous_hash) = 32)
);
COMMENT ON TABLE pgsync_private.audit_seal IS
  'The chain: each seal holds the hash of the one before and stands for all audit rows that became visible since. Never changed, never pruned.';
COMMENT ON COLUMN pgsync_private.audit_seal.snapshot IS 'Sealed is what this sees; this seal''s is what it sees and that of the seal before does not.';
COMMENT ON COLUMN pgsync_private.audit_seal.kept_from IS 'Retention: rows of days before this may be gone.';
COMMENT ON COLUMN pgsync_private.audit_seal.first_position IS 'How many rows were sealed before, and one.';
COMMENT ON COLUMN pgsync_private.audit_seal.contents IS
  'A line for each of its blocks: kind, UTC day, part, number of rows, SHA-256 of audit_block.entries.';
COMMENT ON COLUMN pgsync_private.audit_seal.hash IS 'SHA-256 of pgsync_private.seal_text.';

CREATE TABLE pgsync_private.audit_block (
  day date NOT NULL,
  seal bigint NOT NULL,
  kind text NOT NULL,
  part integer NOT NULL,
  entries bytea NOT NULL,
  CONSTRAINT audit_block_pkey PRIMARY KEY (day, seal, kind, part)
) PARTITION BY RANGE (day);
ALTER TABLE pgsync_private.audit_block ALTER COLUMN entries SET STORAGE EXTERNAL; -- nothing in it can be compressed
CREATE TABLE pgsync_private.audit_block_default PARTITION OF pgsync_private.audit_block DEFAULT;
COMMENT ON TABLE pgsync_private.audit_block IS
  'What was sealed, row by row, so that a broken row can be named. Goes with the rows of its day.';
COMMENT ON COLUMN pgsync_private.audit_block.kind IS 'act, change or claim.';
COMMENT ON COLUMN pgsync_private.audit_block.entries IS
  '48 bytes for each row in order: transaction (8), number within (8), SHA-256 of the rest of the row (32).';

ALTER TABLE pgsync_private.audit_actor OWNER TO pgsync_owner;
ALTER TABLE pgsync_private.audit_act OWNER TO pgsync_owner;
ALTER TABLE pgsync_private.audit_act_default OWNER TO pgsync_owner;
ALTER TABLE pgsync_private.audit_seal OWNER TO pgsync_owner;
ALTER TABLE pgsync_private.audit_block OWNER TO pgsync_owner;
ALTER TABLE pgsync_private.audit_block_default OWNER TO pgsync_owner;
