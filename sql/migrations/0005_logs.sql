-- Indexes for reading back what happened: the logs by sync id, commit records by time, premises on groups by transaction.

-- These tables are partitioned: Postgres builds no index of one concurrently. Writers of the change log wait for the second.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX position_last_sync_id_idx ON pgsync_private.position (last_sync_id);
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX change_xid_seq_idx ON pgsync_private.change (xid, seq);
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX commit_organization_id_created_at_idx ON pgsync_private.commit (organization_id, created_at, server_tx_id);

ALTER TABLE pgsync_private.commit ADD COLUMN route text;
COMMENT ON COLUMN pgsync_private.commit.route IS 'How the request came: models, commits or websocket.';
