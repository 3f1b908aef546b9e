-- The operations that a mint request asks for: those it names, or the verbs of activeSchemaOperations on every model of the active
-- schema. Null: it names none.
CREATE OR REPLACE FUNCTION pgsync_private.requested_operations(p_request jsonb)
  RETURNS text[]
  LANGUAGE sql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
  SELECT CASE
    WHEN pg_catalog.jsonb_typeof(p_request -> 'activeSchemaOperations') = 'array' THEN ARRAY(
      SELECT pg_catalog.lower(m.m ->> 'typename') || '.' || v.v
      FROM pgsync_private.schema_version AS s
      CROSS JOIN pg_catalog.jsonb_array_elements(s.models) WITH ORDINALITY AS m(m, n)
      CROSS JOIN pg_catalog.jsonb_array_elements_text(p_request -> 'activeSchemaOperations') WITH ORDINALITY AS v(v, n)
      WHERE s.state = 'active'
      ORDER BY m.n, v.n
    )
    ELSE pgsync_private.texts_of(p_request -> 'operations')
  END;
$function$;

ALTER FUNCTION pgsync_private.requested_operations(jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.requested_operations(jsonb) FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.requested_operations(jsonb) IS 'The operations that a mint request asks for.';
