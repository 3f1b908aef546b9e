-- The newest change of a row, or of a group, that a reader had not seen: his premise is stale. No row (all null): it holds.
-- A change is seen if its transaction was visible in the evidence's snapshot or is listed in seen (or its commit in seenCommits).
-- p_id names a row, p_group a group; the other is null. p_fields: only changes of these fields count for a row that was updated (null: any
-- change counts); a creation, deletion or truncation always counts. Changes of the participant p_except_kind/p_except_id are left out.
-- Only what the caller, whose identity has been set, would have been told counts: a row that he saw neither before nor after a change is to
-- him as one that is not there, and one that entered or left what he sees was created or deleted. For a group, his grants decide, too.
-- Evidence older than the change log sees nothing: xid is then the log's floor and op is '?'. A change of which is not known who saw it, because
-- it is older than that knowledge, counts without saying more (op *).
-- enable_seqscan is off because a partition that was empty when it was last analyzed looks free to scan to a cached plan.
CREATE OR REPLACE FUNCTION pgsync_private.unseen_change(
  p_organization text,
  p_model text,
  p_id text,
  p_group text,
  p_fields text[],
  p_evidence jsonb,
  p_except_kind text,
  p_except_id text
)
  RETURNS pgsync_private.change
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off'
AS $function$
DECLARE
  v_snapshot pg_snapshot := COALESCE(p_evidence ->> 'snapshot', '3:3:')::pg_snapshot;
  v_oldest xid8 := pg_catalog.pg_snapshot_xmin(v_snapshot);
  v_floor xid8;
  v_seen xid8[] := ARRAY(SELECT s.s::xid8 FROM pg_catalog.jsonb_array_elements_text(COALESCE(p_evidence -> 'seen', '[]')) AS s(s));
  v_seen_commits text[] := ARRAY(SELECT s.s FROM pg_catalog.jsonb_array_elements_text(COALESCE(p_evidence -> 'seenCommits', '[]')) AS s(s));
  v_unseen xid8 := (p_evidence ->> 'unseen')::xid8;
  v_change pgsync_private.change;
  v_kind record;
  v_newest bigint[]; -- seq and xid
  v_is_known boolean;
  v_seen_as text;
BEGIN
  SELECT s.value::xid8
  INTO v_floor
  FROM pgsync_private.setting AS s
  WHERE s.name = 'change_floor_xid';
  IF v_oldest <= v_floor THEN
    v_change.xid := v_floor;
    v_change.model := p_model;
    v_change.row_id := p_id;
    v_change.op := '?';
    v_change.role_name := '';
    RETURN v_change;
  END IF;
  IF v_unseen < v_oldest THEN
    v_oldest := v_unseen;
  END IF;

  -- Many changes look alike to a reader: each kind of them is judged once, the newest first.
  IF p_group IS NULL THEN
    FOR v_kind IN
      SELECT
        c.model,
        c.organization_id,
        c.row_id,
        c.op,
        c.old_row,
        c.new_row,
        COALESCE(p_fields IS NULL OR c.op <> 'U' OR c.fields && p_fields, true) AS counts,
        pg_catalog.max(ARRAY[c.seq, c.xid::text::bigint]) AS newest
      FROM pgsync_private.change AS c
      WHERE c.row_id = ANY (ARRAY[p_id, ''])
        AND c.model = p_model
        AND c.xid >= v_oldest
        AND (c.organization_id IS NULL OR c.organization_id = p_organization)
        AND (NOT pg_catalog.pg_visible_in_snapshot(c.xid, v_snapshot) OR c.xid = v_unseen)
        AND c.xid <> ALL (v_seen)
        AND COALESCE(c.server_tx_id, '') <> ALL (v_seen_commits)
        AND (p_except_id IS NULL OR (c.actor_kind, c.actor_id) IS DISTINCT FROM (p_except_kind, p_except_id))
      GROUP BY 1, 2, 3, 4, 5, 6, 7
      ORDER BY newest DESC
    LOOP
      v_change.model := v_kind.model;
      v_change.organization_id := v_kind.organization_id;
      v_change.row_id := v_kind.row_id;
      v_change.op := v_kind.op;
      v_change.old_row := v_kind.old_row;
      v_change.new_row := v_kind.new_row;
      v_seen_as := pgsync_generated.seen_as(v_change, false);
      IF v_seen_as = 'E' OR (v_seen_as <> 'N' AND v_kind.counts) THEN
        v_newest := v_kind.newest;
        v_is_known := v_seen_as <> '?' OR pgsync_generated.sees_row(p_model, p_id);
        EXIT;
      END IF;
    END LOOP;
  ELSE
    FOR v_kind IN
      SELECT
        c.model,
        c.organization_id,
        CASE c.row_id WHEN '' THEN '' ELSE '*' END AS row_id,
        c.op,
        c.old_row,
        c.new_row,
        pg_catalog.max(ARRAY[c.seq, c.xid::text::bigint]) AS newest
      FROM pgsync_private.change AS c
      WHERE c.xid >= v_oldest
        AND (c.organization_id IS NULL OR c.organization_id = p_organization)
        AND (
          p_group = ANY (c.sync_groups)
          OR c.op IN ('T', 'S')
          OR (c.sync_groups IS NULL AND c.organization_id IS NOT NULL AND p_group = 'org:' || c.organization_id)
          OR (c.sync_groups IS NULL AND c.organization_id IS NULL AND p_group = 'default')
        )
        AND (NOT pg_catalog.pg_visible_in_snapshot(c.xid, v_snapshot) OR c.xid = v_unseen)
        AND c.xid <> ALL (v_seen)
        AND COALESCE(c.server_tx_id, '') <> ALL (v_seen_commits)
        AND (p_except_id IS NULL OR (c.actor_kind, c.actor_id) IS DISTINCT FROM (p_except_kind, p_except_id))
      GROUP BY 1, 2, 3, 4, 5, 6
      ORDER BY newest DESC
    LOOP
      v_change.model := v_kind.model;
      v_change.organization_id := v_kind.organization_id;
      v_change.row_id := v_kind.row_id;
      v_change.op := v_kind.op;
      v_change.old_row := v_kind.old_row;
      v_change.new_row := v_kind.new_row;
      v_seen_as := pgsync_generated.seen_as(v_change, true);
      IF v_seen_as <> 'N' THEN
        v_newest := v_kind.newest;
        v_is_known := v_seen_as <> '?';
        EXIT;
      END IF;
    END LOOP;
  END IF;
  IF v_newest IS NULL THEN
    RETURN NULL;
  END IF;
  SELECT c.*
  INTO v_change
  FROM pgsync_private.change AS c
  WHERE c.xid = v_newest[2]::text::xid8
    AND c.seq = v_newest[1];
  RETURN CASE WHEN v_is_known THEN v_change ELSE pgsync_private.unattributed_change(v_change) END;
END
$function$;

ALTER FUNCTION pgsync_private.unseen_change(text, text, text, text, text[], jsonb, text, text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.unseen_change(text, text, text, text, text[], jsonb, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.unseen_change(text, text, text, text, text[], jsonb, text, text) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.unseen_change(text, text, text, text, text[], jsonb, text, text) IS
  'The newest change of a row or group that a reader had not seen; all null when his premise holds.';
