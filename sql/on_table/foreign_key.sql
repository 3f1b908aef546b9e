-- Reference {{ relation }} of model {{ key }}: a row of the same organization, or none.
DO $foreign_key$
BEGIN
  IF NOT EXISTS (
    SELECT
    FROM pg_catalog.pg_constraint AS c
    WHERE c.conrelid = {{ table_literal }}::regclass
      AND c.conname = {{ name_literal }}
  ) THEN
    ALTER TABLE {{ table }}
      ADD CONSTRAINT {{ name }}
      FOREIGN KEY ({{ columns }})
      REFERENCES {{ target }} ({{ target_columns }})
      {{ action }}
      NOT VALID;
  END IF;
END
$foreign_key$;
ALTER TABLE {{ table }} VALIDATE CONSTRAINT {{ name }};
