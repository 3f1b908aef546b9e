-- Events of an organization's claims for the logs: those after p_after in order or, when it is null, the newest, also in order.
-- Numbers are given out before their transactions commit, so first everybody who is about to commit one is waited for: a reader that has
-- seen an event has been shown every smaller one. Call it in a transaction of its own, READ COMMITTED.
CREATE OR REPLACE FUNCTION pgsync_private.claim_events(p_organization text, p_after bigint, p_limit integer)
  RETURNS SETOF pgsync_private.claim_event
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off'
AS $function$
DECLARE
  v_ignored text; -- an assignment is cheaper than PERFORM, which goes through the executor
BEGIN
  v_ignored := pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('pgsync claim events', 0));
  IF p_after IS NULL THEN
    RETURN QUERY
    SELECT t.*
    FROM (
      SELECT e.*
      FROM pgsync_private.claim_event AS e
      WHERE e.organization_id = p_organization
      ORDER BY e.seq DESC
      LIMIT p_limit
    ) AS t
    ORDER BY t.seq;
  ELSE
    RETURN QUERY
    SELECT e.*
    FROM pgsync_private.claim_event AS e
    WHERE e.organization_id = p_organization
      AND e.seq > p_after
    ORDER BY e.seq
    LIMIT p_limit;
  END IF;
END
$function$;

ALTER FUNCTION pgsync_private.claim_events(text, bigint, integer) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.claim_events(text, bigint, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.claim_events(text, bigint, integer) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.claim_events(text, bigint, integer) IS 'Events of an organization''s claims for the logs.';
