-- A JSON array of texts as an array; null for null, absent or no array.
CREATE OR REPLACE FUNCTION pgsync_private.texts_of(p_array jsonb)
  RETURNS text[]
  LANGUAGE sql
  IMMUTABLE
  PARALLEL SAFE
  SECURITY INVOKER
  RETURN CASE
    WHEN pg_catalog.jsonb_typeof(p_array) = 'array'
      THEN ARRAY(SELECT t.t FROM pg_catalog.jsonb_array_elements_text(p_array) WITH ORDINALITY AS t(t, n) ORDER BY t.n)
  END;

ALTER FUNCTION pgsync_private.texts_of(jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.texts_of(jsonb) FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.texts_of(jsonb) IS 'A JSON array of texts as an array.';
