-- What was done with keys, by a participant, and for her: commits' changes and claims. Newest first.
-- Parameters: keys; kind and id of the participant (null: only the keys); organization (null: any), since, until, cursor_xid, cursor_rank, cursor_seq
-- (what comes after these has been told), limit. A commit is in the time when its first change was made. What no seal holds yet is found by way of
-- the changes since: quick, as long as sealing keeps up. For whoever may read the audit tables. sql/audit/described.sql goes around it.
WITH seal AS MATERIALIZED (
  SELECT
    pg_catalog.pg_snapshot_xmax(s.snapshot) AS bound,
    ARRAY(SELECT x.x FROM pg_catalog.pg_snapshot_xip(s.snapshot) AS x(x)) AS open
  FROM (
    SELECT
      COALESCE(
        (
          SELECT t.snapshot
          FROM pgsync_private.audit_seal AS t
          ORDER BY t.number DESC
          LIMIT 1
        ),
        '3:3:') AS snapshot
  ) AS s
),
actor AS MATERIALIZED (
  SELECT r.id
  FROM pgsync_private.audit_actor AS r
  WHERE r.capability_id = ANY (%(keys)s::text[])
    AND (%(organization)s::text IS NULL OR r.organization_id = %(organization)s)
  UNION
  SELECT r.id
  FROM pgsync_private.audit_actor AS r
  WHERE r.participant_id = %(id)s
    AND r.participant_kind = %(kind)s
    AND (%(organization)s::text IS NULL OR r.organization_id = %(organization)s)
  UNION
  SELECT r.id
  FROM pgsync_private.audit_actor AS r
  WHERE r.on_behalf_of_id = %(id)s
    AND r.on_behalf_of_kind = %(kind)s
    AND (%(organization)s::text IS NULL OR r.organization_id = %(organization)s)
),
unsealed AS MATERIALIZED (
  SELECT
    c.xid,
    c.server_tx_id,
    pg_catalog.max(c.organization_id) AS organization_id,
    pg_catalog.min(c.changed_at) AS at
  FROM pgsync_private.change AS c
  WHERE (
      c.xid >= (SELECT s.bound FROM seal AS s)
      OR c.xid = ANY ((SELECT s.open FROM seal AS s)::xid8[])
    )
    AND c.server_tx_id IS NOT NULL
  GROUP BY c.xid, c.server_tx_id
),
act AS MATERIALIZED (
  SELECT
    t.xid,
    t.ordinal
  FROM actor AS r
  CROSS JOIN LATERAL (
    SELECT
      a.xid,
      a.ordinal
    FROM pgsync_private.audit_act AS a
    WHERE a.actor = r.id
      AND a.xid < %(cursor_xid)s::xid8
      AND a.at >= %(since)s
      AND a.at < %(until)s
    ORDER BY a.xid DESC, a.ordinal DESC
    LIMIT %(limit)s
  ) AS t
  UNION ALL
  -- The transaction that a page ended in may have more.
  SELECT
    a.xid,
    a.ordinal
  FROM actor AS r
  JOIN pgsync_private.audit_act AS a
    ON a.actor = r.id
  WHERE a.xid = %(cursor_xid)s::xid8
    AND a.at >= %(since)s
    AND a.at < %(until)s
  UNION ALL
  SELECT
    u.xid,
    l.ordinal
  FROM (
    SELECT DISTINCT n.organization_id
    FROM unsealed AS n
  ) AS o
  JOIN pgsync_private.commit AS l
    ON l.organization_id = o.organization_id
    AND l.created_at >= (SELECT pg_catalog.min(n.at) - INTERVAL '10 minutes' FROM unsealed AS n)
  JOIN unsealed AS u
    ON u.server_tx_id = l.server_tx_id
  WHERE u.xid <= %(cursor_xid)s::xid8
    AND u.at >= %(since)s
    AND u.at < %(until)s
    AND (%(organization)s::text IS NULL OR l.organization_id = %(organization)s)
    AND (
      l.capability_id = ANY (%(keys)s::text[])
      OR (l.participant_kind, l.participant_id) = (%(kind)s, %(id)s)
      OR (l.on_behalf_of_kind, l.on_behalf_of_id) = (%(kind)s, %(id)s)
    )
)
SELECT *
FROM (
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
  FROM (
    SELECT
      a.xid,
      a.ordinal
    FROM act AS a
    ORDER BY a.xid DESC, a.ordinal DESC
  ) AS a
  CROSS JOIN LATERAL (
    SELECT
      h.xid,
      h.seq,
      h.changed_at,
      h.organization_id,
      h.model,
      h.row_id,
      h.op,
      h.fields,
      h.server_tx_id,
      h.actor_kind,
      h.actor_id,
      h.role_name
    FROM pgsync_private.change AS h
    WHERE h.xid = a.xid
      AND h.server_tx_id = a.xid::text || '-' || a.ordinal
  ) AS c
  WHERE (c.xid, 0, c.seq) < (%(cursor_xid)s::xid8, %(cursor_rank)s, %(cursor_seq)s)
  UNION
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
  FROM (
    SELECT k.*
    FROM pg_catalog.unnest(%(keys)s::text[]) AS g(key)
    CROSS JOIN LATERAL (
      SELECT x.*
      FROM pgsync_private.claim_event AS x
      WHERE x.capability_id = g.key
        AND x.xid <= %(cursor_xid)s::xid8
        AND (x.xid, 1, x.seq) < (%(cursor_xid)s::xid8, %(cursor_rank)s, %(cursor_seq)s)
        AND x.at >= %(since)s
        AND x.at < %(until)s
        AND (%(organization)s::text IS NULL OR x.organization_id = %(organization)s)
      ORDER BY x.xid DESC, x.seq DESC
      LIMIT %(limit)s
    ) AS k
    UNION ALL
    (
      SELECT x.*
      FROM pgsync_private.claim_event AS x
      WHERE x.participant_id = %(id)s
        AND x.participant_kind = %(kind)s
        AND x.xid <= %(cursor_xid)s::xid8
        AND (x.xid, 1, x.seq) < (%(cursor_xid)s::xid8, %(cursor_rank)s, %(cursor_seq)s)
        AND x.at >= %(since)s
        AND x.at < %(until)s
        AND (%(organization)s::text IS NULL OR x.organization_id = %(organization)s)
      ORDER BY x.xid DESC, x.seq DESC
      LIMIT %(limit)s
    )
    UNION ALL
    (
      SELECT x.*
      FROM pgsync_private.claim_event AS x
      WHERE x.on_behalf_of_id = %(id)s
        AND x.on_behalf_of_kind = %(kind)s
        AND x.xid <= %(cursor_xid)s::xid8
        AND (x.xid, 1, x.seq) < (%(cursor_xid)s::xid8, %(cursor_rank)s, %(cursor_seq)s)
        AND x.at >= %(since)s
        AND x.at < %(until)s
        AND (%(organization)s::text IS NULL OR x.organization_id = %(organization)s)
      ORDER BY x.xid DESC, x.seq DESC
      LIMIT %(limit)s
    )
  ) AS v
) AS n
ORDER BY n.xid DESC, n.rank DESC, n.seq DESC
LIMIT %(limit)s
