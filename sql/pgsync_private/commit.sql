-- The whole way of a commit, in the caller's transaction: identity, idempotency, grants, existence, claims, premises, the operations, the
-- receipt. Everything is checked before anything is written. A refusal by rule is returned and has written nothing; what the database
-- itself refuses is raised and undoes everything.
-- p_request: {"route", "operations": [{"action", "model", "id", "data", "transactionId", "readAt", "onStale", "claimId", "fenceToken"}],
-- "reads", "track"}; the spelling of WebSocket frames ("type" and "input") is taken too. p_evidence: see pgsync.commit_v1.
-- Runs with the rights of pgsync_writer, whose functions call it; subject to row-level security.
CREATE OR REPLACE FUNCTION pgsync_private.commit(p_identity jsonb, p_key text, p_request jsonb, p_evidence jsonb)
  RETURNS jsonb
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_organization text := p_identity ->> 'organizationId';
  v_kind text := p_identity ->> 'participantKind';
  v_participant text := p_identity ->> 'participantId';
  v_grants jsonb := p_identity -> 'operations';
  v_operations jsonb := p_request -> 'operations';
  v_count integer := 0;
  v_hash bytea := pg_catalog.sha256(pg_catalog.convert_to(p_request::text, 'UTF8'));
  v_first jsonb := p_request -> 'operations' -> 0;
  v_is_locked boolean := false;
  v_gate text[];
  v_found integer; -- what commit_gate has found: 1 the key, 2 tracked premises, 4 claims
  v_stored pgsync_private.commit;
  v_operation jsonb;
  v_action text;
  v_model text[];
  v_scope text;
  v_id text;
  v_data jsonb;
  v_problem jsonb;
  v_plan pgsync_private.planned_operation[];
  v_planned pgsync_private.planned_operation;
  v_premises jsonb := '[]'::jsonb;
  v_track jsonb := '[]'::jsonb;
  v_guarded boolean := false;
  v_refused jsonb;
  v_notifications jsonb := '[]'::jsonb;
  v_claims jsonb := '[]'::jsonb;
  v_held integer := 0;
  v_status text;
  v_ordinal integer;
  v_server_tx_id text;
  v_created_at timestamptz := pg_catalog.clock_timestamp();
  v_result jsonb;
  v_echo jsonb;
  v_redacted jsonb := '[]'::jsonb;
  v_index integer := 0;
  v_made jsonb := '{}'::jsonb; -- ids that the database has given, by the number of the operation
  v_ignored text; -- an assignment is cheaper than PERFORM, which goes through the executor
