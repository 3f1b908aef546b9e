-- Field {{ before }} of model {{ key }} is {{ now }} from now on; its rows, indexes and constraints stay. Asked for by name.
-- squawk-ignore renaming-column
ALTER TABLE {{ table }} RENAME COLUMN {{ column_before }} TO {{ column }};
{% for c in constraints %}
-- squawk-ignore renaming-object
ALTER TABLE {{ table }} RENAME CONSTRAINT {{ c.before }} TO {{ c.now }};
{% endfor %}
{% for i in indexes %}
ALTER INDEX {{ i.before }} RENAME TO {{ i.now }};
{% endfor %}
