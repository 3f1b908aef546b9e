-- Makes the rest of the transaction act for an identity that the gateway has authenticated.
-- Settings are local to the transaction, so a pooling proxy cannot carry them to somebody else's.
-- Its groups are those of syncGroups and, looked up here, those that memberships grant: all of them ("edges": true) or those that edges names.
-- subscribed: of these, only rows of the groups named there are shown; read rules still know all of them.
-- Raises: PS302 when the identity lacks an organization or a participant; PS301 when it may touch no row at all (controlPlaneOnly).
CREATE OR REPLACE FUNCTION pgsync.set_identity_v1(p_identity jsonb)
  RETURNS void
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_groups jsonb := COALESCE(p_identity -> 'syncGroups', '[]');
  v_edges text[];
  v_ignored text; -- an assignment is cheaper than PERFORM, which goes through the executor
BEGIN
  IF COALESCE(p_identity ->> 'organizationId', '') = ''
    OR COALESCE(p_identity ->> 'participantId', '') = ''
    OR COALESCE(p_identity ->> 'participantKind', '') NOT IN ('user', 'agent', 'system')
  THEN
    RAISE EXCEPTION USING
      ERRCODE = 'PS302',
      MESSAGE = 'the identity names no organization, no participant or no known participant kind',
      DETAIL = pg_catalog.format('keys present: %s', (SELECT pg_catalog.string_agg(k.k, ', ') FROM pg_catalog.jsonb_object_keys(p_identity) AS k(k))),
      HINT = 'Pass the object that pgsync.authenticate_v1 returned.';
  END IF;
  IF p_identity -> 'controlPlaneOnly' = 'true' THEN
    RAISE EXCEPTION USING
      ERRCODE = 'PS301',
      MESSAGE = 'this credential reads and writes no rows: it is for the control plane only',
      DETAIL = '{"requiredCapability": {"scope": "*.read"}}',
      HINT = 'Mint a session with operations.';
  END IF;
  v_ignored := pg_catalog.set_config('pgsync.organization_id', p_identity ->> 'organizationId', true);
  v_ignored := pg_catalog.set_config('pgsync.participant_id', p_identity ->> 'participantId', true);
  v_ignored := pg_catalog.set_config('pgsync.participant_kind', p_identity ->> 'participantKind', true);
  IF p_identity -> 'edges' = 'true' OR pg_catalog.jsonb_typeof(p_identity -> 'edges') = 'array' THEN
    v_edges := pgsync.edge_groups();
    IF p_identity -> 'edges' <> 'true' THEN
      v_edges := ARRAY(SELECT e.e FROM pg_catalog.unnest(v_edges) AS e(e) WHERE p_identity -> 'edges' ? e.e);
    END IF;
    v_groups := v_groups || pg_catalog.to_jsonb(v_edges);
  END IF;
  v_ignored := pg_catalog.set_config('pgsync.actor_groups', v_groups::text, true);
  IF pg_catalog.jsonb_typeof(p_identity -> 'subscribed') = 'array' THEN
    v_groups := (
      SELECT COALESCE(pg_catalog.jsonb_agg(g.g), '[]')
      FROM pg_catalog.jsonb_array_elements_text(v_groups) AS g(g)
      WHERE p_identity -> 'subscribed' ? g.g
    );
  END IF;
  v_ignored := pg_catalog.set_config('pgsync.sync_groups', v_groups::text, true);
  v_ignored := pg_catalog.set_config('pgsync.operations', COALESCE(p_identity ->> 'operations', '[]'), true);
END
$function$;

ALTER FUNCTION pgsync.set_identity_v1(jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.set_identity_v1(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.set_identity_v1(jsonb) TO pgsync_writer, pgsync_gateway;
COMMENT ON FUNCTION pgsync.set_identity_v1(jsonb) IS 'Makes the rest of the transaction act for an authenticated identity.';
