-- Values of field {{ field }} of model {{ key }}: for new rows at once.
ALTER TABLE {{ table }} DROP CONSTRAINT IF EXISTS {{ name }};
{% if constraint %}
ALTER TABLE {{ table }} ADD {{ constraint }} NOT VALID;
{% endif %}
