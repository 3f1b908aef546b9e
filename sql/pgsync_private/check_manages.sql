-- Whether one credential may end or replace another: null, or the refusal. Itself; what it minted; and a key with every right of the
-- organization also its sessions and publishable keys. Secret keys are otherwise the administrator's.
-- A credential of another organization is as unknown as one that never was.
CREATE OR REPLACE FUNCTION pgsync_private.check_manages(p_caller pgsync_private.credential, p_target pgsync_private.credential)
  RETURNS jsonb
  LANGUAGE sql
  IMMUTABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
  SELECT CASE
    WHEN (p_target).id IS NULL OR (p_target).organization_id IS DISTINCT FROM (p_caller).organization_id THEN
      pgsync_private.refusal('capability_not_found', 'no capability with this id')
    WHEN (p_target).id = (p_caller).id THEN
      NULL
    WHEN (p_caller).kind <> 'sk' THEN
      pgsync_private.refusal('server_side_only', 'only a secret key (sk_) of the organization may do this')
    WHEN (p_target).minted_by = (p_caller).id THEN
      NULL
    WHEN (p_target).kind = 'sk'
      OR pgsync_private.check_grantable(p_caller, (p_target).operations, (p_target).sync_groups) IS NOT NULL
      OR (pgsync_private.may_preempt(p_target) AND NOT pgsync_private.may_preempt(p_caller))
    THEN
      pgsync_private.refusal('forbidden', 'this secret key neither minted that capability nor has all that it may do')
  END;
$function$;

ALTER FUNCTION pgsync_private.check_manages(pgsync_private.credential, pgsync_private.credential) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.check_manages(pgsync_private.credential, pgsync_private.credential) FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.check_manages(pgsync_private.credential, pgsync_private.credential) IS
  'Whether one credential may end or replace another; null when it may.';
