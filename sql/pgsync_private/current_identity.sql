-- Whom the transaction acts for, as far as it decides what he is shown of claims: what pgsync.set_identity_v1 has set.
CREATE OR REPLACE FUNCTION pgsync_private.current_identity()
  RETURNS jsonb
  LANGUAGE sql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
  SELECT pg_catalog.jsonb_build_object(
    'organizationId', pgsync.organization_id(),
    'participantKind', pgsync.participant_kind(),
    'participantId', pgsync.participant_id(),
    'operations', NULLIF(pg_catalog.current_setting('pgsync.operations', true), '')::jsonb);
$function$;

ALTER FUNCTION pgsync_private.current_identity() OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.current_identity() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.current_identity() TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.current_identity() IS 'Whom the transaction acts for.';
