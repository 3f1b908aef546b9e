-- The record of a commit by its idempotency key, the caller's own if several participants used the same key. Null: none that the caller
-- may see. The ledger keeps a commit for one to two days.
-- SECURITY DEFINER: the ledger is private.
CREATE OR REPLACE FUNCTION pgsync.commit_record_v1(p_identity jsonb, p_key text)
  RETURNS jsonb
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off' -- a partition that was empty when it was last analyzed looks free to scan
AS $function$
BEGIN
  PERFORM pgsync.set_identity_v1(p_identity);
  RETURN (
    SELECT pgsync_private.commit_record_json(c)
    FROM pgsync_private.commit AS c
    WHERE c.key = p_key
      AND c.organization_id IS NOT DISTINCT FROM p_identity ->> 'organizationId' -- not by the index on it and the time
      AND pgsync_private.may_see_commit(c)
    ORDER BY
      (c.participant_kind = pgsync.participant_kind() AND c.participant_id = pgsync.participant_id()) DESC,
      c.created_at DESC
    LIMIT 1
  );
END
$function$;

ALTER FUNCTION pgsync.commit_record_v1(jsonb, text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.commit_record_v1(jsonb, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.commit_record_v1(jsonb, text) TO pgsync_gateway;
COMMENT ON FUNCTION pgsync.commit_record_v1(jsonb, text) IS 'The record of a commit by its idempotency key; null when there is none.';