BEGIN
  IF pg_catalog.current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION USING
      ERRCODE = 'PS101',
      MESSAGE = 'a commit needs the isolation level READ COMMITTED',
      DETAIL = pg_catalog.format('transaction_isolation=%s', pg_catalog.current_setting('transaction_isolation')),
      HINT = 'A retry must see what its twin committed while it waited: begin the transaction with READ COMMITTED.';
  END IF;
  IF p_key IS NULL OR pg_catalog.char_length(p_key) NOT BETWEEN 1 AND 255 THEN
    RETURN pgsync_private.refusal('idempotency_key_too_long', 'an idempotency key has 1 to 255 characters', '{"param": "Idempotency-Key"}');
  END IF;
  v_ignored := pgsync.set_identity_v1(p_identity);

  -- The key is the lock: a concurrent twin waits here, then finds what the first one stored.
  v_ignored := pg_catalog.pg_advisory_xact_lock(
    pg_catalog.hashtextextended(pg_catalog.concat_ws(pg_catalog.chr(31), 'pgsync commit', v_organization, v_kind, v_participant, p_key), 0));
  IF pg_catalog.jsonb_typeof(v_operations) = 'array' THEN
    v_count := pg_catalog.jsonb_array_length(v_operations);
  END IF;
  -- The common commit is one operation without a guard. Its target is locked here already, so that one look tells whether there is anything
  -- at all to check: nobody can claim the row any more.
  IF v_count = 1
    AND v_first ->> 'readAt' IS NULL
    AND v_first ->> 'claimId' IS NULL
    AND v_first ->> 'fenceToken' IS NULL
    AND COALESCE(p_request -> 'reads', 'null') = 'null'
    AND COALESCE(p_request -> 'track', 'null') = 'null'
  THEN
    v_model := pgsync_generated.resolve_model(v_first ->> 'model');
    v_id := v_first ->> 'id';
    IF v_model IS NOT NULL AND v_id IS NOT NULL THEN
      v_scope := pgsync_generated.claim_scope(v_model[1], v_organization);
      v_ignored := pg_catalog.pg_advisory_xact_lock_shared(pgsync_private.organization_lock(v_scope));
      v_ignored := pg_catalog.pg_advisory_xact_lock_shared(pgsync_private.claim_lock_key(v_scope, v_model[1], v_id));
      v_is_locked := true;
    END IF;
  END IF;
  v_gate := pgsync_private.commit_gate(
    v_organization, v_kind, v_participant, p_key, v_scope, v_model[1], CASE WHEN v_is_locked THEN v_id END);
  v_found := v_gate[1]::integer;
  IF v_found % 2 = 1 THEN
    v_stored := pgsync_private.stored_commit(v_organization, v_kind, v_participant, p_key, v_created_at);
    IF v_stored.key IS NULL THEN -- its 24 hours are over, and its partition has not been emptied yet
      DELETE FROM pgsync_private.commit AS c
      WHERE c.key = p_key
        AND c.participant_id = v_participant
        AND c.organization_id = v_organization
        AND c.participant_kind = v_kind
        AND c.created_at <= v_created_at - INTERVAL '24 hours';
    END IF;
  END IF;
  IF v_stored.key IS NOT NULL THEN
    IF v_stored.request_hash <> v_hash THEN
      RETURN pgsync_private.refusal(
        'idempotency_conflict',
        'this idempotency key was used for a different request in the last 24 hours; send a new key with a new request',
        '{"param": "Idempotency-Key"}');
    END IF;
    v_ignored := pgsync_private.note_replay(v_stored);
    RETURN v_stored.result || pg_catalog.jsonb_build_object(
      'replayed', true,
      'lastSyncId', (
        SELECT p.commit_sync_ids[v_stored.ordinal + 1]
        FROM pgsync_private.position AS p
        WHERE p.xid = v_stored.xid
      ));
  END IF;

  IF COALESCE(pg_catalog.jsonb_typeof(v_operations), 'null') NOT IN ('array', 'null')
    OR COALESCE(pg_catalog.jsonb_typeof(p_request -> 'reads'), 'null') NOT IN ('array', 'null')
    OR COALESCE(pg_catalog.jsonb_typeof(p_request -> 'track'), 'null') NOT IN ('array', 'null')
  THEN
    RETURN pgsync_private.refusal('invalid_body', 'operations, reads and track are arrays');
  END IF;
  IF v_count > 500 THEN
    RETURN pgsync_private.refusal(
      'commit_too_many_operations',
      pg_catalog.format('a commit holds at most 500 operations, this one has %s', v_count),
      '{"param": "operations"}');
  END IF;
  IF p_request -> 'reads' IS NOT NULL AND p_request -> 'reads' <> 'null' THEN
    v_problem := pgsync_private.check_reads(p_request -> 'reads', 'reads', 'reject', '{reject,notify,overwrite}');
    v_premises := COALESCE(v_problem -> 'premises', '[]');
    v_guarded := v_premises <> '[]';
  END IF;
  IF v_problem -> 'problem' IS NULL AND p_request -> 'track' IS NOT NULL AND p_request -> 'track' <> 'null' THEN
    v_problem := pgsync_private.check_reads(p_request -> 'track', 'track', 'notify', '{reject,notify}');
    v_track := COALESCE(v_problem -> 'premises', '[]');
  END IF;
  v_problem := v_problem -> 'problem';
  IF v_problem IS NOT NULL THEN
    RETURN pgsync_private.refusal(v_problem ->> 'code', v_problem ->> 'message', v_problem - 'code' - 'message');
  END IF;
  IF pg_catalog.jsonb_array_length(v_premises) + pg_catalog.jsonb_array_length(v_track) > 500 THEN
    RETURN pgsync_private.refusal('commit_operation_invalid', 'reads and track hold at most 500 entries together', '{"param": "reads"}');
  END IF;
  IF v_count = 0 AND v_track = '[]' THEN
    RETURN pgsync_private.refusal('commit_operation_required', 'a commit needs at least one operation', '{"param": "operations"}');
  END IF;

  FOR v_index IN 0..v_count - 1
  LOOP
    v_operation := v_operations -> v_index;
    v_action := pg_catalog.lower(COALESCE(v_operation ->> 'action', v_operation ->> 'type'));
    v_id := v_operation ->> 'id';
    v_data := COALESCE(NULLIF(v_operation -> 'data', 'null'), NULLIF(v_operation -> 'input', 'null'), '{}');
    v_model := pgsync_generated.resolve_model(v_operation ->> 'model');
    v_problem := pgsync_private.check_operation(v_operation, v_action, v_model, v_id, v_data, v_grants);
    IF v_problem IS NOT NULL THEN
      RETURN pgsync_private.refusal(
        v_problem ->> 'code',
        v_problem ->> 'message',
        v_problem - 'code' - 'message' || CASE WHEN v_count > 1 THEN pg_catalog.jsonb_build_object('operation', v_index) ELSE '{}' END);
    END IF;
    IF v_action = 'create' AND (v_id IS NULL OR v_model[7] IS NOT NULL) THEN
      v_id := pgsync_private.given_id(v_model[7], v_model[8], v_id);
      IF v_id IS NULL THEN
        RETURN pgsync_private.refusal(
          'model_identifier_missing',
          pg_catalog.format('%s: the key has neither an identity nor a default, so a create has to name the id', v_model[3]),
          '{"param": "id"}'::jsonb || CASE WHEN v_count > 1 THEN pg_catalog.jsonb_build_object('operation', v_index) ELSE '{}' END);
      END IF;
      IF v_operation ->> 'id' IS NULL THEN
        v_made := v_made || pg_catalog.jsonb_build_object(v_index, v_id);
      END IF;
    END IF;
    v_planned := ROW(
      v_index, v_action, v_model[1], v_model[3], v_id, v_data, NULL::text[],
      v_operation ->> 'claimId', (v_operation ->> 'fenceToken')::bigint, (v_operation ->> 'readAt')::bigint,
      COALESCE(v_operation ->> 'onStale', v_model[5]::jsonb ->> v_kind, 'reject'), v_model[5]::jsonb ->> v_kind, false);
    IF v_action = 'update' THEN
      v_planned.fields := ARRAY(SELECT k.k FROM pg_catalog.jsonb_object_keys(v_data) AS k(k));
    END IF;
    -- A fence token too: whether a later one has been written with is known for sure only under the row's lock.
    v_guarded := v_guarded OR v_planned.read_at IS NOT NULL OR v_planned.claim_id IS NOT NULL OR v_planned.fence_token IS NOT NULL;
    v_plan[v_index] := v_planned;
    v_redacted := v_redacted || pg_catalog.jsonb_build_object('action', v_action, 'model', v_operation ->> 'model', 'id', v_id);
    IF v_operation ->> 'transactionId' IS NOT NULL THEN
      v_echo := COALESCE(v_echo, '[]')
        || pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_array(v_model[3], v_id, v_operation ->> 'transactionId'));
    END IF;
  END LOOP;

  -- Targets and premises are locked in one global order, the organization before them, so that two commits cannot wait for each other. A
  -- single operation without a premise locks its row by itself.
  IF v_count > 1 OR v_guarded THEN
    v_refused := pgsync_private.lock_commit(v_organization, v_plan, v_premises);
    IF v_refused IS NOT NULL THEN
      RETURN v_refused;
    END IF;
  ELSIF v_count = 1 AND NOT v_is_locked THEN
    v_ignored := pg_catalog.pg_advisory_xact_lock_shared(
      pgsync_private.organization_lock(pgsync_generated.claim_scope(v_planned.model, v_organization)));
    v_ignored := pgsync_private.lock_claim_target(v_organization, v_planned.model, COALESCE(v_planned.id, ''), false);
  END IF;

  -- None when the look at the locked target has found no claim on it.
  FOR v_index IN 0..CASE WHEN v_is_locked AND v_found < 4 THEN 0 ELSE v_count END - 1
  LOOP
    v_planned := v_plan[v_index];
    v_problem := pgsync_private.check_claims(
      p_identity, v_planned.model, v_operations -> v_index ->> 'model', v_planned.id, v_planned.fields, v_planned.claim_id,
      v_planned.fence_token, v_planned.policy);
    IF v_problem IS NOT NULL THEN
      RETURN pgsync_private.refusal(
        v_problem ->> 'code',
        v_problem ->> 'message',
        v_problem - 'code' - 'message' || CASE WHEN v_count > 1 THEN pg_catalog.jsonb_build_object('operation', v_index) ELSE '{}' END);
    END IF;
  END LOOP;

  IF v_guarded THEN
    v_problem := pgsync_private.check_premises(p_identity, v_plan, v_premises, p_evidence);
    IF v_problem -> 'refused' IS NOT NULL THEN
      RETURN v_problem -> 'refused';
    END IF;
    v_notifications := v_problem -> 'notifications';
    FOR v_index IN SELECT h.h::integer FROM pg_catalog.jsonb_array_elements_text(v_problem -> 'held') AS h(h)
    LOOP
      v_plan[v_index].held := true;
      v_held := v_held + 1;
    END LOOP;
  END IF;
  IF v_found % 4 > 1 OR v_track <> '[]' THEN
    v_problem := pgsync_private.check_tracked(p_identity, v_count, v_track, p_evidence);
    IF v_problem -> 'refused' IS NOT NULL THEN
      RETURN v_problem -> 'refused';
    END IF;
    v_notifications := v_notifications || COALESCE(v_problem -> 'notifications', '[]');
  END IF;

  v_ordinal := COALESCE(NULLIF(pg_catalog.current_setting('pgsync.ordinal', true), '')::integer + 1, 0);
  v_server_tx_id := pg_catalog.pg_current_xact_id()::text || '-' || v_ordinal;
  v_ignored := pg_catalog.set_config('pgsync.ordinal', v_ordinal::text, true);
  v_ignored := pg_catalog.set_config('pgsync.commit', v_server_tx_id, true);
  v_ignored := pg_catalog.set_config('pgsync.announced', '', true);
  -- Before the changes: whoever reads the log knows whose they are when they come.
  v_ignored := pg_catalog.pg_logical_emit_message(
    true,
    'pgsync',
    pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
      't', 'c',
      'w', v_gate[2],
      'id', v_server_tx_id,
      'org', v_organization,
      'actor', pg_catalog.jsonb_build_object('kind', v_kind, 'id', v_participant),
      'obo', p_identity -> 'onBehalfOf',
      'cap', p_identity -> 'capabilityId',
      'key', p_key,
      'ops', v_echo,
      'snap', pg_catalog.pg_current_snapshot()::text))::text);

  FOR v_index IN 0..v_count - 1
  LOOP
    v_planned := v_plan[v_index];
    CONTINUE WHEN v_planned.held;
    v_status := pgsync_generated.apply_operation(v_planned.action, v_planned.model, v_planned.id, v_planned.data);
    IF v_status = 'missing' THEN
      v_ignored := pg_catalog.set_config('pgsync.commit', '', true);
      IF v_count = 1 THEN
        RETURN pgsync_private.refusal(
          'mutate_update_entity_not_found',
          pg_catalog.format('no such row: %s', v_planned.id),
          pg_catalog.jsonb_build_object('missingIds', pg_catalog.jsonb_build_array(v_planned.id)));
      END IF;
      RAISE EXCEPTION USING
        ERRCODE = 'PS406',
        MESSAGE = pg_catalog.format('no such row: %s', v_planned.id),
        DETAIL = pg_catalog.format('operation %s', v_planned.index),
        HINT = 'An earlier operation of the same commit deleted it.';
    END IF;
    IF v_status = 'exists' AND v_made ? v_index::text THEN
      RAISE EXCEPTION USING
        ERRCODE = 'unique_violation',
        MESSAGE = pg_catalog.format('%s: there is a row with the id %s already, which the database gives to the next one', v_planned.model_key, v_planned.id),
        HINT = 'Set the sequence of the key behind the ids that rows have: SELECT setval(..).',
        COLUMN = 'id';
    END IF;
    IF v_planned.fence_token IS NOT NULL THEN
      v_ignored := pgsync_private.note_fence_token(v_organization, v_planned.model, v_planned.id, v_planned.fence_token);
    END IF;
    IF v_planned.claim_id IS NOT NULL THEN
      v_claims := v_claims || pg_catalog.jsonb_build_object(
        'id', v_planned.claim_id,
        'target', pg_catalog.jsonb_build_object('scope', 'row', 'model', v_operations -> v_index ->> 'model', 'id', v_planned.id),
        'fenceToken', COALESCE(v_planned.fence_token, pgsync_private.claim_fence_token(v_organization, v_planned.claim_id)));
    END IF;
  END LOOP;
  v_ignored := pg_catalog.set_config('pgsync.commit', '', true);

  v_result := pg_catalog.jsonb_build_object(
    'outcome', 'committed',
    'serverTxId', v_server_tx_id,
    'createdAt', pgsync_private.iso(v_created_at),
    'ops', v_count - v_held,
    'replayed', false)
    || CASE WHEN v_made = '{}' THEN '{}' ELSE pg_catalog.jsonb_build_object('madeIds', v_made) END
    || CASE WHEN v_notifications = '[]' THEN '{}' ELSE pg_catalog.jsonb_build_object('notifications', v_notifications) END;
  INSERT INTO pgsync_private.commit (
    organization_id, participant_kind, participant_id, key, request_hash, server_tx_id, xid, ordinal, capability_id,
    on_behalf_of_kind, on_behalf_of_id, operation_count, operations, read_set, claims, result, created_at, day_of_three, route, authority
  )
  VALUES (
    v_organization, v_kind, v_participant, p_key, v_hash, v_server_tx_id, pg_catalog.pg_current_xact_id(), v_ordinal,
    p_identity ->> 'capabilityId', p_identity -> 'onBehalfOf' ->> 'kind', p_identity -> 'onBehalfOf' ->> 'id', v_count,
    v_redacted, v_premises || v_track, v_claims, v_result, v_created_at,
    ((v_created_at AT TIME ZONE 'UTC')::date - DATE '2000-01-01') % 3,
    p_request ->> 'route',
    CASE
      WHEN p_identity ->> 'capabilityId' IS NULL OR pg_catalog.current_setting('pgsync.sync_groups', true) <> p_identity ->> 'syncGroups'
        THEN pg_catalog.jsonb_build_object(
          'syncGroups', pg_catalog.current_setting('pgsync.sync_groups', true)::jsonb, 'operations', v_grants)
    END
  );
  RETURN v_result;
END
$function$;

ALTER FUNCTION pgsync_private.commit(jsonb, text, jsonb, jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.commit(jsonb, text, jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.commit(jsonb, text, jsonb, jsonb) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.commit(jsonb, text, jsonb, jsonb) IS 'The whole way of a commit, in the caller''s transaction.';
