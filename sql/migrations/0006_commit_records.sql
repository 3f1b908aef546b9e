-- What commit records say beside the ledger: on what authority those without a credential of ours acted, and who asked again.

ALTER TABLE pgsync_private.commit ADD COLUMN authority jsonb;
COMMENT ON COLUMN pgsync_private.commit.authority IS
  'syncGroups and operations of somebody without a credential of ours (a token of the operator''s identity provider). Null: the credential says.';

-- Beside the ledger, so that a row of the ledger is written once.
CREATE TABLE pgsync_private.commit_replay (
  xid xid8 NOT NULL,
  ordinal integer NOT NULL,
  replayed_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  day_of_three smallint NOT NULL
) PARTITION BY LIST (day_of_three);
CREATE INDEX commit_replay_xid_ordinal_idx ON pgsync_private.commit_replay (xid, ordinal);
CREATE TABLE pgsync_private.commit_replay_0 PARTITION OF pgsync_private.commit_replay FOR VALUES IN (0);
CREATE TABLE pgsync_private.commit_replay_1 PARTITION OF pgsync_private.commit_replay FOR VALUES IN (1);
CREATE TABLE pgsync_private.commit_replay_2 PARTITION OF pgsync_private.commit_replay FOR VALUES IN (2);
COMMENT ON TABLE pgsync_private.commit_replay IS
  'When a commit was answered again from the ledger, for its record: the first 32 times. Goes with the commit''s day.';

ALTER TABLE pgsync_private.commit_replay OWNER TO pgsync_owner;
ALTER TABLE pgsync_private.commit_replay_0 OWNER TO pgsync_owner;
ALTER TABLE pgsync_private.commit_replay_1 OWNER TO pgsync_owner;
ALTER TABLE pgsync_private.commit_replay_2 OWNER TO pgsync_owner;
GRANT SELECT, INSERT ON TABLE pgsync_private.commit_replay TO pgsync_writer;
