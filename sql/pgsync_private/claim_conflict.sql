-- The error that names those whose claims stand in the way: {"code", "message", "heldBy", "heldByClaim", "claims"}.
-- p_claims: the claims in the way, as pgsync_private.shown_claims tells of them; the first one is named. A holder of another organization (on
-- a shared model) stays unnamed, and so does one that the caller is not shown.
CREATE OR REPLACE FUNCTION pgsync_private.claim_conflict(
  p_code text,
  p_organization text,
  p_model_key text,
  p_id text,
  p_claims pgsync_private.claim[]
)
  RETURNS jsonb
  LANGUAGE plpgsql
  IMMUTABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_holder pgsync_private.claim := p_claims[1];
  v_summaries jsonb;
BEGIN
  IF v_holder.organization_id IS NULL THEN
    RETURN pg_catalog.jsonb_build_object(
      'code', p_code,
      'message', pg_catalog.format('%s/%s is claimed', p_model_key, p_id));
  END IF;
  IF v_holder.organization_id <> p_organization THEN
    RETURN pg_catalog.jsonb_build_object(
      'code', p_code,
      'message', pg_catalog.format('%s/%s is claimed by another organization', p_model_key, p_id));
  END IF;
  SELECT pg_catalog.jsonb_agg(pgsync_private.claim_summary(c, p_model_key) ORDER BY c.status, c.place)
  INTO v_summaries
  FROM pg_catalog.unnest(p_claims) AS c
  WHERE c.organization_id = p_organization;
  RETURN pg_catalog.jsonb_build_object(
    'code', p_code,
    'message', pg_catalog.format('%s/%s is claimed by %s', p_model_key, p_id, v_holder.participant_id),
    'heldBy', v_holder.participant_id,
    'heldByClaim', pgsync_private.claim_summary(v_holder, p_model_key),
    'claims', v_summaries);
END
$function$;

ALTER FUNCTION pgsync_private.claim_conflict(text, text, text, text, pgsync_private.claim[]) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.claim_conflict(text, text, text, text, pgsync_private.claim[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.claim_conflict(text, text, text, text, pgsync_private.claim[]) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.claim_conflict(text, text, text, text, pgsync_private.claim[]) IS 'The error that names those whose claims stand in the way.';
