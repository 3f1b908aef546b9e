-- Whether whoever was granted claim.preempt may take claims on a model from their holders.
CREATE OR REPLACE FUNCTION pgsync_generated.claims_preemptible(p_model text)
  RETURNS boolean
  LANGUAGE plpgsql
  IMMUTABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  RETURN COALESCE(p_model = ANY (ARRAY[{{ preemptible }}]::text[]), false);
END
$function$;
