-- What happened to a row: its changes by anybody, claims on it, and what happened to all rows of its model at once. Newest first.
-- Parameters: model (as the change log has it), id, organization (null: any), since, until, cursor_xid, cursor_rank, cursor_seq (what comes after
-- these has been told), limit. For whoever may read the audit tables.
-- sql/audit/described.sql goes around it.
WITH known_as AS (
  SELECT ARRAY(SELECT %(model)s UNION ALL SELECT r.before FROM pgsync_private.model_rename AS r WHERE r.now = %(model)s) AS names
)
SELECT *
FROM (
  (
    SELECT
      0 AS rank,
      c.xid,
      c.seq,
      c.changed_at AS at,
      c.organization_id,
      c.model,
      c.row_id,
      c.op::text AS action,
      c.fields,
      c.server_tx_id,
      c.actor_kind AS participant_kind,
      c.actor_id AS participant_id,
      c.role_name,
      NULL::text AS claim_id,
      NULL::text AS capability_id,
      NULL::text AS on_behalf_of_kind,
      NULL::text AS on_behalf_of_id
    FROM pgsync_private.change AS c
    WHERE c.row_id = %(id)s
      AND c.model = ANY ((SELECT k.names FROM known_as AS k)::text[])
      AND c.xid <= %(cursor_xid)s::xid8
      AND (c.xid, 0, c.seq) < (%(cursor_xid)s::xid8, %(cursor_rank)s, %(cursor_seq)s)
      AND c.changed_at >= %(since)s
      AND c.changed_at < %(until)s
      AND (%(organization)s::text IS NULL OR c.organization_id IS NULL OR c.organization_id = %(organization)s)
    ORDER BY c.xid DESC, c.seq DESC
    LIMIT %(limit)s
  )
  UNION ALL
  (
    SELECT
      0,
      c.xid,
      c.seq,
      c.changed_at,
      c.organization_id,
      c.model,
      c.row_id,
      c.op::text,
      c.fields,
      c.server_tx_id,
      c.actor_kind,
      c.actor_id,
      c.role_name,
      NULL::text,
      NULL::text,
      NULL::text,
      NULL::text
    FROM pgsync_private.change AS c
    WHERE c.row_id = ''
      AND c.model = ANY ((SELECT k.names FROM known_as AS k)::text[])
      AND c.xid <= %(cursor_xid)s::xid8
      AND (c.xid, 0, c.seq) < (%(cursor_xid)s::xid8, %(cursor_rank)s, %(cursor_seq)s)
      AND c.changed_at >= %(since)s
      AND c.changed_at < %(until)s
    ORDER BY c.xid DESC, c.seq DESC
    LIMIT %(limit)s
  )
  UNION ALL
  (
    SELECT
      1,
      v.xid,
      v.seq,
      v.at,
      v.organization_id,
      v.model,
      v.row_id,
      v.event,
      COALESCE(v.fields, ARRAY[v.field]),
      NULL::text,
      v.participant_kind,
      v.participant_id,
      NULL::text,
      v.claim_id,
      v.capability_id,
      v.on_behalf_of_kind,
      v.on_behalf_of_id
    FROM pgsync_private.claim_event AS v
    WHERE v.row_id = %(id)s
      AND v.model = ANY ((SELECT k.names FROM known_as AS k)::text[])
      AND v.xid <= %(cursor_xid)s::xid8
      AND (v.xid, 1, v.seq) < (%(cursor_xid)s::xid8, %(cursor_rank)s, %(cursor_seq)s)
      AND v.at >= %(since)s
      AND v.at < %(until)s
      AND (%(organization)s::text IS NULL OR v.organization_id = %(organization)s)
    ORDER BY v.xid DESC, v.seq DESC
    LIMIT %(limit)s
  )
) AS n
ORDER BY n.xid DESC, n.rank DESC, n.seq DESC
LIMIT %(limit)s
