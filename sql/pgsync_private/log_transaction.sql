-- Changes of one transaction that the caller may know of, as the logs carry them, in the order of their sync ids.
-- p_models: by name in SQL, what pgsync_private.log_models says of the models asked for. p_after: only later sync ids.
-- The sync ids of a transaction are given to its changes in the order in which they were recorded. That is the order of the stream, also
-- through cascades of foreign keys; a trigger of the application that itself writes synced rows may exchange ids within its transaction.
CREATE OR REPLACE FUNCTION pgsync_private.log_transaction(
  p_xid xid8,
  p_first bigint,
  p_last bigint,
  p_after bigint,
  p_models jsonb,
  p_op text[],
  p_since timestamptz
)
  RETURNS jsonb[]
  LANGUAGE sql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off' -- a partition that was empty when it was last analyzed looks free to scan
AS $function$
  SELECT COALESCE(
    pg_catalog.array_agg(
      pg_catalog.jsonb_build_object(
        'object', 'log_event',
        'id', c.sync_id,
        'at', pgsync_private.iso(c.changed_at),
        'model', p_models -> c.model ->> 'typename',
        'op', CASE c.op WHEN 'I' THEN 'create' WHEN 'U' THEN 'update' ELSE 'delete' END,
        'recordId', CASE c.op WHEN 'T' THEN '*' ELSE c.row_id END,
        'actor', CASE
          WHEN c.server_tx_id IS NULL THEN 'system:' || c.role_name
          ELSE c.actor_kind || ':' || c.actor_id
        END)
      ORDER BY c.sync_id, c.seq),
    ARRAY[]::jsonb[])
  FROM (
    SELECT
      h.*,
      LEAST(p_first + pg_catalog.row_number() OVER (ORDER BY h.seq) - 1, p_last) AS sync_id
    FROM pgsync_private.change AS h
    WHERE h.xid = p_xid
      AND h.op <> 'S'
  ) AS c
  WHERE c.sync_id > p_after
    AND p_models ? c.model
    AND (p_op IS NULL OR c.op::text = ANY (p_op))
    AND (p_since IS NULL OR c.changed_at >= p_since)
    AND (
      c.op = 'T'
      OR (
        (
          c.organization_id = pgsync.organization_id()
          OR (c.organization_id IS NULL AND (p_models -> c.model -> 'shared')::boolean)
        )
        AND CASE
          WHEN (p_models -> c.model -> 'grouped')::boolean THEN c.sync_groups && pgsync.sync_groups()
          ELSE (p_models -> c.model -> 'shared')::boolean OR pgsync.holds_group('org:' || pgsync.organization_id())
        END
      )
    );
$function$;

ALTER FUNCTION pgsync_private.log_transaction(xid8, bigint, bigint, bigint, jsonb, text[], timestamptz) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.log_transaction(xid8, bigint, bigint, bigint, jsonb, text[], timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.log_transaction(xid8, bigint, bigint, bigint, jsonb, text[], timestamptz) IS
  'Changes of one transaction that the caller may know of, as the logs carry them.';
