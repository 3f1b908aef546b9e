-- Updates the given fields of a row of {{ m.key }}. Returns updated, or missing.
-- Raises: as {{ m.name }}_check; PS106 for an id that the key's type does not take; PS410 for a row that a trigger or rule keeps from being
-- written; the table's own constraints.
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
  v_is_locked boolean := false;
BEGIN
  v_ignored := pgsync_generated.{{ m.name }}_check(p_data);
{% if m.id_check %}
  {{ m.id_check }}
{% endif %}
{% if m.references %}
{% include "pgsync_generated/references.sql" %}
{% endif %}
  LOOP
    UPDATE {{ m.table }} AS t
    SET
{% for c in m.updated %}
      {{ c.column }} = {{ c.value }}{{ "," if not loop.last }}
{% endfor %}
    WHERE {{ m.where | indent(2) }};
    EXIT WHEN FOUND;
{% set action = "update" %}
{% include "pgsync_generated/unwritten.sql" %}
  END LOOP;
  RETURN 'updated';
END
$function$;
