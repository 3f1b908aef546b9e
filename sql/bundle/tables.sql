{% if migrate and tables %}


-- ===== tables =====
{% for t in tables %}
SELECT pg_catalog.to_regclass({{ t.literal }}) IS NULL AS make_{{ t.name }}
\gset
{% endfor %}
{% for t in tables %}

\if :make_{{ t.name }}
{{ t.create }}
{%- for i in t.indexes %}

{{ i.create }}
{%- endfor %}

\endif
{% endfor %}
{% for t in tables if t.references %}

\if :make_{{ t.name }}
{%- for r in t.references %}

{{ r.valid }}
{%- endfor %}

\endif
{% endfor %}
{% endif %}
