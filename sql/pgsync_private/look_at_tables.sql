-- Compares the tables of the models with what was seen last (see pgsync_private.table_states), notes what they are now, and where rows have
-- changed without the log telling says so in the log, once for all gateways: there it counts as a truncation does, so everybody loads the
-- rows anew and older premises are stale. A push calls it before and after its changes, in its transaction; listeners call it all the time.
-- p_before: the models that the stream knows at this place of the log, as versions hold them; null: those of the active version. One that
-- it does not know is not told here: it is noted when it is seen the first time, and left to the next look when it was seen earlier.
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
  v_told jsonb;
  v_keys jsonb;
BEGIN
  PERFORM pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('pgsync tables', 0));

  WITH active AS (
    SELECT
      t.model_key,
      t.model_name,
      t.state,
      COALESCE(b.key, r.key) AS told_as
    FROM pgsync_private.table_states() AS t
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
  ),
  noted AS (
    INSERT INTO pgsync_private.table_state AS k (model_key, state)
    SELECT
      a.model_key,
      a.state
    FROM active AS a
    WHERE a.told_as IS NOT NULL
      OR NOT EXISTS (
        SELECT
        FROM pgsync_private.table_state AS s
        WHERE s.model_key = a.model_key
      )
    ORDER BY a.model_key
    ON CONFLICT (model_key) DO UPDATE
    SET
      state = EXCLUDED.state,
      noticed_at = pg_catalog.clock_timestamp()
    WHERE k.state <> EXCLUDED.state
    RETURNING
      k.model_key,
      k.xmax <> 0 AS was_known
  )
  SELECT
    pg_catalog.jsonb_agg(a.model_name ORDER BY a.model_key),
    pg_catalog.jsonb_agg(a.told_as ORDER BY a.model_key)
  INTO v_told, v_keys
  FROM noted AS n
  JOIN active AS a
    ON a.model_key = n.model_key
  WHERE n.was_known;

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

  IF v_told IS NOT NULL THEN
    INSERT INTO pgsync_private.change (model, row_id, op, role_name)
    SELECT
      t.name,
      '',
      'T',
      pgsync_private.role_name()
    FROM pg_catalog.jsonb_array_elements_text(v_told) WITH ORDINALITY AS t(name, ordinal)
    ORDER BY t.ordinal;
    PERFORM pg_catalog.pg_logical_emit_message(
      true,
      'pgsync',
      pg_catalog.jsonb_build_object(
        't', 'r',
        'w', pgsync_private.message_token(),
        'models', v_keys,
        'snap', pg_catalog.pg_current_snapshot()::text)::text);
  END IF;
END
$function$;

ALTER FUNCTION pgsync_private.look_at_tables(jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.look_at_tables(jsonb) FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.look_at_tables(jsonb) IS 'Notes what the tables of the models are, and says in the log where rows have changed without it.';
