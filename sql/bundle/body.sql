{% for m in functions %}


-- ===== {{ m.key }}: functions =====
{% for s in m.statements %}

-- {{ s.kind }} {{ s.identity }}
{{ s.sql }}
{%- endfor %}
{% endfor %}
{% if table_names %}


-- ===== locks =====
-- All at once, before the first of them is needed: nobody waits for us while we wait for somebody else's table.
LOCK TABLE {{ table_names | join(", ") }} IN ACCESS EXCLUSIVE MODE;
{% endif %}
{% include "bundle/references_gone.sql" %}
{% for m in on_tables %}


-- ===== {{ m.key }}: on the table =====
{% for s in m.statements %}

-- {{ s.kind }} {{ s.identity }}{% if s.lock %} (lock: {{ s.lock }}, reads no row){% endif %}

{{ s.sql }}
{%- endfor %}
{% endfor %}


-- ===== all models =====
{% for s in dispatchers %}

-- {{ s.kind }} {{ s.identity }}
{{ s.sql }}
{%- endfor %}
