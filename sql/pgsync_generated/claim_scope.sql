-- Whose claims meet on a row of a model: those of the caller's organization, or of everybody (empty) when all organizations share the model.
CREATE OR REPLACE FUNCTION pgsync_generated.claim_scope(p_model text, p_organization text)
  RETURNS text
  LANGUAGE plpgsql
  IMMUTABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
{% for m in models if m.shared %}
  IF p_model = '{{ m.name }}' THEN
    RETURN '';
  END IF;
{% endfor %}
  RETURN p_organization;
END
$function$;
