-- Field {{ field }} of model {{ key }}: the check that has been validated proves it, so that no row is read.
ALTER TABLE {{ table }} ALTER COLUMN {{ column }} SET NOT NULL;
ALTER TABLE {{ table }} DROP CONSTRAINT {{ name }};
