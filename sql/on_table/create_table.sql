-- Table of model {{ key }}.
CREATE TABLE IF NOT EXISTS {{ table }} (
{% for c in columns %}
  {{ c }},
{% endfor %}
{% for c in constraints %}
  {{ c }}{{ "," if not loop.last }}
{% endfor %}
);
