-- Updates the given fields of a row of {{ m.key }}. Returns updated, or missing.
-- Raises: as {{ m.name }}_check; PS106 for an id that the key's type does not take; the table's own constraints.
CREATE OR REPLACE FUNCTION pgsync_generated.{{ m.name }}_update(p_id text, p_data jsonb)
  RETURNS text
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_variable -- columns of the table are written with its alias, and may have any name
DECLARE
  v_ignored text; -- an assignment is cheaper than PERFORM, which goes through the executor
BEGIN
  v_ignored := pgsync_generated.{{ m.name }}_check(p_data);
{% if m.id_check %}
  {{ m.id_check }}
{% endif %}
{% if m.references %}
{% include "pgsync_generated/references.sql" %}
{% endif %}
  UPDATE {{ m.table }} AS t
  SET
{% for c in m.updated %}
    {{ c.column }} = {{ c.value }}{{ "," if not loop.last }}
{% endfor %}
  WHERE {{ m.where }};
  RETURN CASE WHEN FOUND THEN 'updated' ELSE 'missing' END;
END
$function$;
