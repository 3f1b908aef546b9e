-- Field {{ field }} of model {{ key }} has another type. Only while the table is empty: nothing is to be rewritten then.
DO $empty$
BEGIN
  IF EXISTS (SELECT FROM {{ table }}) THEN
    RAISE EXCEPTION USING
      ERRCODE = 'PS202',
      MESSAGE = 'the table has rows by now, so a column of it cannot change its type',
      HINT = 'Add a field of the new type, copy the values, then let the old one leave the schema.';
  END IF;
END
$empty$;
-- squawk-ignore ban-drop-constraint
ALTER TABLE {{ table }} DROP CONSTRAINT IF EXISTS {{ check }};
{% for p in policies %}
DROP POLICY IF EXISTS {{ p }} ON {{ table }}; -- it names the column; it is made anew below, before anybody can read the table
{% endfor %}
-- squawk-ignore ban-drop-default
ALTER TABLE {{ table }} ALTER COLUMN {{ column }} DROP DEFAULT;
-- squawk-ignore changing-column-type
ALTER TABLE {{ table }} ALTER COLUMN {{ column }} TYPE {{ type }} USING NULL::{{ type }};
{% if default %}
ALTER TABLE {{ table }} ALTER COLUMN {{ column }} SET DEFAULT {{ default }};
{% endif %}
{% if constraint %}
ALTER TABLE {{ table }} ADD {{ constraint }} NOT VALID;
{% endif %}
