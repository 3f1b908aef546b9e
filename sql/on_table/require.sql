-- Field {{ field }} of model {{ key }} is required: for new rows at once. What is there is checked later, without a lock that anybody feels.
ALTER TABLE {{ table }} ADD CONSTRAINT {{ name }} CHECK ({{ column }} IS NOT NULL) NOT VALID;
