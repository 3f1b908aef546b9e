-- Values of field {{ field }} of model {{ key }}: for new rows at once. The check that goes is replaced, or not needed any more.
-- squawk-ignore ban-drop-constraint
ALTER TABLE {{ table }} DROP CONSTRAINT IF EXISTS {{ name }};
{% if constraint %}
ALTER TABLE {{ table }} ADD {{ constraint }} NOT VALID;
{% endif %}
