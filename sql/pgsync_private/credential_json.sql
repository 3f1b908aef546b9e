-- The identity that a credential stands for, as gateways pass it back into set_identity_v1 and commit_v1.
CREATE OR REPLACE FUNCTION pgsync_private.credential_json(p_credential pgsync_private.credential)
  RETURNS jsonb
  LANGUAGE sql
  STABLE
  SECURITY INVOKER
  RETURN pg_catalog.jsonb_build_object(
    'capabilityId', (p_credential).id,
    'keyKind', (p_credential).kind,
    'organizationId', (p_credential).organization_id,
    'projectId', 'default',
    'branchId', 'main',
    'branchRoot', true,
    'participantKind', (p_credential).participant_kind,
    'participantId', (p_credential).participant_id,
    'syncGroups', pg_catalog.to_jsonb((p_credential).sync_groups),
    'operations', pg_catalog.to_jsonb((p_credential).operations),
    'edges', (p_credential).follows_edges,
    'userMeta', (p_credential).user_meta,
    'onBehalfOf', CASE
      WHEN (p_credential).on_behalf_of_id IS NOT NULL
        THEN pg_catalog.jsonb_build_object('kind', (p_credential).on_behalf_of_kind, 'id', (p_credential).on_behalf_of_id)
    END,
    'controlPlaneOnly', (p_credential).control_plane_only,
    'mayPreempt', pgsync_private.may_preempt(p_credential),
    'expiresAt', pgsync_private.iso((p_credential).expires_at),
    'status', CASE
      WHEN (p_credential).revoked_at IS NOT NULL THEN 'revoked'
      WHEN (p_credential).expires_at <= pg_catalog.clock_timestamp() THEN 'expired'
      ELSE 'active'
    END);

ALTER FUNCTION pgsync_private.credential_json(pgsync_private.credential) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.credential_json(pgsync_private.credential) FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.credential_json(pgsync_private.credential) IS 'The identity that a credential stands for.';
