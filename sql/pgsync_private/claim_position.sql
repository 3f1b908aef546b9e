-- How many wait in line on the same row, before this claim if it waits itself.
CREATE OR REPLACE FUNCTION pgsync_private.claim_position(p_claim pgsync_private.claim)
  RETURNS integer
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off'
AS $function$
DECLARE
  v_position integer;
BEGIN
  SELECT pg_catalog.count(*)::integer
  INTO v_position
  FROM pgsync_private.claim AS c
  WHERE c.scope = p_claim.scope
    AND c.model = p_claim.model
    AND c.row_id = p_claim.row_id
    AND c.ended_at IS NULL
    AND c.status = 'queued'
    AND (p_claim.status = 'active' OR c.place < p_claim.place);
  RETURN v_position;
END
$function$;

ALTER FUNCTION pgsync_private.claim_position(pgsync_private.claim) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.claim_position(pgsync_private.claim) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.claim_position(pgsync_private.claim) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.claim_position(pgsync_private.claim) IS
  'How many wait in line on the same row, before this claim if it waits itself.';
