-- Lets {{ role }} read the audit trail and verify its chain, and nothing else: no row of yours, no function of pgsync, no hash of a key.
-- Undo: the same with REVOKE .. FROM in place of GRANT .. TO.
GRANT USAGE ON SCHEMA pgsync_private TO {{ role }};
GRANT SELECT ON TABLE
  pgsync_private.audit_act,
  pgsync_private.audit_actor,
  pgsync_private.audit_block,
  pgsync_private.audit_seal,
  pgsync_private.claim_event,
  pgsync_private.model_rename,
  pgsync_private.position
TO {{ role }};
-- Without what the change log keeps of a row's values for premises.
GRANT SELECT (
  xid, seq, organization_id, model, row_id, op, fields, sync_groups, server_tx_id, actor_kind, actor_id, role_name, changed_at
) ON TABLE pgsync_private.change TO {{ role }};
GRANT SELECT (
  xid, ordinal, server_tx_id, organization_id, participant_kind, participant_id, capability_id, on_behalf_of_kind, on_behalf_of_id, key, route, created_at
) ON TABLE pgsync_private.commit TO {{ role }};
GRANT SELECT (
  id, organization_id, participant_kind, participant_id, on_behalf_of_kind, on_behalf_of_id, minted_by
) ON TABLE pgsync_private.credential TO {{ role }};
GRANT SELECT (state, models) ON TABLE pgsync_private.schema_version TO {{ role }};
