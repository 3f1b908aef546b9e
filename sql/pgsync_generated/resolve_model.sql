-- The model that a name means, whatever its spelling (key, typename, table) and case:
-- {name in SQL, name in grants, key, whether clients may write it, conflict modes as JSON or null, the field that archiving sets or null,
-- the table and column of the key if ids are integers, else two nulls}; null when there is none.
CREATE OR REPLACE FUNCTION pgsync_generated.resolve_model(p_model text)
  RETURNS text[]
  LANGUAGE plpgsql
  IMMUTABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
{% if models %}
  RETURN CASE pg_catalog.lower(p_model)
{% for s in spellings %}
    WHEN {{ s.literal }} THEN {{ s.answer }}
{% endfor %}
    END;
{% else %}
  RETURN NULL;
{% endif %}
END
$function$;
