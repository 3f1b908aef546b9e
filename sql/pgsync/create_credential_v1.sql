-- Stores a credential for a key that the caller has made; only its SHA-256 (hex) is handed over.
-- p_request: keyHash, keyKind (sk, rk, ek, pk), organizationId, participantKind, participantId; optional: operations
-- (empty: everything), syncGroups (default: the organization's and the participant's own), expiresAt, label, userMeta, id.
-- Raises: PS101 for a missing or wrong member. For administrators: no EXECUTE for the gateway.
CREATE OR REPLACE FUNCTION pgsync.create_credential_v1(p_request jsonb)
  RETURNS jsonb
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = ''
AS $function$
DECLARE
  v_credential pgsync_private.credential;
  v_missing text;
BEGIN
  SELECT pg_catalog.string_agg(m.name, ', ')
  INTO v_missing
  FROM pg_catalog.unnest(ARRAY['keyHash', 'keyKind', 'organizationId', 'participantKind', 'participantId']) AS m(name)
  WHERE COALESCE(p_request ->> m.name, '') = '';
  IF v_missing IS NOT NULL THEN
    RAISE EXCEPTION USING
      ERRCODE = 'PS101',
      MESSAGE = pg_catalog.format('a credential needs %s', v_missing),
      DETAIL = v_missing,
      HINT = 'pgsync keys create fills them in.';
  END IF;

  INSERT INTO pgsync_private.credential AS c (
    id, kind, key_hash, organization_id, participant_kind, participant_id, sync_groups, operations, user_meta, label, expires_at
  )
  VALUES (
    COALESCE(p_request ->> 'id', 'cap_' || pg_catalog.replace(pg_catalog.gen_random_uuid()::text, '-', '')),
    p_request ->> 'keyKind',
    pg_catalog.decode(p_request ->> 'keyHash', 'hex'),
    p_request ->> 'organizationId',
    p_request ->> 'participantKind',
    p_request ->> 'participantId',
    COALESCE(
      (SELECT pg_catalog.array_agg(g.g) FROM pg_catalog.jsonb_array_elements_text(NULLIF(p_request -> 'syncGroups', 'null')) AS g(g)),
      ARRAY[
        'org:' || (p_request ->> 'organizationId'),
        (p_request ->> 'participantKind') || ':' || (p_request ->> 'participantId')
      ]),
    COALESCE(
      (SELECT pg_catalog.array_agg(o.o) FROM pg_catalog.jsonb_array_elements_text(NULLIF(p_request -> 'operations', 'null')) AS o(o)),
      ARRAY[]::text[]),
    COALESCE(NULLIF(p_request -> 'userMeta', 'null'), '{}'),
    p_request ->> 'label',
    (p_request ->> 'expiresAt')::timestamptz
  )
  RETURNING c.* INTO v_credential;

  RETURN pgsync_private.credential_json(v_credential);
END
$function$;

ALTER FUNCTION pgsync.create_credential_v1(jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.create_credential_v1(jsonb) FROM PUBLIC;
COMMENT ON FUNCTION pgsync.create_credential_v1(jsonb) IS 'Stores a credential for a key given by its SHA-256.';
