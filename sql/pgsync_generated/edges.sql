-- What the memberships of a participant grant it in its organization: the membership's model and row, and the sync group.
-- Every part is found by an index on the organization and whom the row names, where a push made the table.
-- Reads as pgsync_writer, whose row security asks for the organization only, never for groups: so nothing here asks itself.
CREATE OR REPLACE FUNCTION pgsync_generated.edges(p_organization text, p_participant text)
  RETURNS TABLE (model text, row_id text, sync_group text)
  LANGUAGE sql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
{% for e in edges %}
  SELECT
    {{ e.key_literal }}::text,
    t.{{ e.id }}::text,
    {{ e.kind_literal }} || t.{{ e.scope }}::text
  FROM {{ e.table }} AS t
  WHERE t.{{ e.tenant }} = {{ e.tenant_value }}
    AND t.{{ e.subject }} = {{ e.subject_value }}
    AND t.{{ e.scope }} IS NOT NULL
  {% if not loop.last %}
  UNION ALL
  {% endif %}
{% else %}
  SELECT NULL::text, NULL::text, NULL::text
  WHERE false
{% endfor %}
$function$;
