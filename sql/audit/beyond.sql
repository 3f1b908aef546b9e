-- What the newest seal is not yet about, and what should be there with a later seal only. Parameter: the newest seal's number and snapshot.
-- unsealed: changes and claim events that no seal holds yet. seals_missing: the highest seal that blocks tell of, if there is no such seal.
-- acts_unsealed: acts of commits, which come with their seal. For whoever may read the audit tables.
WITH seal AS MATERIALIZED (
  SELECT
    pg_catalog.pg_snapshot_xmax(%(snapshot)s::pg_snapshot) AS bound,
    ARRAY(SELECT x.x FROM pg_catalog.pg_snapshot_xip(%(snapshot)s::pg_snapshot) AS x(x)) AS open
)
SELECT
  (
    SELECT pg_catalog.count(*)
    FROM pgsync_private.change AS c
    WHERE c.xid >= (SELECT s.bound FROM seal AS s)
      OR c.xid = ANY ((SELECT s.open FROM seal AS s)::xid8[])
  ) + (
    SELECT pg_catalog.count(*)
    FROM pgsync_private.claim_event AS e
    WHERE e.xid >= (SELECT s.bound FROM seal AS s)
      OR e.xid = ANY ((SELECT s.open FROM seal AS s)::xid8[])
  ) AS unsealed,
  (
    SELECT pg_catalog.max(b.seal)
    FROM pgsync_private.audit_block AS b
    WHERE b.seal > %(seal)s
  ) AS seals_missing,
  (
    SELECT pg_catalog.count(*)
    FROM pgsync_private.audit_act AS a
    WHERE a.xid >= (SELECT s.bound FROM seal AS s)
      OR a.xid = ANY ((SELECT s.open FROM seal AS s)::xid8[])
  ) AS acts_unsealed;
