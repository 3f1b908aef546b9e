-- Who may see and write rows of {{ key }} through pgsync. Restrictive policies bind the pgsync roles only.
-- Row security off, or on only since pgsync came: the permissive policy for everybody keeps what every other role had.
-- Row security of the table's own: the permissive policy lets the pgsync roles in, next to the policies that were there.
DO $public$
BEGIN
  IF EXISTS (
    SELECT
    FROM pg_catalog.pg_class AS c
    WHERE c.oid = {{ identity_literal }}::pg_catalog.regclass
      AND c.relrowsecurity
  ) AND NOT EXISTS (
    SELECT
    FROM pg_catalog.pg_policy AS p
    WHERE p.polrelid = {{ identity_literal }}::pg_catalog.regclass
      AND p.polname = 'pgsync_public'
      AND p.polroles = '{0}'
  ) THEN
    DROP POLICY IF EXISTS pgsync_public ON {{ table }};
    CREATE POLICY pgsync_public ON {{ table }}
      AS PERMISSIVE
      FOR ALL
      TO pgsync_writer, pgsync_gateway
      USING (true)
      WITH CHECK (true);
  ELSE
    DROP POLICY IF EXISTS pgsync_public ON {{ table }};
    CREATE POLICY pgsync_public ON {{ table }}
      AS PERMISSIVE
      FOR ALL
      TO PUBLIC
      USING (true)
      WITH CHECK (true);
    COMMENT ON POLICY pgsync_public ON {{ table }} IS
      'Row security came on with pgsync: this keeps what every other role could do. While it is here, other permissive policies narrow nothing.';
  END IF;
END
$public$;
DROP POLICY IF EXISTS pgsync_select ON {{ table }};
CREATE POLICY pgsync_select ON {{ table }}
  AS RESTRICTIVE
  FOR SELECT
  TO pgsync_gateway
  USING (
    {{ readable | join("\n    AND ") }}
  );
DROP POLICY IF EXISTS pgsync_read_grant ON {{ table }};
CREATE POLICY pgsync_read_grant ON {{ table }}
  AS RESTRICTIVE
  FOR SELECT
  TO pgsync_gateway
  USING ((SELECT pgsync.may_read({{ grant_literal }})));
-- The write functions find what they change by the two policies below. They may make a row that its maker cannot read, such as the first
-- row of a new group: Postgres asks this policy about new rows too, so it asks for no more than the organization.
DROP POLICY IF EXISTS pgsync_select_writer ON {{ table }};
CREATE POLICY pgsync_select_writer ON {{ table }}
  AS RESTRICTIVE
  FOR SELECT
  TO pgsync_writer
  USING ({{ writable }});
DROP POLICY IF EXISTS pgsync_insert ON {{ table }};
CREATE POLICY pgsync_insert ON {{ table }}
  AS RESTRICTIVE
  FOR INSERT
  TO pgsync_writer, pgsync_gateway
  WITH CHECK ({{ writable }});
DROP POLICY IF EXISTS pgsync_update ON {{ table }};
CREATE POLICY pgsync_update ON {{ table }}
  AS RESTRICTIVE
  FOR UPDATE
  TO pgsync_writer, pgsync_gateway
  USING (
    {{ readable | join("\n    AND ") }}
  )
  WITH CHECK ({{ writable }});
DROP POLICY IF EXISTS pgsync_delete ON {{ table }};
CREATE POLICY pgsync_delete ON {{ table }}
  AS RESTRICTIVE
  FOR DELETE
  TO pgsync_writer, pgsync_gateway
  USING (
    {{ readable | join("\n    AND ") }}
  );
ALTER TABLE {{ table }} ENABLE ROW LEVEL SECURITY;
