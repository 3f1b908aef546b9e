-- Values of field {{ field }} of model {{ key }}.
ALTER TABLE {{ table }} DROP CONSTRAINT IF EXISTS {{ name }};
{% if constraint %}
ALTER TABLE {{ table }} ADD {{ constraint }} NOT VALID;
ALTER TABLE {{ table }} VALIDATE CONSTRAINT {{ name }};
{% endif %}
