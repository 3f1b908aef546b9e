-- Field {{ before }} of model {{ key }} is {{ now }} from now on; its rows, indexes and constraints stay.
ALTER TABLE {{ table }} RENAME COLUMN {{ column_before }} TO {{ column }};
{% for c in constraints %}
ALTER TABLE {{ table }} RENAME CONSTRAINT {{ c.before }} TO {{ c.now }};
{% endfor %}
{% for i in indexes %}
ALTER INDEX {{ i.before }} RENAME TO {{ i.now }};
{% endfor %}
