-- How many characters an array of numbers has, at most, when Postgres prints it; null for what is no array. Numbers in JSON have been written
-- out already; those that came as texts still have their exponents, and '1e-16383' is 16 KB. The log carries rows as text, and none of more
-- than 1 GB: who could store one would stop the stream of everybody.
CREATE OR REPLACE FUNCTION pgsync_private.written_out_bytes(p_numbers jsonb)
  RETURNS bigint
  LANGUAGE sql
  IMMUTABLE
  PARALLEL SAFE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
  SELECT pg_catalog.sum(
    pg_catalog.octet_length(e.e)
    + COALESCE(pg_catalog.replace(pg_catalog.substring(e.e, '[eE][+-]?[0_]*([0-9_]{1,9})\s*$'), '_', '')::bigint, 0))::bigint
  FROM pg_catalog.jsonb_array_elements_text(CASE WHEN pg_catalog.jsonb_typeof(p_numbers) = 'array' THEN p_numbers END) AS e(e);
$function$;

ALTER FUNCTION pgsync_private.written_out_bytes(jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.written_out_bytes(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.written_out_bytes(jsonb) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.written_out_bytes(jsonb) IS 'How many characters an array of numbers has when Postgres prints it.';
