-- Deletes a row of {{ m.key }}. Returns deleted, or missing.
-- Raises: PS106 for an id that the key's type does not take; PS410 for a row that a trigger or rule keeps from being deleted; 23503 when other
-- rows refer to it.
CREATE OR REPLACE FUNCTION pgsync_generated.{{ m.name }}_delete(p_id text)
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
{% if m.id_check %}
  {{ m.id_check }}
{% endif %}
  LOOP
    DELETE FROM {{ m.table }} AS t
    WHERE {{ m.where | indent(2) }};
    EXIT WHEN FOUND;
{% set action = "delete" %}
{% include "pgsync_generated/unwritten.sql" %}
  END LOOP;
  RETURN 'deleted';
END
$function$;
