-- Remembers what a participant asks to be told about: the entries of p_track with a readAt, or those without one, which begin now.
-- Of several entries about the same the last one counts.
CREATE OR REPLACE FUNCTION pgsync_private.remember_tracked(p_identity jsonb, p_track jsonb, p_evidence jsonb, p_with_read_at boolean)
  RETURNS void
  LANGUAGE sql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
  INSERT INTO pgsync_private.tracked_premise AS t (
    organization_id, participant_kind, participant_id, model, model_key, row_id, sync_group, on_stale, read_at, evidence
  )
  SELECT
    p_identity ->> 'organizationId',
    p_identity ->> 'participantKind',
    p_identity ->> 'participantId',
    COALESCE(e.e ->> 'model', ''),
    COALESCE(e.e ->> 'modelKey', ''),
    COALESCE(e.e ->> 'id', ''),
    COALESCE(e.e ->> 'group', ''),
    e.e ->> 'onStale',
    (e.e ->> 'readAt')::bigint,
    CASE
      WHEN p_with_read_at THEN COALESCE(p_evidence -> (e.e ->> 'readAt'), '{}')
      ELSE pg_catalog.jsonb_build_object(
        'snapshot', pg_catalog.pg_current_snapshot()::text,
        'unseen', pg_catalog.pg_current_xact_id()::text)
    END
  FROM (
    SELECT DISTINCT ON (r.r ->> 'model', r.r ->> 'id', r.r ->> 'group') r.r
    FROM pg_catalog.jsonb_array_elements(p_track) WITH ORDINALITY AS r(r, n)
    ORDER BY r.r ->> 'model', r.r ->> 'id', r.r ->> 'group', r.n DESC
  ) AS e(e)
  WHERE e.e ? 'readAt' = p_with_read_at
  ON CONFLICT (participant_id, organization_id, participant_kind, model, row_id, sync_group) DO UPDATE
  SET on_stale = EXCLUDED.on_stale,
      read_at = EXCLUDED.read_at,
      evidence = EXCLUDED.evidence,
      created_at = pg_catalog.clock_timestamp();
$function$;

ALTER FUNCTION pgsync_private.remember_tracked(jsonb, jsonb, jsonb, boolean) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.remember_tracked(jsonb, jsonb, jsonb, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.remember_tracked(jsonb, jsonb, jsonb, boolean) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.remember_tracked(jsonb, jsonb, jsonb, boolean) IS 'Remembers what a participant asks to be told about.';
