-- Why a write of a commit has touched no row. Returns missing; a trigger or a rule of the table that keeps rows from being written is an
-- error, so that nothing stays of what it may have written instead. That it was one is certain when the row is there (p_is_there: locked by
-- this transaction, or made without a conflict), or when what came in its place has hidden the row from the caller.
-- p_table: as regclass takes it. p_action: create, update or delete.
-- Raises: PS410 for a row that is kept from being written; PS406 for one that is missing where triggers may have written something.
CREATE OR REPLACE FUNCTION pgsync_private.unwritten(p_table text, p_action text, p_model text, p_id text, p_is_there boolean)
  RETURNS text
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_event integer := CASE p_action WHEN 'create' THEN 4 WHEN 'delete' THEN 8 ELSE 16 END; -- bits of pg_trigger.tgtype
  v_rule text := CASE p_action WHEN 'create' THEN '3' WHEN 'delete' THEN '4' ELSE '2' END; -- pg_rewrite.ev_type
  v_found text[];
  v_traces boolean;
BEGIN
  SELECT
    pg_catalog.array_agg(DISTINCT o.other ORDER BY o.other) FILTER (WHERE o.is_suspect),
    pg_catalog.count(*) > 0
  INTO v_found, v_traces
  FROM (
    SELECT
      'trigger ' || pg_catalog.quote_ident(t.tgname) AS other,
      t.tgtype & 3 = 3 AS is_suspect -- BEFORE, FOR EACH ROW
    FROM pg_catalog.pg_trigger AS t
    JOIN (
      SELECT p.relid
      FROM pg_catalog.pg_partition_tree(p_table::regclass) AS p
      UNION
      SELECT p_table::regclass
    ) AS r
      ON r.relid = t.tgrelid
    WHERE NOT t.tgisinternal
      AND t.tgenabled <> 'D'
      AND t.tgname NOT LIKE 'pgsync\_%'
      AND t.tgtype & v_event <> 0
      AND t.tgtype & 3 <> 1 -- those AFTER a row did not run
    UNION ALL
    SELECT
      'rule ' || pg_catalog.quote_ident(w.rulename),
      w.is_instead
    FROM pg_catalog.pg_rewrite AS w
    WHERE w.ev_class = p_table::regclass
      AND w.ev_type::text = v_rule
      AND w.ev_enabled <> 'D'
  ) AS o;
  IF p_is_there
    OR v_found IS NOT NULL AND (
      SELECT c.op
      FROM pgsync_private.change AS c
      WHERE c.xid = pg_catalog.pg_current_xact_id()
        AND c.model = p_model
        AND c.row_id = p_id
        AND c.organization_id IS NOT DISTINCT FROM pgsync.organization_id()
      ORDER BY c.seq DESC
      LIMIT 1
    ) = 'U'
  THEN
    RAISE EXCEPTION USING
      ERRCODE = 'PS410',
      MESSAGE = pg_catalog.format(
        'a %s of the database keeps the row from being written (%s of table %s); nothing was written',
        CASE WHEN v_found IS NULL THEN 'trigger or rule' ELSE pg_catalog.split_part(v_found[1], ' ', 1) END,
        p_action,
        p_table::regclass),
      DETAIL = pg_catalog.jsonb_build_object('table', p_table::regclass::text, 'by', COALESCE(pg_catalog.to_jsonb(v_found), '[]')),
      HINT = 'A BEFORE trigger has to return the row, or to raise an error that says why not; a rule DO INSTEAD has to go. '
        'A model that clients only read says mutable=False.';
  END IF;
  IF v_traces THEN
    RAISE EXCEPTION USING
      ERRCODE = 'PS406',
      MESSAGE = pg_catalog.format('no such row: %s', p_id),
      DETAIL = pg_catalog.jsonb_build_object('missingIds', pg_catalog.jsonb_build_array(p_id)),
      HINT = 'Whatever triggers of the table have done without it is undone.';
  END IF;
  RETURN 'missing';
END
$function$;

ALTER FUNCTION pgsync_private.unwritten(text, text, text, text, boolean) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.unwritten(text, text, text, text, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.unwritten(text, text, text, text, boolean) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.unwritten(text, text, text, text, boolean) IS 'Why a write of a commit has touched no row.';
