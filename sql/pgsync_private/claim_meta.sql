-- What others see of a claim's meta: as it was declared, with the details of the last heartbeat under progress. Null: neither.
CREATE OR REPLACE FUNCTION pgsync_private.claim_meta(p_claim pgsync_private.claim)
  RETURNS jsonb
  LANGUAGE sql
  IMMUTABLE
  PARALLEL SAFE
  SECURITY INVOKER
  RETURN CASE
    WHEN (p_claim).progress IS NULL THEN (p_claim).meta
    ELSE COALESCE((p_claim).meta, '{}') || pg_catalog.jsonb_build_object('progress', (p_claim).progress)
  END;

ALTER FUNCTION pgsync_private.claim_meta(pgsync_private.claim) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.claim_meta(pgsync_private.claim) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.claim_meta(pgsync_private.claim) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.claim_meta(pgsync_private.claim) IS 'What others see of a claim''s meta.';
