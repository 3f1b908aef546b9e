-- Mints a session with a secret key: a restricted key (rk) of an agent or a program, or an ephemeral key (ek) of a user.
-- p_identity: the caller, as pgsync.authenticate_v1 returned it; its credential is looked up again, so that the database judges by what is
-- true now. p_request: keyHash (hex of the SHA-256 of a key that the gateway made), keyKind (rk, ek), participantKind; optional:
-- participantId (default: the minter's), exactly one of operations, activeSchemaOperations (verbs) and controlPlaneOnly for ek,
-- operations or wideScope for rk, syncGroups (default: the organization's, the participant's and its teams'), teamIds, ttlSeconds
-- (default 900), userMeta, label, organizationId, onBehalfOf {"kind", "id"}. Among operations may be claim.preempt, which is kept apart.
-- Operations name models by typename, key or table; they are kept by typename.
-- A session never does more than its minter: operations, groups, organization, whom it acts for, and it never outlives it.
-- Answer: {"outcome": "minted", "credential": as authenticate_v1} or {"outcome": "refused", "error"}: server_side_only,
-- organization_mismatch, invalid_participant_kind, invalid_body, invalid_sync_group, narrow_scope_required, wide_scope_forbidden,
-- capability_scope_denied, forbidden, apikey_revoked, apikey_expired.
-- SECURITY DEFINER: credentials are private.
CREATE OR REPLACE FUNCTION pgsync.mint_credential_v1(p_identity jsonb, p_request jsonb)
  RETURNS jsonb
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_now timestamptz := pg_catalog.clock_timestamp();
  v_minter pgsync_private.credential;
  v_minted pgsync_private.credential;
  v_kind text := p_request ->> 'participantKind';
  v_participant text;
  v_organization text;
  v_requested text[] := pgsync_private.named_operations(pgsync_private.requested_operations(p_request));
  v_operations text[] := pg_catalog.array_remove(v_requested, 'claim.preempt');
  v_preempt boolean := COALESCE('claim.preempt' = ANY (v_requested), false);
  v_groups text[] := pgsync_private.texts_of(p_request -> 'syncGroups');
  v_control boolean := COALESCE((p_request ->> 'controlPlaneOnly')::boolean, false);
  v_seconds numeric := COALESCE((p_request ->> 'ttlSeconds')::numeric, 900);
  v_follows boolean;
  v_behalf jsonb := NULLIF(p_request -> 'onBehalfOf', 'null');
  v_problem jsonb;
BEGIN
  -- A revocation of the minter that comes meanwhile waits, and then finds the session.
  SELECT c.*
  INTO v_minter
  FROM pgsync_private.credential AS c
  WHERE c.id = p_identity ->> 'capabilityId'
  FOR SHARE;
  v_problem := pgsync_private.check_secret_key(v_minter);
  IF v_problem IS NOT NULL THEN
    RETURN v_problem;
  END IF;
  v_organization := v_minter.organization_id;
  v_participant := COALESCE(p_request ->> 'participantId', v_minter.participant_id);

  IF COALESCE(p_request ->> 'organizationId', v_organization) <> v_organization THEN
    RETURN pgsync_private.refusal('organization_mismatch', 'a secret key mints for its own organization', '{"param": "organizationId"}');
  END IF;
  IF COALESCE(v_kind, '') NOT IN ('user', 'agent', 'system') OR (p_request ->> 'keyKind' = 'ek') <> (v_kind = 'user') THEN
    RETURN pgsync_private.refusal(
      'invalid_participant_kind',
      'a capability is for an agent or a system, an ephemeral key for a user',
      '{"param": "participantKind"}');
  END IF;
  IF NOT pgsync_private.check_id(v_participant) THEN
    RETURN pgsync_private.refusal('invalid_body', 'a participant id has 1 to 255 characters', '{"param": "participantId"}');
  END IF;
  IF v_seconds <> pg_catalog.trunc(v_seconds) OR v_seconds NOT BETWEEN 1 AND 31536000 THEN
    RETURN pgsync_private.refusal('invalid_body', 'ttlSeconds is a whole number from 1 to 31536000', '{"param": "ttlSeconds"}');
  END IF;

  IF p_request ->> 'keyKind' = 'ek' AND
    pg_catalog.num_nonnulls(
      NULLIF(p_request -> 'operations', 'null'), NULLIF(p_request -> 'activeSchemaOperations', 'null'), NULLIF(v_control, false)) <> 1
  THEN
    RETURN pgsync_private.refusal(
      'invalid_body',
      'say exactly one of operations, activeSchemaOperations and controlPlaneOnly: true',
      '{"param": "operations"}');
  END IF;
  IF v_control THEN
    v_operations := ARRAY[]::text[];
    v_groups := ARRAY[]::text[];
  ELSE
    v_operations := COALESCE(v_operations, ARRAY[]::text[]);
    IF pg_catalog.cardinality(v_operations) = 0
      AND (v_kind = 'user' OR COALESCE((p_request ->> 'wideScope')::boolean, false) IS NOT TRUE)
    THEN
      RETURN pgsync_private.refusal(
        'narrow_scope_required',
        CASE
          WHEN v_kind = 'user' THEN 'a session of a user names at least one operation; activeSchemaOperations needs an active schema'
          ELSE 'name the operations, or say wideScope: true for everything'
        END,
        '{"param": "operations"}');
    END IF;
    v_problem := pgsync_private.check_operations(v_operations);
    IF v_problem IS NOT NULL THEN
      RETURN v_problem;
    END IF;
    IF EXISTS (SELECT FROM pg_catalog.unnest(v_groups) AS g(g) WHERE g.g IS NULL OR g.g !~ '^([a-z][a-z0-9_]*:.+|default)$') THEN
      RETURN pgsync_private.refusal('invalid_sync_group', 'a sync group is default or <kind>:<id>', '{"param": "syncGroups"}');
    END IF;
    -- Groups that were asked for by name are all. Else it gains what memberships grant its participant, if the minter could have handed
    -- that out: as the whole organization, or to the same participant.
    v_follows := v_groups IS NULL AND (
      ('org:' || v_organization) = ANY (v_minter.sync_groups)
      OR (v_minter.follows_edges AND (v_kind, v_participant) = (v_minter.participant_kind, v_minter.participant_id)));
    v_groups := COALESCE(
      v_groups,
      pgsync_private.grantable_groups(
        v_minter,
        ARRAY['org:' || v_organization, v_kind || ':' || v_participant]
          || ARRAY(SELECT 'team:' || t.t FROM pg_catalog.unnest(pgsync_private.texts_of(p_request -> 'teamIds')) AS t(t))));
    v_problem := pgsync_private.check_grantable(v_minter, v_operations, v_groups);
    IF v_problem IS NOT NULL THEN
      RETURN v_problem;
    END IF;
    IF v_preempt AND NOT pgsync_private.may_preempt(v_minter) THEN
      RETURN pgsync_private.refusal(
        'capability_scope_denied',
        'this secret key may not hand out claim.preempt: it does not have it',
        '{"requiredCapability": {"scope": "claim.preempt"}}');
    END IF;
  END IF;

  IF v_behalf IS NOT NULL AND (
    COALESCE(v_behalf ->> 'kind', '') NOT IN ('user', 'agent', 'system') OR NOT pgsync_private.check_id(v_behalf ->> 'id')
  ) THEN
    RETURN pgsync_private.refusal('invalid_body', 'onBehalfOf has a kind (user, agent, system) and an id', '{"param": "onBehalfOf"}');
  END IF;
  IF v_minter.on_behalf_of_id IS NOT NULL THEN
    -- Who acts for somebody cannot hand that on as acting for somebody else.
    IF (v_behalf ->> 'kind', v_behalf ->> 'id') IS DISTINCT FROM (v_minter.on_behalf_of_kind, v_minter.on_behalf_of_id)
      AND v_behalf IS NOT NULL
    THEN
      RETURN pgsync_private.refusal(
        'forbidden', 'this secret key acts on behalf of somebody, and so do the sessions that it mints', '{"param": "onBehalfOf"}');
    END IF;
    v_behalf := pg_catalog.jsonb_build_object('kind', v_minter.on_behalf_of_kind, 'id', v_minter.on_behalf_of_id);
  END IF;

  INSERT INTO pgsync_private.credential AS c (
    id, kind, key_hash, organization_id, participant_kind, participant_id, sync_groups, operations, on_behalf_of_kind, on_behalf_of_id,
    user_meta, label, minted_by, created_at, expires_at, control_plane_only, follows_edges, may_preempt
  )
  VALUES (
    CASE p_request ->> 'keyKind' WHEN 'ek' THEN 'eph_' ELSE 'cap_' END || pg_catalog.replace(pg_catalog.gen_random_uuid()::text, '-', ''),
    p_request ->> 'keyKind',
    pg_catalog.decode(p_request ->> 'keyHash', 'hex'),
    v_organization,
    v_kind,
    v_participant,
    v_groups,
    v_operations,
    v_behalf ->> 'kind',
    v_behalf ->> 'id',
    COALESCE(NULLIF(p_request -> 'userMeta', 'null'), '{}'),
    p_request ->> 'label',
    v_minter.id,
    v_now,
    LEAST(v_now + pg_catalog.make_interval(secs => v_seconds::double precision), v_minter.expires_at),
    v_control,
    COALESCE(v_follows, false),
    v_preempt
  )
  RETURNING c.* INTO v_minted;
  RETURN pg_catalog.jsonb_build_object('outcome', 'minted', 'credential', pgsync_private.credential_json(v_minted) || pgsync_private.edges_of(v_minted));
END
$function$;

ALTER FUNCTION pgsync.mint_credential_v1(jsonb, jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.mint_credential_v1(jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.mint_credential_v1(jsonb, jsonb) TO pgsync_gateway;
COMMENT ON FUNCTION pgsync.mint_credential_v1(jsonb, jsonb) IS 'Mints a session with a secret key; it never does more than its minter.';
