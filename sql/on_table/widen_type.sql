-- Field {{ field }} of model {{ key }}: its values are stored as the new type stores them. Only the catalog changes, no row is read or written.
{% if check %}
-- squawk-ignore ban-drop-constraint
ALTER TABLE {{ table }} DROP CONSTRAINT IF EXISTS {{ check }};
{% endif %}
{% for p in policies %}
DROP POLICY IF EXISTS {{ p }} ON {{ table }}; -- it names the column; it is made anew below, before anybody can read the table
{% endfor %}
-- squawk-ignore changing-column-type
ALTER TABLE {{ table }} ALTER COLUMN {{ column }} TYPE {{ type }};
{% if default %}
ALTER TABLE {{ table }} ALTER COLUMN {{ column }} SET DEFAULT {{ default }};
{% endif %}
{% if constraint %}
ALTER TABLE {{ table }} ADD {{ constraint }} NOT VALID;
{% endif %}
