{% if migrate and tables %}


-- ===== tables =====
{% if nulls_one_column %}
SELECT pg_catalog.current_setting('server_version_num')::integer < 150000 AS too_old
\gset
\if :too_old
DO $do$
BEGIN
  RAISE EXCEPTION USING
    ERRCODE = 'PS203',
    MESSAGE = 'a reference is to be set null on delete, and its organization not, which PostgreSQL can from 15 on',
    HINT = 'Give it another on_delete in the schema, and compile it again.';
END
$do$;
\endif
{% endif %}
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
