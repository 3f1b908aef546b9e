-- What memberships add to a credential now: {"edgeGroups": [..], "edgeKinds": [..]}, or nothing ({}) for one that does not follow them.
-- The settings of an identity are borrowed for the look-up, which row security judges by them, and given back.
CREATE OR REPLACE FUNCTION pgsync_private.edges_of(p_credential pgsync_private.credential)
  RETURNS jsonb
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_organization text := COALESCE(pg_catalog.current_setting('pgsync.organization_id', true), '');
  v_participant text := COALESCE(pg_catalog.current_setting('pgsync.participant_id', true), '');
  v_kinds text[] := pgsync_generated.edge_kinds();
  v_groups text[] := ARRAY[]::text[];
  v_ignored text;
BEGIN
  IF NOT p_credential.follows_edges THEN
    RETURN '{}'::jsonb;
  END IF;
  IF pg_catalog.cardinality(v_kinds) > 0 THEN
    v_ignored := pg_catalog.set_config('pgsync.organization_id', p_credential.organization_id, true);
    v_ignored := pg_catalog.set_config('pgsync.participant_id', p_credential.participant_id, true);
    v_groups := pgsync.edge_groups();
    v_ignored := pg_catalog.set_config('pgsync.organization_id', v_organization, true);
    v_ignored := pg_catalog.set_config('pgsync.participant_id', v_participant, true);
  END IF;
  RETURN pg_catalog.jsonb_build_object('edgeGroups', pg_catalog.to_jsonb(v_groups), 'edgeKinds', pg_catalog.to_jsonb(v_kinds));
END
$function$;

ALTER FUNCTION pgsync_private.edges_of(pgsync_private.credential) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.edges_of(pgsync_private.credential) FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.edges_of(pgsync_private.credential) IS 'What memberships add to a credential now.';
