-- Stores that all changes committed up to p_lsn are counted by p_sync_id, and where each transaction since the last call stands.
-- p_positions: [[xid, first sync id, last sync id, [last sync id of each commit in it]], ..]
-- Two listeners that disagree about a position are a defect: the second one fails with PS501 and stores nothing.
-- SECURITY DEFINER: checkpoints are private.
CREATE OR REPLACE FUNCTION pgsync.store_checkpoint_v1(
  p_lsn pg_lsn,
  p_sync_id bigint,
  p_snapshot text,
  p_schema_version integer,
  p_positions jsonb
)
  RETURNS void
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_sync_id bigint;
BEGIN
  INSERT INTO pgsync_private.checkpoint AS c (lsn, sync_id, snapshot, schema_version)
  VALUES (p_lsn, p_sync_id, p_snapshot, p_schema_version)
  ON CONFLICT (lsn) DO NOTHING;
  IF NOT FOUND THEN
    SELECT c.sync_id
    INTO v_sync_id
    FROM pgsync_private.checkpoint AS c
    WHERE c.lsn = p_lsn;
    IF v_sync_id <> p_sync_id THEN
      RAISE EXCEPTION USING
        ERRCODE = 'PS501',
        MESSAGE = pg_catalog.format('sync ids disagree at %s: stored %s, counted %s', p_lsn, v_sync_id, p_sync_id),
        DETAIL = pg_catalog.format('lsn=%s stored=%s counted=%s', p_lsn, v_sync_id, p_sync_id),
        HINT = 'Stop this gateway and report it: two listeners must never count differently.';
    END IF;
  END IF;

  -- One listener at a time, so that a transaction has one position whoever stores it; there is no unique index over partitions.
  PERFORM pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('pgsync positions', 0));
  INSERT INTO pgsync_private.position AS p (xid, first_sync_id, last_sync_id, commit_sync_ids)
  SELECT
    (t.t ->> 0)::xid8,
    (t.t ->> 1)::bigint,
    (t.t ->> 2)::bigint,
    ARRAY(SELECT c.c::bigint FROM pg_catalog.jsonb_array_elements_text(t.t -> 3) WITH ORDINALITY AS c(c, n) ORDER BY c.n)
  FROM pg_catalog.jsonb_array_elements(COALESCE(p_positions, '[]')) AS t(t)
  WHERE NOT EXISTS (
    SELECT
    FROM pgsync_private.position AS o
    WHERE o.xid = (t.t ->> 0)::xid8
  );
END
$function$;

ALTER FUNCTION pgsync.store_checkpoint_v1(pg_lsn, bigint, text, integer, jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.store_checkpoint_v1(pg_lsn, bigint, text, integer, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.store_checkpoint_v1(pg_lsn, bigint, text, integer, jsonb) TO pgsync_listener;
COMMENT ON FUNCTION pgsync.store_checkpoint_v1(pg_lsn, bigint, text, integer, jsonb) IS
  'Stores an anchor of the number line and the positions of the transactions before it.';
