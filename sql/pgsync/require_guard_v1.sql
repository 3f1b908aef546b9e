-- True; refuses a read of a table whose row security somebody has switched off, or whose policy for reads is gone, as tools do that know nothing of
-- it: it would have the rows of every organization. Reads ask it about their table, once for each statement; the planner puts the expression in
-- its place, so that it costs some 10 microseconds.
-- The body is bound when the function is created, so search_path cannot change its meaning.
-- Raises: PS203.
CREATE OR REPLACE FUNCTION pgsync.require_guard_v1(p_table regclass)
  RETURNS boolean
  LANGUAGE sql
  STABLE
  SECURITY INVOKER
  RETURN CASE
    WHEN pg_catalog.row_security_active(p_table::oid) AND EXISTS (
      SELECT
      FROM pg_catalog.pg_policy AS p
      WHERE p.polrelid = p_table
        AND p.polname = 'pgsync_select'
    )
      THEN true
    ELSE pgsync.refuse_unguarded_v1(p_table)
  END;

ALTER FUNCTION pgsync.require_guard_v1(regclass) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.require_guard_v1(regclass) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.require_guard_v1(regclass) TO pgsync_gateway;
COMMENT ON FUNCTION pgsync.require_guard_v1(regclass) IS 'Refuses a read of a table whose row security somebody has taken away.';
