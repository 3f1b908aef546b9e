-- Runs one operation of a commit on its model. Returns created, exists, updated, deleted or missing.
CREATE OR REPLACE FUNCTION pgsync_generated.apply_operation(p_action text, p_model text, p_id text, p_data jsonb)
  RETURNS text
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
{% for m in models %}
  IF p_model = '{{ m.name }}' THEN
    IF p_action = 'update' THEN
      RETURN pgsync_generated.{{ m.name }}_update(p_id, p_data);
    ELSIF p_action = 'create' THEN
      RETURN pgsync_generated.{{ m.name }}_create(p_id, p_data);
    ELSIF p_action = 'delete' THEN
      RETURN pgsync_generated.{{ m.name }}_delete(p_id);
{% if m.archive %}
    ELSIF p_action = 'archive' THEN
      RETURN pgsync_generated.{{ m.name }}_update(p_id, {{ m.archive }});
    ELSIF p_action = 'unarchive' THEN
      RETURN pgsync_generated.{{ m.name }}_update(p_id, {{ m.unarchive }});
{% endif %}
    END IF;
  END IF;
{% endfor %}
  RAISE EXCEPTION USING
    ERRCODE = 'PS901',
    MESSAGE = pg_catalog.format('no operation %s on model %s', p_action, p_model),
    HINT = 'Push the schema again.';
END
$function$;
