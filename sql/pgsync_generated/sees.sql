-- Whether the caller, whose identity has been set, sees a row of {{ m.key }}: what the policies say, for functions that run as another role.
CREATE OR REPLACE FUNCTION pgsync_generated.{{ m.name }}_sees(p_id text)
  RETURNS boolean
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_variable -- columns of the table are written with its alias, and may have any name
{% if m.id_check %}
DECLARE
  v_ignored text; -- an assignment is cheaper than PERFORM, which goes through the executor
{% endif %}
BEGIN
{% if m.id_check %}
  {{ m.id_check }}
{% endif %}
  RETURN EXISTS (
    SELECT
    FROM {{ m.table }} AS t
    WHERE {{ m.where }}
      AND {{ m.readable | join("\n      AND ") }}
  );
END
$function$;
