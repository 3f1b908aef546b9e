-- Whether whoever was granted claim.preempt may take claims on a model from their holders.
CREATE OR REPLACE FUNCTION pgsync_generated.claims_preemptible(p_model text)
  RETURNS boolean
  LANGUAGE plpgsql
  IMMUTABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
{% for m in models if m.preemptible %}
  IF p_model = '{{ m.name }}' THEN
    RETURN true;
  END IF;
{% endfor %}
  RETURN false;
END
$function$;
