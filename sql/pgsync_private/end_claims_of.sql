-- Ends the claims that are held, or waited for, through credentials that have ended, and lets the next in. A claim that its participant has
-- also spoken for with another credential stays, and is that one's from now on.
-- Ending a credential waits for nobody and fails for nothing: a row whose claims somebody is busy with, and those beyond the first 500, are left
-- to pgsync.sweep_claims_v1, which calls this again.
CREATE OR REPLACE FUNCTION pgsync_private.end_claims_of(p_credential_ids text[])
  RETURNS void
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off'
AS $function$
DECLARE
  v_target record;
  v_claim record;
  v_ignored text; -- an assignment is cheaper than PERFORM, which goes through the executor
BEGIN
  FOR v_target IN
    SELECT DISTINCT
      c.scope,
      c.model,
      c.row_id
    FROM (
      SELECT DISTINCT
        o.organization_id,
        o.participant_kind,
        o.participant_id
      FROM pgsync_private.credential AS o
      WHERE o.id = ANY (p_credential_ids)
    ) AS p
    JOIN pgsync_private.claim AS c
      ON c.participant_id = p.participant_id
      AND c.organization_id = p.organization_id
      AND c.participant_kind = p.participant_kind
      AND c.ended_at IS NULL
    WHERE c.capability_id = ANY (p_credential_ids)
      OR c.also_through && p_credential_ids
    ORDER BY c.model, c.row_id, c.scope
    LIMIT 500 -- each takes a lock, of which the server has not so many
  LOOP
    CONTINUE WHEN NOT pgsync_private.try_lock_claim_target(v_target.scope, v_target.model, v_target.row_id);
    FOR v_claim IN
      SELECT
        c.organization_id,
        c.id,
        ARRAY(
          SELECT t.t
          FROM pg_catalog.unnest(ARRAY[COALESCE(c.capability_id, '')] || c.also_through) AS t(t)
          WHERE NOT pgsync_private.is_ended_for_good(t.t)
        ) AS through
      FROM pgsync_private.claim AS c
      WHERE c.scope = v_target.scope
        AND c.model = v_target.model
        AND c.row_id = v_target.row_id
        AND c.ended_at IS NULL
        AND (c.capability_id = ANY (p_credential_ids) OR c.also_through && p_credential_ids)
    LOOP
      IF pg_catalog.cardinality(v_claim.through) = 0 THEN
        v_ignored := pgsync_private.take_claims(v_claim.organization_id, ARRAY[v_claim.id], 'revoked');
      ELSE
        UPDATE pgsync_private.claim AS c
        SET capability_id = NULLIF(v_claim.through[1], ''),
            also_through = v_claim.through[2:]
        WHERE c.organization_id = v_claim.organization_id
          AND c.id = v_claim.id;
      END IF;
    END LOOP;
    v_ignored := pgsync_private.advance_claims(v_target.scope, v_target.model, v_target.row_id);
  END LOOP;
END
$function$;

ALTER FUNCTION pgsync_private.end_claims_of(text[]) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.end_claims_of(text[]) FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.end_claims_of(text[]) IS 'Ends the claims that are held through credentials that have ended.';
