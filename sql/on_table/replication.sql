-- Changes of {{ key }} go into the log {% if full %}with the whole old row, because visibility depends on columns that can change{% else %}with the old key, which holds all that visibility depends on{% if tenant %}; with the whole old row where the key lacks the organization{% endif %}{% endif %}.
-- What is there already stays if it says at least that much; what it was is kept for the day when pgsync goes.
DO $replica_identity$
DECLARE
{% if full or not tenant %}
  v_full boolean := {{ "true" if full else "false" }};
{% else %}
  v_full boolean := NOT EXISTS (
    SELECT
    FROM pg_catalog.pg_index AS i
    JOIN pg_catalog.pg_attribute AS a
      ON a.attrelid = i.indrelid
      AND a.attnum = ANY (i.indkey)
    WHERE i.indrelid = {{ identity_literal }}::pg_catalog.regclass
      AND i.indisprimary
      AND a.attname = {{ tenant_literal }}
  );
{% endif %}
  v_kind "char" := (SELECT c.relreplident FROM pg_catalog.pg_class AS c WHERE c.oid = {{ identity_literal }}::pg_catalog.regclass);
BEGIN
  IF v_full AND v_kind = 'f' THEN
    RETURN;
  ELSIF NOT v_full AND (v_kind = 'd' OR v_kind = 'f' AND NOT EXISTS (
    SELECT
    FROM pgsync_private.replica_identity_before AS b
    WHERE b.namespace = {{ namespace_literal }}
      AND b.table_name = {{ table_literal }}
  )) THEN
    RETURN;
  END IF;
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
  IF v_full THEN
    ALTER TABLE {{ table }} REPLICA IDENTITY FULL;
  ELSE
    ALTER TABLE {{ table }} REPLICA IDENTITY DEFAULT;
  END IF;
END
$replica_identity$;
SELECT pgsync_private.match_partitions({{ identity_literal }}::pg_catalog.regclass);
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
