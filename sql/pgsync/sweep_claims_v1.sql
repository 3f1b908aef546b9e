-- Ends leases and tickets whose time is over where nobody calls, and lets the next in; also those whose credential has ended in the last ten
-- minutes, by rotation or while somebody was busy with the row. One caller at a time; another returns at once.
-- Returns how many rows it settled; as many as p_limit: there may be more. A row that somebody is busy with is left to him.
-- SECURITY DEFINER: claims are private.
CREATE OR REPLACE FUNCTION pgsync.sweep_claims_v1(p_limit integer DEFAULT 100)
  RETURNS integer
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off'
AS $function$
DECLARE
  v_scope text;
  v_model text;
  v_id text;
  v_count integer := 0;
  v_credentials text[];
  v_ignored text; -- an assignment is cheaper than PERFORM, which goes through the executor
BEGIN
  IF NOT pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtextextended('pgsync claim sweep', 0)) THEN
    RETURN 0;
  END IF;
  FOR v_scope, v_model, v_id IN
    SELECT DISTINCT
      o.scope,
      o.model,
      o.row_id
    FROM (
      SELECT
        c.scope,
        c.model,
        c.row_id
      FROM pgsync_private.claim AS c
      WHERE c.ended_at IS NULL
        AND c.expires_at <= pg_catalog.clock_timestamp()
      LIMIT p_limit
    ) AS o
  LOOP
    IF pgsync_private.try_lock_claim_target(v_scope, v_model, v_id) THEN
      v_ignored := pgsync_private.advance_claims(v_scope, v_model, v_id);
      v_count := v_count + 1;
    END IF;
  END LOOP;
  v_credentials := ARRAY(
    SELECT c.id
    FROM pgsync_private.credential AS c
    WHERE c.revoked_at > pg_catalog.clock_timestamp() - INTERVAL '10 minutes'
    UNION
    SELECT c.id
    FROM pgsync_private.credential AS c
    WHERE c.rotated_to IS NOT NULL
      AND c.expires_at BETWEEN pg_catalog.clock_timestamp() - INTERVAL '10 minutes' AND pg_catalog.clock_timestamp()
  );
  IF pg_catalog.cardinality(v_credentials) > 0 THEN
    v_ignored := pgsync_private.end_claims_of(v_credentials);
  END IF;
  RETURN v_count;
END
$function$;

ALTER FUNCTION pgsync.sweep_claims_v1(integer) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.sweep_claims_v1(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.sweep_claims_v1(integer) TO pgsync_gateway, pgsync_listener;
COMMENT ON FUNCTION pgsync.sweep_claims_v1(integer) IS 'Ends claims whose time is over where nobody calls.';
