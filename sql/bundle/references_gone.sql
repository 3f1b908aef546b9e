{% if migrate and tables %}


-- ===== references that the schema no longer has =====
-- Those that pgsync made on tables that it made; their comments say so. psql runs each statement that this selects.
SELECT pg_catalog.format('ALTER TABLE %s DROP CONSTRAINT %I', c.conrelid::pg_catalog.regclass, c.conname)
FROM pg_catalog.pg_constraint AS c
JOIN (
  VALUES
{% for t in tables %}
    ({{ t.literal }}, ARRAY[{{ t.references | map(attribute="literal") | join(", ") }}]::text[]){{ "," if not loop.last }}
{% endfor %}
) AS w(name, wanted)
  ON c.conrelid = pg_catalog.to_regclass(w.name)
WHERE c.contype = 'f'
  AND c.conname <> ALL (w.wanted)
  AND pg_catalog.obj_description(c.oid, 'pg_constraint') LIKE '[pgsync] %'
  AND pg_catalog.obj_description(c.conrelid, 'pg_class') LIKE '[pgsync model=%'
ORDER BY 1
\gexec
{% endif %}
