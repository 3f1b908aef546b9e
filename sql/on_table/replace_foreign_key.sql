-- The same reference is back at once, for every new row.
-- squawk-ignore ban-drop-constraint
ALTER TABLE {{ table }} DROP CONSTRAINT {{ name }};
{{ add }}
