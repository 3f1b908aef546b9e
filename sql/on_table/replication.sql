-- Changes of {{ key }} go into the log {% if full %}with the whole old row, because visibility depends on columns that can change{% else %}with the old key, which holds all that visibility depends on{% endif %}.
-- What is there already stays if it says at least that much; what it was is kept for the day when pgsync goes.
DO $replica_identity$
DECLARE
  v_kind "char" := (SELECT c.relreplident FROM pg_catalog.pg_class AS c WHERE c.oid = {{ identity_literal }}::pg_catalog.regclass);
BEGIN
{% if full %}
  IF v_kind = 'f' THEN
    RETURN;
  END IF;
{% else %}
  IF v_kind = 'd' OR v_kind = 'f' AND NOT EXISTS (
    SELECT
    FROM pgsync_private.replica_identity_before AS b
    WHERE b.namespace = {{ namespace_literal }}
      AND b.table_name = {{ table_literal }}
  ) THEN
    RETURN;
  END IF;
{% endif %}
  INSERT INTO pgsync_private.replica_identity_before (namespace, table_name, kind, index_name)
  VALUES (
    {{ namespace_literal }},
    {{ table_literal }},
    v_kind,
    (
      SELECT c.relname
      FROM pg_catalog.pg_index AS i
      JOIN pg_catalog.pg_class AS c
        ON c.oid = i.indexrelid
      WHERE i.indrelid = {{ identity_literal }}::pg_catalog.regclass
        AND i.indisreplident
    )
  )
  ON CONFLICT (namespace, table_name) DO NOTHING;
  ALTER TABLE {{ table }} REPLICA IDENTITY {{ "FULL" if full else "DEFAULT" }};
END
$replica_identity$;
-- Writers that began before the table was published must have ended, or their rows would miss the stream: wait for them.
LOCK TABLE {{ table }} IN SHARE ROW EXCLUSIVE MODE;
DO $publication$
BEGIN
  IF NOT EXISTS (
    SELECT
    FROM pg_catalog.pg_publication_tables AS t
    WHERE t.pubname = 'pgsync'
      AND t.schemaname = {{ namespace_literal }}
      AND t.tablename = {{ table_literal }}
  ) THEN
    ALTER PUBLICATION pgsync ADD TABLE {{ table }};
  END IF;
END
$publication$;
