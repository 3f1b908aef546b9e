-- One look at what could stand in the way of a commit: 1 when the ledger has its key, from however long ago, plus 2 when the participant
-- tracks anything, plus 4 when there are claims on the target (p_scope, p_model, p_id; no target when p_id is null). Which of them matters is
-- for others to say.
-- Returns {that number, the word that our messages in the log are known by}.
-- enable_seqscan is off because a table that was empty when it was last analyzed looks free to scan to a cached plan, and stays so while it
-- fills: tomorrow's partition of the ledger always is. The organization is compared with IS NOT DISTINCT FROM, which no index serves, so
-- that the plan cannot take the ledger's index by organization and time either.
CREATE OR REPLACE FUNCTION pgsync_private.commit_gate(
  p_organization text,
  p_kind text,
  p_participant text,
  p_key text,
  p_scope text,
  p_model text,
  p_id text
)
  RETURNS text[]
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off'
AS $function$
BEGIN
  RETURN (
    SELECT ARRAY[(
      CASE WHEN EXISTS (
        SELECT
        FROM pgsync_private.commit AS c
        WHERE c.key = p_key
          AND c.participant_id = p_participant
          AND c.organization_id IS NOT DISTINCT FROM p_organization
          AND c.participant_kind = p_kind
      ) THEN 1 ELSE 0 END
      + CASE WHEN EXISTS (
        SELECT
        FROM pgsync_private.tracked_premise AS t
        WHERE t.participant_id = p_participant
          AND t.organization_id = p_organization
          AND t.participant_kind = p_kind
      ) THEN 2 ELSE 0 END
      + CASE WHEN p_id IS NOT NULL AND EXISTS (
        SELECT
        FROM pgsync_private.claim AS c
        WHERE c.scope = p_scope
          AND c.model = p_model
          AND c.row_id = p_id
          AND c.ended_at IS NULL
      ) THEN 4 ELSE 0 END)::text,
      (
        SELECT s.value
        FROM pgsync_private.setting AS s
        WHERE s.name = 'message_token'
      )]
  );
END
$function$;

ALTER FUNCTION pgsync_private.commit_gate(text, text, text, text, text, text, text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.commit_gate(text, text, text, text, text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.commit_gate(text, text, text, text, text, text, text) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.commit_gate(text, text, text, text, text, text, text) IS
  'One look at what could stand in the way of a commit.';
