-- Takes pgsync off the table of {{ key }}; the table, its rows and everybody else's objects stay.
REVOKE ALL ON TABLE {{ table }} FROM pgsync_writer, pgsync_gateway;
DO $sequences$
DECLARE
  v_sequence record;
BEGIN
  FOR v_sequence IN
{% include "on_table/sequences.sql" %}
      AND EXISTS (
        SELECT
        FROM pg_catalog.aclexplode(s.relacl) AS a
        WHERE a.grantee = 'pgsync_writer'::pg_catalog.regrole
      )
    ORDER BY name
  LOOP
    EXECUTE pg_catalog.format('REVOKE ALL ON SEQUENCE %s FROM pgsync_writer', v_sequence.name);
  END LOOP;
END
$sequences$;
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
DROP TRIGGER IF EXISTS pgsync_11_follow_search_path ON {{ table }};
DROP TRIGGER IF EXISTS pgsync_20_keep_tenant ON {{ table }};
DROP TRIGGER IF EXISTS pgsync_30_keep_claims ON {{ table }};
DROP TRIGGER IF EXISTS pgsync_31_keep_claims ON {{ table }};
DROP TRIGGER IF EXISTS pgsync_90_record ON {{ table }};
DROP TRIGGER IF EXISTS pgsync_91_record_truncate ON {{ table }};
DROP POLICY IF EXISTS pgsync_select ON {{ table }};
DROP POLICY IF EXISTS pgsync_read_grant ON {{ table }};
DROP POLICY IF EXISTS pgsync_select_writer ON {{ table }};
DROP POLICY IF EXISTS pgsync_insert ON {{ table }};
DROP POLICY IF EXISTS pgsync_update ON {{ table }};
DROP POLICY IF EXISTS pgsync_delete ON {{ table }};
-- Row security that was off before goes off again, unless somebody has made policies of his own since.
DO $row_security$
BEGIN
  IF EXISTS (
    SELECT
    FROM pg_catalog.pg_policy AS p
    WHERE p.polrelid = {{ identity_literal }}::pg_catalog.regclass
      AND p.polname = 'pgsync_public'
      AND p.polroles = '{0}'
  ) AND NOT EXISTS (
    SELECT
    FROM pg_catalog.pg_policy AS p
    WHERE p.polrelid = {{ identity_literal }}::pg_catalog.regclass
      AND p.polname <> 'pgsync_public'
  ) THEN
    ALTER TABLE {{ table }} DISABLE ROW LEVEL SECURITY;
  END IF;
END
$row_security$;
DROP POLICY IF EXISTS pgsync_public ON {{ table }};
DO $replica_identity$
DECLARE
  v_before pgsync_private.replica_identity_before;
BEGIN
  DELETE FROM pgsync_private.replica_identity_before AS b
  WHERE b.namespace = {{ namespace_literal }}
    AND b.table_name = {{ table_literal }}
  RETURNING b.* INTO v_before;
  IF v_before.kind = 'd' THEN
    ALTER TABLE {{ table }} REPLICA IDENTITY DEFAULT;
  ELSIF v_before.kind = 'n' THEN
    ALTER TABLE {{ table }} REPLICA IDENTITY NOTHING;
  ELSIF v_before.kind = 'i' AND v_before.index_name IS NOT NULL THEN
    EXECUTE pg_catalog.format('ALTER TABLE {{ table }} REPLICA IDENTITY USING INDEX %I', v_before.index_name);
  END IF;
END
$replica_identity$;
