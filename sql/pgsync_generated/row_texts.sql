-- Values of a row of a model by field, as their types print them; null when there is no such row for the caller.
CREATE OR REPLACE FUNCTION pgsync_generated.row_texts(p_model text, p_id text, p_fields text[])
  RETURNS jsonb
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
{% for m in models %}
  IF p_model = '{{ m.name }}' THEN
    RETURN pgsync_generated.{{ m.name }}_texts(p_id, p_fields);
  END IF;
{% endfor %}
  RETURN NULL;
END
$function$;
