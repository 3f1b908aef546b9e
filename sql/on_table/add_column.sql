-- Field {{ field }} of model {{ key }}. A default that is a constant is kept beside the table: no row is written or read.
ALTER TABLE {{ table }} ADD COLUMN {{ column }};
{% if fill_only %}
-- It was for the rows that are there.
-- squawk-ignore ban-drop-default
ALTER TABLE {{ table }} ALTER COLUMN {{ name }} DROP DEFAULT;
{% endif %}
{% if default %}
ALTER TABLE {{ table }} ALTER COLUMN {{ name }} SET DEFAULT {{ default }};
{% endif %}
{% if constraint %}
ALTER TABLE {{ table }} ADD {{ constraint }} NOT VALID;
{% endif %}
