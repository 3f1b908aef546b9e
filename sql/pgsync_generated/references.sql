{% for r in m.references %}
  -- Postgres checks a foreign key past row security; a row of another organization has to look exactly like a missing one.
  IF p_data ->> {{ r.literal }} IS NOT NULL{% if r.own %} AND p_data ->> {{ r.literal }} IS DISTINCT FROM p_id{% endif %} AND NOT EXISTS (
    SELECT
    FROM {{ r.table }} AS r
    WHERE r.{{ r.tenant }} = {{ r.tenant_value }}
      AND r.{{ r.id }} = {{ r.value }}
  ) THEN
    RAISE EXCEPTION USING
      ERRCODE = 'foreign_key_violation',
      MESSAGE = pg_catalog.format('%s.%s: no row %s in %s', {{ m.key_literal }}, {{ r.literal }}, p_data -> {{ r.literal }}, {{ r.target_literal }}),
      HINT = 'Create it first, or in an earlier operation of the same commit.',
      COLUMN = {{ r.literal }},
      TABLE = {{ m.table_literal }};
  END IF;
{% endfor %}
