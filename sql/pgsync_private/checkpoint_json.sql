-- A checkpoint as listeners get it: {"lsn", "syncId", "snapshot", "schemaVersion"}.
CREATE OR REPLACE FUNCTION pgsync_private.checkpoint_json(p_checkpoint pgsync_private.checkpoint)
  RETURNS jsonb
  LANGUAGE sql
  IMMUTABLE
  SECURITY INVOKER
  RETURN pg_catalog.jsonb_build_object(
    'lsn', (p_checkpoint).lsn::text,
    'syncId', (p_checkpoint).sync_id,
    'snapshot', (p_checkpoint).snapshot,
    'schemaVersion', (p_checkpoint).schema_version);

ALTER FUNCTION pgsync_private.checkpoint_json(pgsync_private.checkpoint) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.checkpoint_json(pgsync_private.checkpoint) FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.checkpoint_json(pgsync_private.checkpoint) IS 'A checkpoint as listeners get it.';
