-- Records of the organization's commits that the caller may see, newest first: at most p_limit of them, of one participant when p_actor is
-- given, older than (p_before, p_before_id) when that is. {"records": [..], "next": {"at", "id"} | null}; next is where to go on, also when
-- the commits looked at held none to show: one call looks at ten thousand at most.
-- SECURITY DEFINER: the ledger is private.
CREATE OR REPLACE FUNCTION pgsync.commit_records_v1(
  p_identity jsonb,
  p_actor text,
  p_before timestamptz,
  p_before_id text,
  p_limit integer
)
  RETURNS jsonb
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off' -- a partition that was empty when it was last analyzed looks free to scan
AS $function$
DECLARE
  v_commit pgsync_private.commit;
  v_records jsonb := '[]'::jsonb;
  v_seen integer := 0;
  v_next jsonb;
BEGIN
  PERFORM pgsync.set_identity_v1(p_identity);
  FOR v_commit IN
    SELECT c.*
    FROM pgsync_private.commit AS c
    WHERE c.organization_id = p_identity ->> 'organizationId'
      AND (c.created_at, c.server_tx_id) < (COALESCE(p_before, 'infinity'), COALESCE(p_before_id, ''))
    ORDER BY c.created_at DESC, c.server_tx_id DESC
    LIMIT 10001
  LOOP
    IF v_seen = 10000 OR pg_catalog.jsonb_array_length(v_records) = p_limit THEN
      RETURN pg_catalog.jsonb_build_object('records', v_records, 'next', v_next);
    END IF;
    v_seen := v_seen + 1;
    v_next := pg_catalog.jsonb_build_object('at', v_commit.created_at, 'id', v_commit.server_tx_id);
    IF (p_actor IS NULL OR v_commit.participant_id = p_actor) AND pgsync_private.may_see_commit(v_commit) THEN
      v_records := v_records || pgsync_private.commit_record_json(v_commit);
    END IF;
  END LOOP;
  RETURN pg_catalog.jsonb_build_object('records', v_records, 'next', NULL);
END
$function$;

ALTER FUNCTION pgsync.commit_records_v1(jsonb, text, timestamptz, text, integer) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.commit_records_v1(jsonb, text, timestamptz, text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.commit_records_v1(jsonb, text, timestamptz, text, integer) TO pgsync_gateway;
COMMENT ON FUNCTION pgsync.commit_records_v1(jsonb, text, timestamptz, text, integer) IS
  'Records of the organization''s commits that the caller may see, newest first.';
