-- Compares the tables of the models with what was seen last (see pgsync_private.table_states), notes what they are now, and says in the log,
-- once for all gateways, which models have to be loaded anew. A push calls it before and after its changes, in its transaction; listeners
-- call it all the time.
-- Where what clients have is wrong or will not be put right any more, it counts as a truncation does: everybody loads the rows anew, and older
-- premises are stale. Where rows only have more (a field, or a model, that rows may have values of), nobody who is connected is told; those
-- who come back from before are, because they may be of the new version ("added" of the message).
-- A type that only takes more is nothing of either kind, where a push makes it so; by hand, values may have changed with it.
-- p_before: the models that the stream knows at this place of the log, as versions hold them; null: those of the active version. One that
-- it does not know is not told here but by the next look.
-- A model that is not active is noted as such: nobody hears of its rows meanwhile, so they are loaded anew when it comes back.
-- Whoever calls it looks alone until his transaction ends. Raises: 55P03 when somebody else looks for longer than lock_timeout.
CREATE OR REPLACE FUNCTION pgsync_private.look_at_tables(p_before jsonb DEFAULT NULL)
  RETURNS void
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_is_first boolean;
  v_table record;
  v_wrong jsonb := '[]'::jsonb;
  v_added jsonb := '[]'::jsonb;
BEGIN
  PERFORM pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('pgsync tables', 0));
  v_is_first := NOT EXISTS (
    SELECT
    FROM pgsync_private.schema_version AS s
    WHERE s.state <> 'active'
  );

  FOR v_table IN
    SELECT
      t.model_key,
      t.model_name,
      t.table_oid,
      t.state,
      t.fields,
      t.last_column,
      COALESCE(b.key, r.key) AS told_as,
      k.model_key IS NOT NULL AS is_known,
      k.state <> t.state OR EXISTS (
        SELECT
        FROM pg_catalog.jsonb_each(k.fields) AS f(name, sent)
        WHERE CASE
          WHEN f.sent = 'null' THEN t.fields ? f.name
          WHEN p_before IS NULL THEN t.fields -> f.name IS DISTINCT FROM f.sent
          ELSE NOT COALESCE( -- what a push itself does keeps the values
            t.fields -> f.name ->> 0 = f.sent ->> 0 AND pgsync_private.is_wider(f.sent ->> 1, t.fields -> f.name ->> 1),
            false)
        END
      ) AS is_wrong,
      EXISTS ( -- all rows are null in a column that this very transaction has made
        SELECT
        FROM pg_catalog.jsonb_each(t.fields) AS f(name, sent)
        WHERE NOT k.fields ? f.name
          AND NOT EXISTS (
            SELECT
            FROM pg_catalog.pg_attribute AS a
            WHERE a.attrelid = t.table_oid
              AND a.attname = f.sent ->> 0
              AND a.attnum > k.last_column
              AND a.xmin = pg_catalog.pg_current_xact_id()::xid
              AND NOT a.atthasdef
              AND NOT a.atthasmissing
              AND a.attidentity = ''
          )
      ) AS is_added,
      t.fields || COALESCE(gone.fields, '{}') AS sent
    FROM pgsync_private.table_states() AS t
    LEFT JOIN pgsync_private.table_state AS k
      ON k.model_key = t.model_key
    LEFT JOIN LATERAL (
      SELECT t.model_key AS key
      WHERE p_before IS NULL
        OR p_before @> pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_object('key', t.model_key))
    ) AS b
      ON true
    LEFT JOIN LATERAL ( -- a model that this push renames
      SELECT n.key_before AS key
      FROM pgsync_private.model_rename AS n
      WHERE n.key_now = t.model_key
        AND p_before @> pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_object('key', n.key_before, 'name', n.before))
      ORDER BY n.renamed_at DESC
      LIMIT 1
    ) AS r
      ON true
    LEFT JOIN LATERAL (
      SELECT pg_catalog.jsonb_object_agg(f.name, NULL::text) AS fields
      FROM pg_catalog.jsonb_object_keys(k.fields) AS f(name)
      WHERE NOT t.fields ? f.name
    ) AS gone
      ON true
    ORDER BY t.model_key
  LOOP
    IF NOT v_table.is_known THEN
      -- A model that has come with a version, over a table that may have rows, is told by the next look.
      INSERT INTO pgsync_private.table_state (model_key, state, fields, last_column)
      VALUES (
        v_table.model_key,
        v_table.state,
        CASE
          WHEN v_is_first
            OR p_before IS NULL
            OR v_table.told_as IS NOT NULL
            OR NOT pgsync_private.may_have_rows(v_table.table_oid)
          THEN v_table.fields
          ELSE '{}'
        END,
        v_table.last_column);
    ELSIF v_table.told_as IS NOT NULL THEN
      IF v_table.is_wrong THEN
        v_wrong := v_wrong || pg_catalog.to_jsonb(v_table.told_as);
        INSERT INTO pgsync_private.change (model, row_id, op, role_name)
        VALUES (v_table.model_name, '', 'T', pgsync_private.role_name());
      ELSIF v_table.is_added THEN
        v_added := v_added || pg_catalog.to_jsonb(v_table.told_as);
      END IF;
      UPDATE pgsync_private.table_state AS k
      SET
        state = v_table.state,
        fields = v_table.sent,
        last_column = v_table.last_column,
        noticed_at = pg_catalog.clock_timestamp()
      WHERE k.model_key = v_table.model_key
        AND (k.state, k.fields, k.last_column) IS DISTINCT FROM (v_table.state, v_table.sent, v_table.last_column);
    END IF;
  END LOOP;

  UPDATE pgsync_private.table_state AS k
  SET
    state = '',
    noticed_at = pg_catalog.clock_timestamp()
  WHERE k.state <> ''
    AND NOT EXISTS (
      SELECT
      FROM pgsync_private.schema_version AS s
      WHERE s.state = 'active'
        AND s.models @> pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_object('key', k.model_key))
    );

  IF v_wrong || v_added <> '[]' THEN
    PERFORM pg_catalog.pg_logical_emit_message(
      true,
      'pgsync',
      pg_catalog.jsonb_build_object(
        't', 'r',
        'w', pgsync_private.message_token(),
        'models', v_wrong || v_added,
        'added', v_added,
        'snap', pg_catalog.pg_current_snapshot()::text)::text);
  END IF;
END
$function$;

ALTER FUNCTION pgsync_private.look_at_tables(jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.look_at_tables(jsonb) FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.look_at_tables(jsonb) IS 'Notes what the tables of the models are, and says in the log which have to be loaded anew.';
