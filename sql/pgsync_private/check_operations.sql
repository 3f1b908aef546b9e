-- What is wrong with a list of grants: null, or the refusal. A grant is <model>.<verb>, lower-case; the model may be *.
CREATE OR REPLACE FUNCTION pgsync_private.check_operations(p_operations text[])
  RETURNS jsonb
  LANGUAGE plpgsql
  IMMUTABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_operation text;
BEGIN
  FOREACH v_operation IN ARRAY p_operations
  LOOP
    IF v_operation IS NULL
      OR v_operation !~ '^[^.[:space:]]+\.(read|create|update|delete)$'
      OR v_operation <> pg_catalog.lower(v_operation)
    THEN
      RETURN pgsync_private.refusal(
        'invalid_body',
        pg_catalog.format(
          '%s is no operation: write the lower-cased name of a model, a dot, and read, create, update or delete',
          COALESCE(pg_catalog.to_json(v_operation)::text, 'null')),
        '{"param": "operations"}');
    END IF;
  END LOOP;
  RETURN NULL;
END
$function$;

ALTER FUNCTION pgsync_private.check_operations(text[]) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.check_operations(text[]) FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.check_operations(text[]) IS 'What is wrong with a list of grants; null when nothing is.';
