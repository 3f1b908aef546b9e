-- Field {{ field }} of model {{ key }}. A default that is a constant is kept beside the table: no row is written or read.
ALTER TABLE {{ table }} ADD COLUMN {{ column }};
{% if fill_only %}
ALTER TABLE {{ table }} ALTER COLUMN {{ name }} DROP DEFAULT; -- it was for the rows that are there
{% endif %}
{% if default %}
ALTER TABLE {{ table }} ALTER COLUMN {{ name }} SET DEFAULT {{ default }};
{% endif %}
{% if constraint %}
ALTER TABLE {{ table }} ADD {{ constraint }} NOT VALID;
{% endif %}
