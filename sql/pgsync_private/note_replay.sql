-- Remembers that a commit is answered again from the ledger, for its record. A client that asks in a loop is written down 32 times, then its
-- replays read and write nothing. Call it under the lock of the key, so that the count is right.
CREATE OR REPLACE FUNCTION pgsync_private.note_replay(p_commit pgsync_private.commit)
  RETURNS void
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off' -- a partition that was empty when it was last analyzed looks free to scan
AS $function$
BEGIN
  INSERT INTO pgsync_private.commit_replay (xid, ordinal, day_of_three)
  SELECT
    p_commit.xid,
    p_commit.ordinal,
    p_commit.day_of_three
  WHERE (
    SELECT pg_catalog.count(*)
    FROM pgsync_private.commit_replay AS r
    WHERE r.xid = p_commit.xid
      AND r.ordinal = p_commit.ordinal
      AND r.day_of_three = p_commit.day_of_three
  ) < 32;
END
$function$;

ALTER FUNCTION pgsync_private.note_replay(pgsync_private.commit) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.note_replay(pgsync_private.commit) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.note_replay(pgsync_private.commit) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.note_replay(pgsync_private.commit) IS 'Remembers that a commit is answered again from the ledger.';
