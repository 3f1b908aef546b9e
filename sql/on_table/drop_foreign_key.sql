-- The schema of model {{ key }} no longer has this reference, which pgsync made.
-- squawk-ignore ban-drop-constraint
ALTER TABLE {{ table }} DROP CONSTRAINT IF EXISTS {{ name }};
