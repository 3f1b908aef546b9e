-- Locks a row of {{ m.key }} until the end of the transaction, against writers and, if p_exclusive, against sharers. False: there is no such row for the caller.
CREATE OR REPLACE FUNCTION pgsync_generated.{{ m.name }}_lock(p_id text, p_exclusive boolean)
  RETURNS boolean
  LANGUAGE plpgsql
  VOLATILE
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
  IF p_exclusive THEN
    PERFORM
    FROM {{ m.table }} AS t
    WHERE {{ m.where }}
    FOR UPDATE;
  ELSE
    PERFORM
    FROM {{ m.table }} AS t
    WHERE {{ m.where }}
    FOR SHARE;
  END IF;
  RETURN FOUND;
END
$function$;
