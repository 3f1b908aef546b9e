-- Field {{ field }} of model {{ key }} became optional.
ALTER TABLE {{ table }} ALTER COLUMN {{ column }} DROP NOT NULL;
