-- Model {{ key }}: the copies take the places of their columns. Reads no row but those that the index finds, of which there are none.
DO $copied$
DECLARE
  v_before text := pg_catalog.current_setting('enable_seqscan');
BEGIN
  PERFORM pg_catalog.set_config('enable_seqscan', 'off', true);
{% for c in columns %}
  IF NOT EXISTS (
    SELECT
    FROM pg_catalog.pg_index AS i
    WHERE i.indexrelid = pg_catalog.to_regclass({{ c.missing_literal }})
      AND i.indisvalid
  ) OR EXISTS (
    SELECT
    FROM {{ table }} AS t
    WHERE {{ c.condition_now }}
  ) THEN
    RAISE EXCEPTION USING
      ERRCODE = 'PS202',
      MESSAGE = 'a row has got a value of {{ c.field.name }} meanwhile that is no {{ c.type }}',
      HINT = 'Push again: it says which.';
  END IF;
{% endfor %}
  PERFORM pg_catalog.set_config('enable_seqscan', v_before, true);
END
$copied$;
DROP TRIGGER IF EXISTS zz_pgsync_retype ON {{ table }};
-- squawk-ignore ban-drop-function
DROP FUNCTION IF EXISTS {{ function }}();
{% for p in policies %}
DROP POLICY IF EXISTS {{ p }} ON {{ table }}; -- it names a column; it is made anew below, before anybody can read the table
{% endfor %}
{% for c in columns %}
-- The table is locked for the moment anyway.
-- squawk-ignore require-concurrent-index-deletion
DROP INDEX IF EXISTS {{ c.missing }};
{% if c.before %}
{% for i in c.drops %}
-- squawk-ignore require-concurrent-index-deletion
DROP INDEX IF EXISTS {{ i }};
{% endfor %}
{% if c.check %}
-- squawk-ignore ban-drop-constraint
ALTER TABLE {{ table }} DROP CONSTRAINT IF EXISTS {{ c.check }};
{% endif %}
-- squawk-ignore ban-drop-default
ALTER TABLE {{ table }} ALTER COLUMN {{ c.column }} DROP DEFAULT;
-- squawk-ignore ban-drop-not-null
ALTER TABLE {{ table }} ALTER COLUMN {{ c.column }} DROP NOT NULL;
-- squawk-ignore renaming-column
ALTER TABLE {{ table }} RENAME COLUMN {{ c.column }} TO {{ c.before }};
COMMENT ON COLUMN {{ table }}.{{ c.before }} IS {{ c.before_comment }};
{% else %}
-- The copy says the same of every row, and takes its name in this transaction.
-- squawk-ignore ban-drop-column
ALTER TABLE {{ table }} DROP COLUMN {{ c.column }};
{% endif %}
-- squawk-ignore renaming-column
ALTER TABLE {{ table }} RENAME COLUMN {{ c.beside }} TO {{ c.column }};
COMMENT ON COLUMN {{ table }}.{{ c.column }} IS {{ c.comment }};
{% if c.default %}
ALTER TABLE {{ table }} ALTER COLUMN {{ c.column }} SET DEFAULT {{ c.default }};
{% endif %}
{% for i in c.indexes %}
-- squawk-ignore renaming-object
ALTER INDEX {{ i.beside }} RENAME TO {{ i.name }};
COMMENT ON INDEX {{ i.qualified }} IS {{ i.comment }};
{% endfor %}
{% if c.constraint %}
ALTER TABLE {{ table }} ADD {{ c.constraint }} NOT VALID;
{% endif %}
{% if c.required %}
ALTER TABLE {{ table }} ADD CONSTRAINT {{ c.required }} CHECK ({{ c.column }} IS NOT NULL) NOT VALID;
{% endif %}
{% endfor %}
