-- Which fields of the data do not convert to their column's type, and why: [{"field", "message"}, ..]. Only runs after an error.
CREATE OR REPLACE FUNCTION pgsync_generated.{{ m.name }}_diagnose(p_data jsonb)
  RETURNS jsonb
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_problems jsonb := '[]'::jsonb;
BEGIN
{% for f in m.converted %}
{% if f.type %}
  DECLARE
    v_value {{ f.type }};
  BEGIN
    v_value := {{ f.value }};
{% else %}
  BEGIN
    PERFORM {{ f.value }};
{% endif %}
  EXCEPTION
    WHEN data_exception{% if f.type %} OR check_violation{% endif %} THEN
      v_problems := v_problems || pg_catalog.jsonb_build_object('field', {{ f.literal }}, 'message', SQLERRM);
  END;
{% endfor %}
  RETURN v_problems;
END
$function$;
