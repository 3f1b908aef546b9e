-- Reference {{ relation }} of model {{ key }}: a row of the same organization, or none.
ALTER TABLE {{ table }}
  ADD CONSTRAINT {{ name }}
  FOREIGN KEY ({{ columns }})
  REFERENCES {{ target }} ({{ target_columns }})
  {{ action }}{{ "" if valid else "\n  NOT VALID" }};
COMMENT ON CONSTRAINT {{ name }} ON {{ table }} IS {{ comment }};
