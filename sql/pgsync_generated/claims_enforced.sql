-- Whether claims on a model bind direct SQL too.
CREATE OR REPLACE FUNCTION pgsync_generated.claims_enforced(p_model text)
  RETURNS boolean
  LANGUAGE plpgsql
  IMMUTABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
{% for m in models if m.enforced %}
  IF p_model = '{{ m.name }}' THEN
    RETURN true;
  END IF;
{% endfor %}
  RETURN false;
END
$function$;
