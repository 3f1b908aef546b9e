-- The advisory lock that writers of an organization share and a commit with a premise on a group takes alone. Null: the shared models.
CREATE OR REPLACE FUNCTION pgsync_private.organization_lock(p_organization text)
  RETURNS bigint
  LANGUAGE sql
  IMMUTABLE
  PARALLEL SAFE
  SECURITY INVOKER
  RETURN pg_catalog.hashtextextended('pgsync organization ' || COALESCE(p_organization, ''), 0);

ALTER FUNCTION pgsync_private.organization_lock(text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.organization_lock(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.organization_lock(text) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.organization_lock(text) IS 'The advisory lock that writers of an organization share.';
