-- Trigger, before TRUNCATE of the table of a model with claims="enforced": refuses it while anybody holds one of its rows.
-- Arguments: model's name in SQL, its key.
-- Raises: PS401, naming the holder.
-- SECURITY DEFINER: claims are private.
CREATE OR REPLACE FUNCTION pgsync_private.keep_claims_truncate()
  RETURNS trigger
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_claim pgsync_private.claim;
BEGIN
  SELECT c.*
  INTO v_claim
  FROM pgsync_private.claim AS c
  WHERE c.model = TG_ARGV[0]
    AND c.ended_at IS NULL
    AND c.status = 'active'
    AND c.expires_at > pg_catalog.clock_timestamp()
  ORDER BY c.place
  LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION USING
      ERRCODE = 'PS401',
      MESSAGE = pg_catalog.format(
        '%s/%s is claimed by %s %s until %s', TG_ARGV[1], v_claim.row_id, v_claim.participant_kind, v_claim.participant_id,
        pgsync_private.iso(v_claim.expires_at)),
      DETAIL = pg_catalog.format('claim=%s organization=%s', v_claim.id, v_claim.organization_id),
      HINT = pg_catalog.format(
        'Truncate when the claims have ended, or end them: SELECT pgsync.end_claim_v1(%L, %L).', v_claim.organization_id, v_claim.id),
      SCHEMA = TG_TABLE_SCHEMA,
      TABLE = TG_TABLE_NAME;
  END IF;
  RETURN NULL;
END
$function$;

ALTER FUNCTION pgsync_private.keep_claims_truncate() OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.keep_claims_truncate() FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.keep_claims_truncate() IS 'Refuses to truncate a table while somebody holds one of its rows.';
