-- What somebody is told who names a model that the pushed schema does not have: what it is called now, or what to do.
CREATE OR REPLACE FUNCTION pgsync_private.unknown_model(p_model text)
  RETURNS text
  LANGUAGE sql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
  SELECT COALESCE(
    (
      SELECT pg_catalog.format('model %s is called %s now; load the schema again', pg_catalog.to_json(p_model), r.key_now)
      FROM pgsync_private.model_rename AS r
      WHERE pg_catalog.lower(p_model) IN (pg_catalog.lower(r.key_before), pg_catalog.replace(r.before, '_', ''), r.before)
      ORDER BY r.renamed_at DESC
      LIMIT 1
    ),
    pg_catalog.format('model %s is not in the pushed schema; add it and run: pgsync push schema.py', pg_catalog.to_json(p_model)));
$function$;

ALTER FUNCTION pgsync_private.unknown_model(text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.unknown_model(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.unknown_model(text) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.unknown_model(text) IS 'What somebody is told who names a model that the pushed schema does not have.';
