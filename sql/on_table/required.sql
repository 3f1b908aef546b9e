-- Field {{ field }} of model {{ key }}: the check that has been validated proves it, so that no row is read, and goes. Each can be repeated.
-- squawk-ignore prefer-robust-stmts
ALTER TABLE {{ table }} ALTER COLUMN {{ column }} SET NOT NULL;
-- squawk-ignore ban-drop-constraint
ALTER TABLE {{ table }} DROP CONSTRAINT IF EXISTS {{ name }};
