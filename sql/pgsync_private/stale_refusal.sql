-- The refusal of a commit whose premise does not hold. The gateway replaces observedXid by the sync id of that transaction, or of the commit
-- observedCommit in it. Where no row or model can be named (a truncated table, a forgotten past,
-- what the caller may not know), there is a *. readAt is that of the operation itself, null where something else has moved.
CREATE OR REPLACE FUNCTION pgsync_private.stale_refusal(
  p_change pgsync_private.change,
  p_model_key text,
  p_id text,
  p_group text,
  p_read_at bigint,
  p_operation integer
)
  RETURNS jsonb
  LANGUAGE sql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
  SELECT pgsync_private.refusal(
    'stale_context',
    CASE
      WHEN (p_change).op = '?' THEN 'what this write depended on was read longer ago than changes are remembered: read again'
      WHEN p_group IS NULL THEN pg_catalog.format('%s/%s has changed since it was read: read again', p_model_key, p_id)
      ELSE pg_catalog.format('the group %s has changed since it was read: read again', p_group)
    END,
    pg_catalog.jsonb_build_object(
      'conflicts', pg_catalog.jsonb_build_array(pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
        'model', CASE WHEN p_group IS NULL THEN p_model_key ELSE COALESCE(pgsync_private.model_key((p_change).model), '*') END,
        'id', CASE WHEN p_group IS NULL THEN p_id ELSE COALESCE(NULLIF((p_change).row_id, ''), '*') END,
        'group', p_group,
        'observedXid', CASE WHEN (p_change).op NOT IN ('?', '*') THEN (p_change).xid::text END,
        'observedCommit', (p_change).server_tx_id))),
      'readAt', p_read_at)
      || CASE WHEN p_operation IS NULL THEN '{}' ELSE pg_catalog.jsonb_build_object('operation', p_operation) END);
$function$;

ALTER FUNCTION pgsync_private.stale_refusal(pgsync_private.change, text, text, text, bigint, integer) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.stale_refusal(pgsync_private.change, text, text, text, bigint, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.stale_refusal(pgsync_private.change, text, text, text, bigint, integer) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.stale_refusal(pgsync_private.change, text, text, text, bigint, integer) IS 'The refusal of a commit whose premise does not hold.';
