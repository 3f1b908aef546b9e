-- Trigger, after a row of a model with claims="enforced" was written by anything but an operation of a commit (those have been checked):
-- by direct SQL or COPY, and by cascades, also those of a commit. Refuses what goes through somebody's claim.
-- Arguments: model's name in SQL, its key, id column, tenant column or '', field by column as JSON, conflict modes as JSON.
-- Direct SQL acts for no participant, so it yields to every claim; a cascade of a commit yields as its participant would.
-- By now the row is locked, and a grant on such a model waits for that lock, so neither overtakes the other.
-- Raises: PS401, naming the holder; not to a participant who did not see the row that a cascade has come to.
-- SECURITY DEFINER: claims are private.
CREATE OR REPLACE FUNCTION pgsync_private.keep_claims()
  RETURNS trigger
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off'
AS $function$
DECLARE
  v_commit boolean := pgsync_private.current_commit() IS NOT NULL;
  v_old jsonb := CASE WHEN TG_OP <> 'INSERT' THEN pg_catalog.to_jsonb(OLD) END;
  v_new jsonb := CASE WHEN TG_OP <> 'DELETE' THEN pg_catalog.to_jsonb(NEW) END;
  v_kind text := CASE WHEN v_commit THEN pgsync.participant_kind() END;
  v_policy text;
  v_parts text[];
  v_claim pgsync_private.claim;
  v_change pgsync_private.change;
BEGIN
  IF v_commit THEN
    v_policy := COALESCE(TG_ARGV[5]::jsonb ->> v_kind, CASE v_kind WHEN 'user' THEN 'overwrite' ELSE 'reject' END);
    IF v_kind <> 'agent' AND v_policy = 'overwrite' THEN
      RETURN NULL;
    END IF;
  END IF;
  FOR v_claim IN
    SELECT c.*
    FROM pgsync_private.claim AS c
    WHERE c.scope = ANY (ARRAY[
        CASE TG_ARGV[3] WHEN '' THEN '' ELSE v_old ->> TG_ARGV[3] END,
        CASE TG_ARGV[3] WHEN '' THEN '' ELSE v_new ->> TG_ARGV[3] END])
      AND c.model = TG_ARGV[0]
      AND c.row_id = ANY (ARRAY[v_old ->> TG_ARGV[2], v_new ->> TG_ARGV[2]])
      AND c.ended_at IS NULL
      AND c.status = 'active'
      AND c.expires_at > pg_catalog.clock_timestamp()
      AND (
        NOT v_commit
        OR (c.organization_id, c.participant_kind, c.participant_id) <> (pgsync.organization_id(), v_kind, pgsync.participant_id())
      )
    ORDER BY c.place
  LOOP
    IF v_claim.parts IS NOT NULL AND TG_OP = 'UPDATE' AND v_old ->> TG_ARGV[2] = v_new ->> TG_ARGV[2] THEN
      v_parts := COALESCE(v_parts, ARRAY(
        SELECT pg_catalog.lower(f.value)
        FROM pg_catalog.jsonb_each_text(TG_ARGV[4]::jsonb) AS f(key, value)
        WHERE v_old -> f.key IS DISTINCT FROM v_new -> f.key
      ));
      CONTINUE WHEN NOT v_claim.parts && v_parts;
    END IF;
    v_change.model := TG_ARGV[0];
    v_change.row_id := v_claim.row_id;
    v_change.organization_id := COALESCE(v_old, v_new) ->> TG_ARGV[3];
    v_change.op := 'D';
    v_change.old_row := COALESCE(v_old, v_new);
    IF v_commit AND pgsync_generated.seen_as(v_change, true) NOT IN ('B', 'E') THEN
      RAISE EXCEPTION USING
        ERRCODE = 'PS401',
        MESSAGE = pg_catalog.format('this write changes a row of %s that is claimed', TG_ARGV[1]),
        DETAIL = '{}',
        HINT = 'Write when the claim has ended.',
        SCHEMA = TG_TABLE_SCHEMA,
        TABLE = TG_TABLE_NAME;
    END IF;
    RAISE EXCEPTION USING
      ERRCODE = 'PS401',
      MESSAGE = pg_catalog.format(
        '%s/%s is claimed by %s %s until %s', TG_ARGV[1], v_claim.row_id, v_claim.participant_kind, v_claim.participant_id,
        pgsync_private.iso(v_claim.expires_at)),
      DETAIL = pg_catalog.jsonb_build_object(
        'heldBy', v_claim.participant_id,
        'heldByClaim', pgsync_private.claim_summary(v_claim, TG_ARGV[1]),
        'claims', pg_catalog.jsonb_build_array(pgsync_private.claim_summary(v_claim, TG_ARGV[1])))::text,
      HINT = pg_catalog.format(
        'Write when the claim has ended, or end it: SELECT pgsync.end_claim_v1(%L, %L).', v_claim.organization_id, v_claim.id),
      SCHEMA = TG_TABLE_SCHEMA,
      TABLE = TG_TABLE_NAME;
  END LOOP;
  RETURN NULL;
END
$function$;

ALTER FUNCTION pgsync_private.keep_claims() OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.keep_claims() FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.keep_claims() IS 'Refuses to write a row through somebody''s claim.';
