-- Where the caller's claims on a row meet others: p_scope, where those are of everybody who sees the row or for whom there is none, or, for a
-- row that is there and that the caller does not see, apart from them: to him the id is free, as a missing one would be, and he keeps nobody
-- from it who sees more. Those who have claimed the id while there was no row know of each other and go on together, and who has a claim keeps it.
-- The identity must have been set. Call it under the exclusive lock of the target.
CREATE OR REPLACE FUNCTION pgsync_private.claim_lane(p_scope text, p_model text, p_id text)
  RETURNS text
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off'
AS $function$
DECLARE
  v_is_known boolean;
BEGIN
  IF pgsync_generated.sees_row(p_model, p_id) OR pgsync_generated.row_texts(p_model, p_id, '{id}') IS NULL THEN
    RETURN p_scope;
  END IF;
  SELECT
    pg_catalog.bool_and(NOT c.row_seen)
    OR pg_catalog.bool_or(
      (c.organization_id, c.participant_kind, c.participant_id)
        IS NOT DISTINCT FROM (pgsync.organization_id(), pgsync.participant_kind(), pgsync.participant_id()))
  INTO v_is_known
  FROM pgsync_private.claim AS c
  WHERE c.scope = p_scope
    AND c.model = p_model
    AND c.row_id = p_id
    AND c.ended_at IS NULL;
  RETURN CASE WHEN v_is_known THEN p_scope ELSE pgsync_private.unseen_scope(p_scope) END;
END
$function$;

ALTER FUNCTION pgsync_private.claim_lane(text, text, text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.claim_lane(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.claim_lane(text, text, text) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.claim_lane(text, text, text) IS 'Where the caller''s claims on a row meet others.';
