-- Whether the caller, whose identity has been set, sees a row of a model.
CREATE OR REPLACE FUNCTION pgsync_generated.sees_row(p_model text, p_id text)
  RETURNS boolean
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
{% for m in models %}
  IF p_model = '{{ m.name }}' THEN
    RETURN pgsync_generated.{{ m.name }}_sees(p_id);
  END IF;
{% endfor %}
  RETURN false;
END
$function$;
