-- {{ why }}
-- squawk-ignore ban-drop-not-null
ALTER TABLE {{ table }} ALTER COLUMN {{ column }} DROP NOT NULL;
