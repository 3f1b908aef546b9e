-- Reads the rows that were there before, beside everybody who reads and writes.
ALTER TABLE {{ table }} VALIDATE CONSTRAINT {{ name }};
