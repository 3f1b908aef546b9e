-- Who may see and write rows of {{ key }} through pgsync. Restrictive policies bind the pgsync roles only.
{% if rls_was_off %}
-- Row security was off: the permissive policy for everybody keeps what every other role had.
DROP POLICY IF EXISTS pgsync_public ON {{ table }};
CREATE POLICY pgsync_public ON {{ table }}
  AS PERMISSIVE
  FOR ALL
  TO PUBLIC
  USING (true)
  WITH CHECK (true);
COMMENT ON POLICY pgsync_public ON {{ table }} IS
  'Row security came on with pgsync: this keeps what every other role could do. While it is here, other permissive policies narrow nothing.';
{% else %}
-- Row security was on before: the permissive policy lets the pgsync roles in, next to the policies that were there.
DROP POLICY IF EXISTS pgsync_public ON {{ table }};
CREATE POLICY pgsync_public ON {{ table }}
  AS PERMISSIVE
  FOR ALL
  TO pgsync_writer, pgsync_gateway
  USING (true)
  WITH CHECK (true);
{% endif %}
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
