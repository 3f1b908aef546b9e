-- Whether claims on a model bind direct SQL too.
CREATE OR REPLACE FUNCTION pgsync_generated.claims_enforced(p_model text)
  RETURNS boolean
  LANGUAGE plpgsql
  IMMUTABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  RETURN COALESCE(p_model = ANY (ARRAY[{{ enforced }}]::text[]), false);
END
$function$;
