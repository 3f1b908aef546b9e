-- The schema key of a model given by its name in SQL; the name itself when the model is gone. Only for messages about conflicts.
CREATE OR REPLACE FUNCTION pgsync_private.model_key(p_model text)
  RETURNS text
  LANGUAGE sql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
  SELECT COALESCE(
    (
      SELECT m.m ->> 'key'
      FROM pgsync_private.schema_version AS s
      CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(s.models) AS m(m)
      WHERE s.state = 'active'
        AND m.m ->> 'name' = p_model
    ),
    p_model);
$function$;

ALTER FUNCTION pgsync_private.model_key(text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.model_key(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.model_key(text) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.model_key(text) IS 'The schema key of a model given by its name in SQL.';
