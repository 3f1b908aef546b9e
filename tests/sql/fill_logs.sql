-- Entries of others, and of other rows, in the tables that a commit looks into.
INSERT INTO pgsync_private.commit (
  organization_id, participant_kind, participant_id, key, request_hash, server_tx_id, xid, ordinal, operation_count, operations, result,
  created_at, day_of_three
)
SELECT
  c.organization_id, c.participant_kind, c.participant_id, 'filler ' || n.n, c.request_hash, c.server_tx_id, c.xid, c.ordinal,
  c.operation_count, c.operations, c.result, c.created_at, c.day_of_three
FROM (SELECT * FROM pgsync_private.commit LIMIT 1) AS c
CROSS JOIN generate_series(1, 2000) AS n(n);

INSERT INTO pgsync_private.change (organization_id, model, row_id, op, role_name)
SELECT 'acme', 'task', 'filler ' || n.n, 'U', 'somebody'
FROM generate_series(1, 2000) AS n(n);

INSERT INTO pgsync_private.claim (
  organization_id, id, scope, model, model_key, row_id, participant_kind, participant_id, description, status, ttl, expires_at, row_seen,
  fence_token, granted_snapshot, ended_at
)
SELECT
  'acme', 'filler ' || n.n, 'acme', 'task', 'tasks', 'filler ' || n.n, 'user', 'ada', '', CASE WHEN n.n % 2 = 0 THEN 'active' ELSE 'expired' END,
  INTERVAL '1 hour', now() + INTERVAL '1 hour', true, n.n, pg_current_snapshot(), CASE WHEN n.n % 2 = 1 THEN now() END
FROM generate_series(1, 2000) AS n(n);

INSERT INTO pgsync_private.tracked_premise (
  organization_id, participant_kind, participant_id, model, model_key, row_id, sync_group, on_stale, evidence
)
SELECT 'acme', 'user', 'filler ' || n.n, 'Task', 'tasks', 't9', '', 'notify', '{}'
FROM generate_series(1, 2000) AS n(n);
