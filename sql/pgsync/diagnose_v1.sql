-- After a conversion failed: which fields of the data do not convert, and why. [{"field", "message"}, ..]
-- SECURITY DEFINER: the generated functions are out of the gateway's reach.
CREATE OR REPLACE FUNCTION pgsync.diagnose_v1(p_model text, p_data jsonb)
  RETURNS jsonb
  LANGUAGE plpgsql
  STABLE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  RETURN pgsync_generated.diagnose((pgsync_generated.resolve_model(p_model))[1], p_data);
END
$function$;

ALTER FUNCTION pgsync.diagnose_v1(text, jsonb) OWNER TO pgsync_writer;
REVOKE ALL ON FUNCTION pgsync.diagnose_v1(text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.diagnose_v1(text, jsonb) TO pgsync_gateway;
COMMENT ON FUNCTION pgsync.diagnose_v1(text, jsonb) IS 'Which fields of the data do not convert to their column''s type, and why.';
