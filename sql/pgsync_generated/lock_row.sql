-- Locks a row of a model until the end of the transaction, against writers and, if p_exclusive, against sharers. False: there is no such row for the caller.
CREATE OR REPLACE FUNCTION pgsync_generated.lock_row(p_model text, p_id text, p_exclusive boolean)
  RETURNS boolean
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
{% for m in models %}
  IF p_model = '{{ m.name }}' THEN
    RETURN pgsync_generated.{{ m.name }}_lock(p_id, p_exclusive);
  END IF;
{% endfor %}
  RETURN false;
END
$function$;
