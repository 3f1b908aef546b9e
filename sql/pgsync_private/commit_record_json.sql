-- A commit as the records carry it, without the values that were written or told. lastSyncId is null while the place is not stored.
CREATE OR REPLACE FUNCTION pgsync_private.commit_record_json(p_commit pgsync_private.commit)
  RETURNS jsonb
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off' -- a partition that was empty when it was last analyzed looks free to scan
AS $function$
DECLARE
  v_credential pgsync_private.credential;
BEGIN
  SELECT c.*
  INTO v_credential
  FROM pgsync_private.credential AS c
  WHERE c.id = p_commit.capability_id;
  RETURN pg_catalog.jsonb_build_object(
    'key', p_commit.key,
    'serverTxId', p_commit.server_tx_id,
    'createdAt', pgsync_private.iso(p_commit.created_at),
    'replayedAt', (
      SELECT COALESCE(pg_catalog.jsonb_agg(pgsync_private.iso(r.replayed_at) ORDER BY r.replayed_at), '[]')
      FROM pgsync_private.commit_replay AS r
      WHERE r.xid = p_commit.xid
        AND r.ordinal = p_commit.ordinal
        AND r.day_of_three = p_commit.day_of_three
    ),
    'actor', pg_catalog.jsonb_build_object('kind', p_commit.participant_kind, 'id', p_commit.participant_id),
    'organizationId', p_commit.organization_id,
    'syncGroups', COALESCE(p_commit.authority -> 'syncGroups', pg_catalog.to_jsonb(v_credential.sync_groups), '[]'),
    'grants', COALESCE(p_commit.authority -> 'operations', pg_catalog.to_jsonb(v_credential.operations), '[]'),
    'route', p_commit.route,
    'operations', p_commit.operations,
    'readSet', p_commit.read_set,
    'claims', p_commit.claims,
    'ops', p_commit.result -> 'ops',
    'notifications', (
      SELECT pg_catalog.jsonb_agg(CASE WHEN n.n ? 'currentTexts' THEN n.n || '{"currentTexts": {}}' ELSE n.n END ORDER BY n.place)
      FROM pg_catalog.jsonb_array_elements(p_commit.result -> 'notifications') WITH ORDINALITY AS n(n, place)
    ),
    'missingIds', p_commit.result -> 'missingIds',
    'lastSyncId', (
      SELECT p.commit_sync_ids[p_commit.ordinal + 1]
      FROM pgsync_private.position AS p
      WHERE p.xid = p_commit.xid
      LIMIT 1
    ));
END
$function$;

ALTER FUNCTION pgsync_private.commit_record_json(pgsync_private.commit) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.commit_record_json(pgsync_private.commit) FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.commit_record_json(pgsync_private.commit) IS 'A commit as the records carry it, without values.';
