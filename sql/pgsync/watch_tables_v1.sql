-- Looks whether rows of a model have changed without the log telling (see pgsync_private.table_states), and if so says it in the log, once
-- for all gateways: there it counts as a truncation does, so everybody loads the rows anew and older premises are stale.
-- Returns what a push has to put right: [{"model", "problem", "broken"}]. For listeners, every few seconds.
-- SECURITY DEFINER: states are private, and only we add messages under our prefix.
CREATE OR REPLACE FUNCTION pgsync.watch_tables_v1()
  RETURNS jsonb
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_changed jsonb;
BEGIN
  IF EXISTS (
    SELECT
    FROM pgsync_private.table_states() AS t
    LEFT JOIN pgsync_private.table_state AS k
      ON k.model_key = t.model_key
    WHERE k.state IS DISTINCT FROM t.state
  ) THEN
    -- Two gateways that see it at once: the second waits for the row of the first and finds nothing left to say.
    WITH changed AS (
      INSERT INTO pgsync_private.table_state AS k (model_key, state)
      SELECT
        t.model_key,
        t.state
      FROM pgsync_private.table_states() AS t
      ORDER BY t.model_key
      ON CONFLICT (model_key) DO UPDATE
      SET
        state = EXCLUDED.state,
        noticed_at = pg_catalog.clock_timestamp()
      WHERE k.state <> EXCLUDED.state
      RETURNING
        k.model_key,
        k.xmax <> 0 AS was_known
    )
    SELECT pg_catalog.jsonb_agg(c.model_key ORDER BY c.model_key)
    INTO v_changed
    FROM changed AS c
    WHERE c.was_known;

    IF v_changed IS NOT NULL THEN
      INSERT INTO pgsync_private.change (model, row_id, op, role_name)
      SELECT
        t.model_name,
        '',
        'T',
        pgsync_private.role_name()
      FROM pgsync_private.table_states() AS t
      WHERE v_changed ? t.model_key
      ORDER BY t.model_key;
      PERFORM pg_catalog.pg_logical_emit_message(
        true,
        'pgsync',
        pg_catalog.jsonb_build_object(
          't', 'r',
          'w', pgsync_private.message_token(),
          'models', v_changed,
          'snap', pg_catalog.pg_current_snapshot()::text)::text);
    END IF;
  END IF;

  RETURN (
    SELECT COALESCE(
      pg_catalog.jsonb_agg(
        pg_catalog.jsonb_build_object('model', t.model_key, 'problem', t.problem, 'broken', t.is_broken) ORDER BY t.model_key),
      '[]')
    FROM pgsync_private.table_states() AS t
    WHERE t.problem IS NOT NULL
  );
END
$function$;

ALTER FUNCTION pgsync.watch_tables_v1() OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.watch_tables_v1() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.watch_tables_v1() TO pgsync_listener;
COMMENT ON FUNCTION pgsync.watch_tables_v1() IS 'Says in the log when rows of a model have changed without it; returns what a push has to put right.';
