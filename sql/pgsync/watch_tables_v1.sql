-- Looks whether rows of a model have changed without the log telling, and if so says it in the log (pgsync_private.look_at_tables). Nobody is
-- waited for: while a push or another gateway looks, it is theirs to say.
-- Returns what a push has to put right: [{"model", "problem", "broken"}]. For listeners, every few seconds.
-- SECURITY DEFINER: states are private, and only we add messages under our prefix.
CREATE OR REPLACE FUNCTION pgsync.watch_tables_v1()
  RETURNS jsonb
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  IF EXISTS (
    SELECT
    FROM pgsync_private.table_states() AS t
    LEFT JOIN pgsync_private.table_state AS k
      ON k.model_key = t.model_key
    WHERE k.state IS DISTINCT FROM t.state
      OR pg_catalog.jsonb_strip_nulls(k.fields) <> t.fields
  ) AND pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtextextended('pgsync tables', 0)) THEN
    PERFORM pgsync_private.look_at_tables();
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
