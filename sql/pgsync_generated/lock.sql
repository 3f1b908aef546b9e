-- Locks a row of {{ m.key }} until the end of the transaction. False: there is no such row for the caller.
CREATE OR REPLACE FUNCTION pgsync_generated.{{ m.name }}_lock(p_id text)
  RETURNS boolean
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = ''
AS $function$
BEGIN
{{ m.id_check }}
  PERFORM
  FROM {{ m.table }} AS t
  WHERE {{ m.where }}
  FOR UPDATE;
  RETURN FOUND;
END
$function$;
