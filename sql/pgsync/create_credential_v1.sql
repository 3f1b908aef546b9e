-- Stores a credential for a key that the caller has made; only its SHA-256 (hex) is handed over.
-- p_request: keyHash, keyKind (sk, rk, ek, pk), organizationId, participantKind, participantId; optional: operations
-- (empty: everything, for pk: *.read; claim.preempt among them is kept apart; models by typename, key or table),
-- syncGroups (default: the organization's and the participant's own, and what memberships grant), expiresAt, label, userMeta,
-- onBehalfOf {"kind", "id"}, id.
-- Raises: PS101 for a missing or wrong member. For administrators: no EXECUTE for the gateway.
-- SECURITY DEFINER: credentials are private.
CREATE OR REPLACE FUNCTION pgsync.create_credential_v1(p_request jsonb)
  RETURNS jsonb
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_credential pgsync_private.credential;
  v_missing text;
  v_requested text[] := COALESCE(
    pgsync_private.named_operations(pgsync_private.texts_of(p_request -> 'operations')), ARRAY[]::text[]);
  v_operations text[] := pg_catalog.array_remove(v_requested, 'claim.preempt');
  v_problem jsonb;
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
  v_problem := pgsync_private.check_operations(v_operations);
  IF v_problem IS NOT NULL THEN
    RAISE EXCEPTION USING
      ERRCODE = 'PS101',
      MESSAGE = v_problem -> 'error' ->> 'message',
      DETAIL = 'operations',
      HINT = 'An operation looks like task.update.';
  END IF;
  IF pg_catalog.cardinality(v_operations) = 0 AND pg_catalog.cardinality(v_requested) > 0 THEN
    RAISE EXCEPTION USING
      ERRCODE = 'PS101',
      MESSAGE = 'claim.preempt is granted beside what the credential may do to rows',
      DETAIL = 'operations',
      HINT = 'Name that, too, such as task.update; a secret key (sk) for which nothing is named has claim.preempt with everything else.';
  END IF;
  IF p_request ->> 'keyKind' = 'pk' THEN
    IF EXISTS (SELECT FROM pg_catalog.unnest(v_requested) AS o(o) WHERE o.o NOT LIKE '%.read') THEN
      RAISE EXCEPTION USING
        ERRCODE = 'PS101',
        MESSAGE = 'a publishable key (pk) only reads',
        DETAIL = 'operations',
        HINT = 'Leave the other operations out, or create a key of another kind.';
    END IF;
    IF pg_catalog.cardinality(v_operations) = 0 THEN
      v_operations := ARRAY['*.read'];
    END IF;
  END IF;

  INSERT INTO pgsync_private.credential AS c (
    id, kind, key_hash, organization_id, participant_kind, participant_id, sync_groups, operations, on_behalf_of_kind, on_behalf_of_id,
    user_meta, label, expires_at, follows_edges, may_preempt
  )
  VALUES (
    COALESCE(p_request ->> 'id', 'cap_' || pg_catalog.replace(pg_catalog.gen_random_uuid()::text, '-', '')),
    p_request ->> 'keyKind',
    pg_catalog.decode(p_request ->> 'keyHash', 'hex'),
    p_request ->> 'organizationId',
    p_request ->> 'participantKind',
    p_request ->> 'participantId',
    COALESCE(
      pgsync_private.texts_of(p_request -> 'syncGroups'),
      ARRAY[
        'org:' || (p_request ->> 'organizationId'),
        (p_request ->> 'participantKind') || ':' || (p_request ->> 'participantId')
      ]),
    v_operations,
    p_request -> 'onBehalfOf' ->> 'kind',
    p_request -> 'onBehalfOf' ->> 'id',
    COALESCE(NULLIF(p_request -> 'userMeta', 'null'), '{}'),
    p_request ->> 'label',
    (p_request ->> 'expiresAt')::timestamptz,
    pgsync_private.texts_of(p_request -> 'syncGroups') IS NULL, -- groups that were given by name are all
    'claim.preempt' = ANY (v_requested)
  )
  RETURNING c.* INTO v_credential;

  RETURN pgsync_private.credential_json(v_credential);
END
$function$;

ALTER FUNCTION pgsync.create_credential_v1(jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.create_credential_v1(jsonb) FROM PUBLIC;
COMMENT ON FUNCTION pgsync.create_credential_v1(jsonb) IS 'Stores a credential for a key given by its SHA-256.';
