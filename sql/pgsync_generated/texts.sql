-- Values of a row of {{ m.key }} by field, as their types print them: {"field": text or null, ..}; null when there is no such row for the
-- caller. p_fields null: all fields.
CREATE OR REPLACE FUNCTION pgsync_generated.{{ m.name }}_texts(p_id text, p_fields text[])
  RETURNS jsonb
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_variable -- columns of the table are written with its alias, and may have any name
BEGIN
  RETURN (
    SELECT pg_catalog.jsonb_object_agg(v.field, v.value)
    FROM {{ m.table }} AS t
    CROSS JOIN LATERAL (
      VALUES
{% for f in m.texts %}
        ({{ f.literal }}, CASE WHEN t.{{ f.column }} IS NOT NULL THEN pg_catalog.format('%s', t.{{ f.column }}) END){{ "," if not loop.last }}
{% endfor %}
    ) AS v(field, value)
    WHERE {{ m.where }}
      AND (p_fields IS NULL OR v.field = ANY (p_fields))
  );
END
$function$;
