-- The guarded commit that the statement is part of (its serverTxId), or null. Any role may set the settings that carry it, so they count only
-- for a role that may call pgsync.commit_v1 in the first place.
CREATE OR REPLACE FUNCTION pgsync_private.current_commit()
  RETURNS text
  LANGUAGE sql
  STABLE
  SECURITY INVOKER
  RETURN CASE
    WHEN pgsync_private.role_name() = 'pgsync_gateway' -- pg_has_role costs as much as the rest of the trigger
      OR pg_catalog.pg_has_role(pgsync_private.role_name()::pg_catalog.name, 'pgsync_gateway', 'USAGE')
      THEN NULLIF(pg_catalog.current_setting('pgsync.commit', true), '')
  END;

ALTER FUNCTION pgsync_private.current_commit() OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.current_commit() FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.current_commit() IS 'The guarded commit that the statement is part of, or null.';
