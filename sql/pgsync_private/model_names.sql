-- The names under which the logs have a model: the one of now and those that it had before.
CREATE OR REPLACE FUNCTION pgsync_private.model_names(p_model text)
  RETURNS text[]
  LANGUAGE sql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
  SELECT ARRAY[p_model] || ARRAY(
    SELECT r.before
    FROM pgsync_private.model_rename AS r
    WHERE r.now = p_model
    ORDER BY r.before
  );
$function$;

ALTER FUNCTION pgsync_private.model_names(text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.model_names(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.model_names(text) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.model_names(text) IS 'The names under which the logs have a model.';
