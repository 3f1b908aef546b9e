-- Table of model {{ key }}, which was {{ before }}; its rows, indexes and constraints stay.
{% if there %}
-- squawk-ignore renaming-table
ALTER TABLE {{ there }} RENAME TO {{ name }};
{% endif %}
{% for c in constraints %}
-- squawk-ignore renaming-object
ALTER TABLE {{ table }} RENAME CONSTRAINT {{ c.before }} TO {{ c.now }};
{% endfor %}
{% for i in indexes %}
-- squawk-ignore renaming-object
ALTER INDEX {{ i.before }} RENAME TO {{ i.now }};
{% endfor %}
{% if sequence %}
-- squawk-ignore renaming-object
ALTER SEQUENCE IF EXISTS {{ sequence }} RENAME TO {{ sequence_now }};
{% endif %}
COMMENT ON TABLE {{ table }} IS {{ mark }};
