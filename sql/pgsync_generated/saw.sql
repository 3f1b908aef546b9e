-- Whether the caller, whose identity has been set, saw a row of {{ m.key }} when it had these values: what the policies say of it, without grants.
-- p_row: what the change log keeps. Null: not known, because an earlier version of the schema kept other columns.
CREATE OR REPLACE FUNCTION pgsync_generated.{{ m.name }}_saw(p_row jsonb)
  RETURNS boolean
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_column
BEGIN
  IF NOT p_row ?& ARRAY[{{ m.kept_names }}] THEN
    RETURN NULL;
  END IF;
  RETURN EXISTS (
    SELECT
    FROM pg_catalog.jsonb_to_record(p_row) AS t(
{% for c in m.kept %}
      {{ c.column }} {{ c.type }}{{ "," if not loop.last }}
{% endfor %}
    )
    WHERE {{ m.readable | join("\n      AND ") }}
  );
END
$function$;
