-- A claim as errors carry it. p_model_key: the model as the caller spelled it.
CREATE OR REPLACE FUNCTION pgsync_private.claim_summary(p_claim pgsync_private.claim, p_model_key text)
  RETURNS jsonb
  LANGUAGE sql
  IMMUTABLE
  PARALLEL SAFE
  SECURITY INVOKER
  RETURN pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
      'entityType', p_model_key,
      'entityId', (p_claim).row_id,
      'claimId', (p_claim).id,
      'description', (p_claim).description,
      'declaredAt', pgsync_private.claim_ms((p_claim).declared_at),
      'expiresAt', pgsync_private.claim_ms((p_claim).expires_at),
      'field', (p_claim).field,
      'fields', pg_catalog.to_jsonb((p_claim).fields),
      'onBehalfOfId', (p_claim).on_behalf_of_id,
      'onBehalfOfKind', (p_claim).on_behalf_of_kind))
    || CASE
      WHEN pgsync_private.claim_meta(p_claim) IS NULL THEN '{}'
      ELSE pg_catalog.jsonb_build_object('meta', pgsync_private.claim_meta(p_claim))
    END;

ALTER FUNCTION pgsync_private.claim_summary(pgsync_private.claim, text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.claim_summary(pgsync_private.claim, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.claim_summary(pgsync_private.claim, text) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.claim_summary(pgsync_private.claim, text) IS 'A claim as errors carry it.';
