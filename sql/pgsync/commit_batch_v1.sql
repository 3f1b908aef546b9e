-- Runs several independent commits in one transaction: one flush of the log for all of them.
-- p_items: [{"identity", "key", "action", "model", "id", "body", "evidence"}, ..], each with the meaning of pgsync.write_v1.
-- Answers in the order of the items. A commit refused by rule leaves the others alone; an error that is raised undoes them all, and
-- the caller sends each again by itself. So he does in a database where somebody has deferred a trigger: it would run when all of them commit,
-- as the last of them, and would see the rows of that organization instead of those that it is to judge.
-- Raises: PS901 for several commits in such a database; else as pgsync.write_v1.
-- SECURITY DEFINER: the gateway has no right to write rows, the writer has, under row-level security.
CREATE OR REPLACE FUNCTION pgsync.commit_batch_v1(p_items jsonb)
  RETURNS jsonb
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_item record;
  v_answers jsonb[] := pg_catalog.array_fill(NULL::jsonb, ARRAY[pg_catalog.jsonb_array_length(p_items)]);
BEGIN
  IF pg_catalog.jsonb_array_length(p_items) > 1 AND EXISTS (
    SELECT
    FROM pg_catalog.pg_trigger AS t
    WHERE t.tginitdeferred
      AND NOT t.tgisinternal -- deferred keys and references look at all rows, whoever asks
      AND t.tgenabled <> 'D'
  ) THEN
    RAISE EXCEPTION USING
      ERRCODE = 'PS901',
      MESSAGE = 'commits cannot share a transaction in this database',
      DETAIL = 'It has a constraint trigger that is INITIALLY DEFERRED.',
      HINT = 'Send each by itself.';
  END IF;
  -- In one global order of rows, so that two batches cannot wait for each other.
  FOR v_item IN
    SELECT
      i.i AS item,
      i.n::integer AS n
    FROM pg_catalog.jsonb_array_elements(p_items) WITH ORDINALITY AS i(i, n)
    ORDER BY i.i ->> 'model', i.i ->> 'id', i.n
  LOOP
    v_answers[v_item.n] := pgsync_private.commit(
      v_item.item -> 'identity',
      v_item.item ->> 'key',
      pgsync_private.row_request(v_item.item ->> 'action', v_item.item ->> 'model', v_item.item ->> 'id', v_item.item -> 'body'),
      v_item.item -> 'evidence');
  END LOOP;
  RETURN pg_catalog.to_jsonb(v_answers);
END
$function$;

ALTER FUNCTION pgsync.commit_batch_v1(jsonb) OWNER TO pgsync_writer;
REVOKE ALL ON FUNCTION pgsync.commit_batch_v1(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.commit_batch_v1(jsonb) TO pgsync_gateway;
COMMENT ON FUNCTION pgsync.commit_batch_v1(jsonb) IS 'Runs several independent single-row commits in one transaction.';
