-- Whether a participant is shown a claim of its organization: its own always; another's if any grant on the model is its and, where the
-- holder saw the row, it sees the row too. A claim of somebody who did not see the row although it was there is shown to those who do not see
-- it either. The identity must have been set.
CREATE OR REPLACE FUNCTION pgsync_private.sees_claim(p_identity jsonb, p_claim pgsync_private.claim)
  RETURNS boolean
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  RETURN (p_claim.participant_kind, p_claim.participant_id) = (p_identity ->> 'participantKind', p_identity ->> 'participantId')
    OR (
      pgsync_private.check_claim_target(
        p_identity, pgsync_generated.resolve_model(p_claim.model_key), p_claim.model_key, p_claim.row_id, false) IS NULL
      AND CASE
        WHEN pg_catalog.starts_with(p_claim.scope, pgsync_private.unseen_scope('')) THEN NOT pgsync_generated.sees_row(p_claim.model, p_claim.row_id)
        ELSE NOT p_claim.row_seen OR pgsync_generated.sees_row(p_claim.model, p_claim.row_id)
      END
    );
END
$function$;

ALTER FUNCTION pgsync_private.sees_claim(jsonb, pgsync_private.claim) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.sees_claim(jsonb, pgsync_private.claim) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.sees_claim(jsonb, pgsync_private.claim) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.sees_claim(jsonb, pgsync_private.claim) IS 'Whether a participant is shown a claim.';
