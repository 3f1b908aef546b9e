-- Field {{ field }} of model {{ key }}.
ALTER TABLE {{ table }} ADD COLUMN IF NOT EXISTS {{ column }};
{% for c in constraints %}
ALTER TABLE {{ table }} ADD {{ c }} NOT VALID;
{% endfor %}
{% for c in validations %}
ALTER TABLE {{ table }} VALIDATE CONSTRAINT {{ c }};
{% endfor %}
