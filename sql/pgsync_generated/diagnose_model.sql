-- Which fields of the data do not convert to their column's type: [{"field", "message"}, ..].
CREATE OR REPLACE FUNCTION pgsync_generated.diagnose(p_model text, p_data jsonb)
  RETURNS jsonb
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
{% for m in models %}
  IF p_model = '{{ m.name }}' THEN
    RETURN pgsync_generated.{{ m.name }}_diagnose(p_data);
  END IF;
{% endfor %}
  RETURN '[]'::jsonb;
END
$function$;
