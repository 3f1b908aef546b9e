-- What a participant is told about a stale premise that did not refuse his commit. The gateway replaces observedXid by the sync id of that
-- transaction, or of the commit observedCommit in it, readAt by that of readXid where there is one, and currentTexts by the JSON of the same
-- values. Where nobody or nothing can be named (a truncated table, a forgotten past, what the caller may not know), there is a *: the
-- contract's client throws away a receipt in which something is missing.
CREATE OR REPLACE FUNCTION pgsync_private.stale_notification(
  p_change pgsync_private.change,
  p_model text,
  p_model_key text,
  p_id text,
  p_group text,
  p_fields text[],
  p_read_at bigint
)
  RETURNS jsonb
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_may_read boolean := p_group IS NOT NULL OR COALESCE(pgsync.may_read((pgsync_generated.resolve_model(p_model_key))[2]), false);
  -- The write functions see more than their caller. Of a row that has left what he sees is told what is told of a deleted one.
  v_sees boolean := p_group IS NULL AND v_may_read AND pgsync_generated.sees_row(p_model, p_id);
  v_fields text[] := CASE
    WHEN p_fields IS NULL THEN (p_change).fields
    WHEN (p_change).fields IS NULL THEN p_fields
    ELSE ARRAY(SELECT f.f FROM pg_catalog.unnest(p_fields) AS f(f) WHERE f.f = ANY ((p_change).fields))
  END;
BEGIN
  IF NOT v_sees THEN
    v_fields := p_fields;
  END IF;
  RETURN pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
    'object', 'stale_notification',
    'scope', CASE WHEN p_group IS NULL THEN 'row' ELSE 'group' END,
    'target', pg_catalog.jsonb_build_object(
      'model', CASE WHEN p_group IS NULL THEN p_model_key ELSE COALESCE(pgsync_private.model_key((p_change).model), '*') END,
      'id', CASE WHEN p_group IS NULL THEN p_id ELSE COALESCE(NULLIF((p_change).row_id, ''), '*') END,
      'fields', CASE WHEN p_group IS NULL AND pg_catalog.cardinality(v_fields) > 0 THEN pg_catalog.to_jsonb(v_fields) END),
    'group', p_group,
    'readAt', COALESCE(p_read_at, 0),
    'observedXid', CASE WHEN (p_change).op NOT IN ('?', '*') THEN (p_change).xid::text END,
    'observedCommit', (p_change).server_tx_id,
    'writtenBy', CASE
      WHEN NOT v_may_read THEN '{"kind": "system", "id": "*"}'
      WHEN (p_change).actor_id IS NOT NULL
        THEN pg_catalog.jsonb_build_object('kind', (p_change).actor_kind, 'id', (p_change).actor_id)
      ELSE pg_catalog.jsonb_build_object('kind', 'system', 'id', COALESCE(NULLIF((p_change).role_name, ''), '*'))
    END))
    || CASE
      WHEN p_group IS NOT NULL THEN '{}'
      WHEN v_sees THEN pg_catalog.jsonb_build_object('currentTexts', COALESCE(pgsync_generated.row_texts(p_model, p_id, v_fields), '{}'))
      ELSE '{"currentTexts": {}}'
    END;
END
$function$;

ALTER FUNCTION pgsync_private.stale_notification(pgsync_private.change, text, text, text, text, text[], bigint) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.stale_notification(pgsync_private.change, text, text, text, text, text[], bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.stale_notification(pgsync_private.change, text, text, text, text, text[], bigint) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.stale_notification(pgsync_private.change, text, text, text, text, text[], bigint) IS
  'What a participant is told about a stale premise that did not refuse his commit.';
