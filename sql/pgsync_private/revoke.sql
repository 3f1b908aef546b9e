-- Ends a credential now, with everything that lives by it: what it minted, and the keys that it replaced and that are still in their
-- grace, and the claims held through them. Tells every gateway. Returns the ids that ended now; none: there is no such credential, or it had ended.
CREATE OR REPLACE FUNCTION pgsync_private.revoke(p_id text)
  RETURNS text[]
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_now timestamptz := pg_catalog.clock_timestamp();
  v_ended text[] := ARRAY[]::text[];
  v_next text[] := ARRAY[p_id];
  v_found text[];
BEGIN
  -- One generation after the other: a mint holds its minter's row, so whoever it minted is there when the row can be changed.
  WHILE pg_catalog.cardinality(v_next) > 0
  LOOP
    WITH ended AS (
      UPDATE pgsync_private.credential AS c
      SET revoked_at = v_now
      WHERE c.id = ANY (v_next)
        AND c.revoked_at IS NULL
      RETURNING c.id
    )
    SELECT COALESCE(pg_catalog.array_agg(e.id ORDER BY e.id), ARRAY[]::text[])
    INTO v_found
    FROM ended AS e;
    v_ended := v_ended || v_found;
    v_next := ARRAY(
      SELECT c.id
      FROM pgsync_private.credential AS c
      WHERE (c.minted_by = ANY (v_next) OR c.rotated_to = ANY (v_next))
        AND c.revoked_at IS NULL
        AND (c.expires_at IS NULL OR c.expires_at > v_now)
    );
  END LOOP;
  PERFORM pg_catalog.pg_notify('pgsync', pg_catalog.jsonb_build_object('t', 'revoked', 'capabilityId', e.e)::text)
  FROM pg_catalog.unnest(v_ended) AS e(e);
  PERFORM pgsync_private.end_claims_of(v_ended);
  RETURN v_ended;
END
$function$;

ALTER FUNCTION pgsync_private.revoke(text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.revoke(text) FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.revoke(text) IS 'Ends a credential now, with everything that lives by it, and tells every gateway.';
