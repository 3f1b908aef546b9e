-- Model {{ key }}: takes out what a change of a type left that was given up. The columns beside are as they were.
{% if function %}
DROP TRIGGER IF EXISTS zz_pgsync_retype ON {{ table }};
-- squawk-ignore ban-drop-function
DROP FUNCTION IF EXISTS {{ function }}();
{% endif %}
{% for c in columns %}
-- squawk-ignore ban-drop-column
ALTER TABLE {{ table }} DROP COLUMN {{ c }};
{% endfor %}
