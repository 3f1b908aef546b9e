-- Replaces a credential by one with the same rights and a new key; the old one lives on until the grace ends, and so do its claims, except
-- those that the participant has spoken for with another credential by then.
-- p_identity: the caller, who must hold a secret key. p_request: id, keyHash (hex) of the new key; optional: graceSeconds (default 3600,
-- 0 ends the old one now), ttlSeconds (default: as long as the old one was made for; for ever if it was). The new one never outlives
-- the caller. What the old one minted belongs to the new one, which is the same principal.
-- Answer: {"outcome": "rotated", "credential": as authenticate_v1, "rotatedFrom": {"capabilityId", "expiresAt"}} or
-- {"outcome": "refused", "error"}: server_side_only, capability_not_found, capability_invalid, forbidden, invalid_body.
-- SECURITY DEFINER: credentials are private.
CREATE OR REPLACE FUNCTION pgsync.rotate_credential_v1(p_identity jsonb, p_request jsonb)
  RETURNS jsonb
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_now timestamptz;
  v_caller pgsync_private.credential;
  v_old pgsync_private.credential;
  v_new pgsync_private.credential;
  v_grace numeric := COALESCE((p_request ->> 'graceSeconds')::numeric, 3600);
  v_seconds numeric := (p_request ->> 'ttlSeconds')::numeric;
  v_problem jsonb;
BEGIN
  IF v_grace <> pg_catalog.trunc(v_grace) OR v_grace NOT BETWEEN 0 AND 2592000 THEN
    RETURN pgsync_private.refusal('invalid_body', 'graceSeconds is a whole number from 0 to 2592000', '{"param": "graceSeconds"}');
  END IF;
  IF v_seconds <> pg_catalog.trunc(v_seconds) OR v_seconds NOT BETWEEN 1 AND 31536000 THEN
    RETURN pgsync_private.refusal('invalid_body', 'ttlSeconds is a whole number from 1 to 31536000', '{"param": "ttlSeconds"}');
  END IF;
  SELECT c.*
  INTO v_old
  FROM pgsync_private.credential AS c
  WHERE c.id = p_request ->> 'id'
  FOR UPDATE;
  SELECT c.*
  INTO v_caller
  FROM pgsync_private.credential AS c
  WHERE c.id = p_identity ->> 'capabilityId'
  FOR SHARE;
  v_problem := COALESCE(pgsync_private.check_secret_key(v_caller), pgsync_private.check_manages(v_caller, v_old));
  IF v_problem IS NOT NULL THEN
    RETURN v_problem;
  END IF;
  v_now := pg_catalog.clock_timestamp();
  IF v_old.revoked_at IS NOT NULL OR v_old.expires_at <= v_now OR v_old.rotated_to IS NOT NULL THEN
    RETURN pgsync_private.refusal(
      'capability_invalid',
      CASE
        WHEN v_old.rotated_to IS NOT NULL THEN 'this capability was rotated before: rotate the one that replaced it'
        ELSE 'this capability has ended: mint another one'
      END);
  END IF;

  INSERT INTO pgsync_private.credential AS c (
    id, kind, key_hash, organization_id, participant_kind, participant_id, sync_groups, operations, on_behalf_of_kind, on_behalf_of_id,
    user_meta, label, minted_by, created_at, expires_at, control_plane_only, follows_edges, may_preempt
  )
  VALUES (
    pg_catalog.split_part(v_old.id, '_', 1) || '_' || pg_catalog.replace(pg_catalog.gen_random_uuid()::text, '-', ''),
    v_old.kind,
    pg_catalog.decode(p_request ->> 'keyHash', 'hex'),
    v_old.organization_id,
    v_old.participant_kind,
    v_old.participant_id,
    v_old.sync_groups,
    v_old.operations,
    v_old.on_behalf_of_kind,
    v_old.on_behalf_of_id,
    v_old.user_meta,
    v_old.label,
    v_old.minted_by,
    v_now,
    LEAST(
      COALESCE(v_now + pg_catalog.make_interval(secs => v_seconds::double precision), v_now + (v_old.expires_at - v_old.created_at)),
      v_caller.expires_at),
    v_old.control_plane_only,
    v_old.follows_edges,
    v_old.may_preempt
  )
  RETURNING c.* INTO v_new;
  UPDATE pgsync_private.credential AS c
  SET rotated_to = v_new.id,
      expires_at = LEAST(v_now + pg_catalog.make_interval(secs => v_grace::double precision), v_old.expires_at)
  WHERE c.id = v_old.id
  RETURNING c.* INTO v_old;
  UPDATE pgsync_private.credential AS c
  SET minted_by = v_new.id
  WHERE c.minted_by = v_old.id;
  IF v_grace = 0 THEN
    PERFORM pgsync_private.end_claims_of(ARRAY[v_old.id]);
  END IF;

  -- Gateways forget what they knew of the old one and close its sessions when its time has come.
  PERFORM pg_catalog.pg_notify(
    'pgsync',
    pg_catalog.jsonb_build_object(
      't', CASE WHEN v_grace = 0 THEN 'revoked' ELSE 'rotated' END,
      'capabilityId', v_old.id,
      'expiresAt', pgsync_private.iso(v_old.expires_at))::text);
  RETURN pg_catalog.jsonb_build_object(
    'outcome', 'rotated',
    'credential', pgsync_private.credential_json(v_new) || pgsync_private.edges_of(v_new),
    'rotatedFrom', pg_catalog.jsonb_build_object('capabilityId', v_old.id, 'expiresAt', pgsync_private.iso(v_old.expires_at)));
END
$function$;

ALTER FUNCTION pgsync.rotate_credential_v1(jsonb, jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.rotate_credential_v1(jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.rotate_credential_v1(jsonb, jsonb) TO pgsync_gateway;
COMMENT ON FUNCTION pgsync.rotate_credential_v1(jsonb, jsonb) IS 'Replaces a credential by one with a new key; the old one lives on for a while.';
