-- Table of model {{ key }}. The comment tells later migrations that they may alter it.
CREATE TABLE {{ table }} (
{% for c in columns %}
  {{ c }},
{% endfor %}
{% for c in constraints %}
  {{ c }}{{ "," if not loop.last }}
{% endfor %}
);
COMMENT ON TABLE {{ table }} IS '{{ mark }}';
