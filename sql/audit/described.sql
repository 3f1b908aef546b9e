-- What is said of each entry of a trail. Newest first, in the order in which transactions began to write.
WITH entry AS (
{% include entries %}
)
SELECT
  e.at,
  CASE
    WHEN e.rank = 1 THEN 'claim'
    WHEN e.server_tx_id IS NULL THEN 'sql'
    WHEN COALESCE(a.route, l.route) = 'websocket' THEN 'websocket'
    WHEN COALESCE(a.route, l.route) IN ('models', 'commits') THEN 'http'
    ELSE 'function'
  END AS door,
  e.participant_kind,
  e.participant_id,
  COALESCE(e.capability_id, a.capability_id, l.capability_id) AS key_id,
  COALESCE(e.on_behalf_of_kind, a.on_behalf_of_kind, l.on_behalf_of_kind) AS on_behalf_of_kind,
  COALESCE(e.on_behalf_of_id, a.on_behalf_of_id, l.on_behalf_of_id) AS on_behalf_of_id,
  CASE WHEN e.rank = 0 AND e.server_tx_id IS NULL THEN e.role_name END AS role,
  e.organization_id,
  e.model,
  CASE WHEN e.action IN ('T', 'S') THEN NULL ELSE e.row_id END AS id,
  CASE e.action
    WHEN 'I' THEN 'create'
    WHEN 'U' THEN 'update'
    WHEN 'D' THEN 'delete'
    WHEN 'T' THEN 'truncate'
    WHEN 'S' THEN 'rename field'
    ELSE 'claim ' || e.action
  END AS action,
  e.fields,
  COALESCE(a.key, l.key) AS commit_key,
  e.server_tx_id AS commit_id,
  p.sync_id,
  e.claim_id,
  pg_catalog.concat_ws('.', e.xid, e.rank, e.seq) AS cursor
FROM entry AS e
LEFT JOIN LATERAL (
  SELECT
    t.key,
    t.route,
    r.capability_id,
    r.on_behalf_of_kind,
    r.on_behalf_of_id
  FROM pgsync_private.audit_act AS t
  JOIN pgsync_private.audit_actor AS r
    ON r.id = t.actor
  WHERE e.server_tx_id IS NOT NULL
    AND t.xid = e.xid
    AND t.ordinal = pg_catalog.split_part(e.server_tx_id, '-', 2)::integer
  LIMIT 1
) AS a
  ON true
-- What is not sealed yet is in the ledger still.
LEFT JOIN LATERAL (
  SELECT
    c.key,
    c.route,
    c.capability_id,
    c.on_behalf_of_kind,
    c.on_behalf_of_id
  FROM pgsync_private.commit AS c
  WHERE a.key IS NULL
    AND c.organization_id = e.organization_id
    AND c.created_at BETWEEN e.at - INTERVAL '10 minutes' AND e.at + INTERVAL '1 minute'
    AND c.server_tx_id = e.server_tx_id
  ORDER BY c.created_at DESC
  LIMIT 1
) AS l
  ON true
LEFT JOIN LATERAL (
  SELECT
    CASE
      WHEN e.server_tx_id IS NULL THEN o.last_sync_id
      ELSE o.commit_sync_ids[pg_catalog.split_part(e.server_tx_id, '-', 2)::integer + 1]
    END AS sync_id
  FROM pgsync_private.position AS o
  WHERE e.rank = 0
    AND o.xid = e.xid
  LIMIT 1
) AS p
  ON true
ORDER BY e.xid DESC, e.rank DESC, e.seq DESC;
