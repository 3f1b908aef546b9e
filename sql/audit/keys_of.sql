-- The keys of a participant, those that act for her, and those that were minted with any of them, and so on. Parameters: kind, id, organization (null:
-- any). Looks at all credentials that are kept, and at all that have committed. For whoever may read the audit tables.
WITH RECURSIVE known AS MATERIALIZED (
  SELECT
    c.id,
    c.minted_by,
    (c.participant_kind, c.participant_id) = (%(kind)s, %(id)s)
      OR COALESCE((c.on_behalf_of_kind, c.on_behalf_of_id) = (%(kind)s, %(id)s), false) AS hers
  FROM pgsync_private.credential AS c
  WHERE %(organization)s::text IS NULL
    OR c.organization_id = %(organization)s
  UNION
  SELECT
    r.capability_id,
    r.minted_by,
    (r.participant_kind, r.participant_id) = (%(kind)s, %(id)s)
      OR COALESCE((r.on_behalf_of_kind, r.on_behalf_of_id) = (%(kind)s, %(id)s), false)
  FROM pgsync_private.audit_actor AS r
  WHERE r.capability_id IS NOT NULL
    AND (%(organization)s::text IS NULL OR r.organization_id = %(organization)s)
),
held AS (
  SELECT k.id
  FROM known AS k
  WHERE k.hers
  UNION
  SELECT k.id
  FROM held AS h
  JOIN known AS k
    ON k.minted_by = h.id
)
SELECT h.id
FROM held AS h
ORDER BY h.id;
