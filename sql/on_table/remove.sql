-- Takes pgsync off the table of {{ key }}; the table, its rows and everybody else's objects stay.
DO $publication$
BEGIN
  IF EXISTS (
    SELECT
    FROM pg_catalog.pg_publication_tables AS t
    WHERE t.pubname = 'pgsync'
      AND t.schemaname = {{ namespace_literal }}
      AND t.tablename = {{ table_literal }}
  ) THEN
    ALTER PUBLICATION pgsync DROP TABLE {{ table }};
  END IF;
END
$publication$;
DROP TRIGGER IF EXISTS pgsync_10_announce ON {{ table }};
DROP TRIGGER IF EXISTS pgsync_20_keep_tenant ON {{ table }};
DROP TRIGGER IF EXISTS pgsync_90_record ON {{ table }};
DROP TRIGGER IF EXISTS pgsync_91_record_truncate ON {{ table }};
DROP POLICY IF EXISTS pgsync_select ON {{ table }};
DROP POLICY IF EXISTS pgsync_read_grant ON {{ table }};
DROP POLICY IF EXISTS pgsync_insert ON {{ table }};
DROP POLICY IF EXISTS pgsync_update ON {{ table }};
DROP POLICY IF EXISTS pgsync_delete ON {{ table }};
{% if rls_was_off %}
ALTER TABLE {{ table }} DISABLE ROW LEVEL SECURITY;
{% endif %}
DROP POLICY IF EXISTS pgsync_public ON {{ table }};
REVOKE ALL ON TABLE {{ table }} FROM pgsync_writer, pgsync_gateway;
