-- Whether the caller may be shown a commit record: its own always; somebody else's only as a program of the organization (participant
-- kind system) that may read every model it names. Ids of rows are in a record, and a user's or an agent's eyes end at row security.
-- Called after set_identity_v1.
CREATE OR REPLACE FUNCTION pgsync_private.may_see_commit(p_commit pgsync_private.commit)
  RETURNS boolean
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  IF p_commit.organization_id IS DISTINCT FROM pgsync.organization_id() THEN
    RETURN false;
  END IF;
  IF p_commit.participant_kind = pgsync.participant_kind() AND p_commit.participant_id = pgsync.participant_id() THEN
    RETURN true;
  END IF;
  RETURN pgsync.participant_kind() = 'system'
    AND pgsync.holds_group('org:' || p_commit.organization_id)
    AND NOT EXISTS (
      SELECT
      FROM (
        SELECT o.o ->> 'model' AS model
        FROM pg_catalog.jsonb_array_elements(p_commit.operations) AS o(o)
        UNION
        SELECT r.r ->> 'modelKey'
        FROM pg_catalog.jsonb_array_elements(p_commit.read_set) AS r(r)
        UNION
        SELECT n.n -> 'target' ->> 'model'
        FROM pg_catalog.jsonb_array_elements(p_commit.result -> 'notifications') AS n(n)
      ) AS named
      WHERE named.model IS DISTINCT FROM '*' -- a change of no model in particular
        AND named.model IS NOT NULL -- a premise on a group
        AND NOT pgsync.may_read(COALESCE((pgsync_generated.resolve_model(named.model))[2], ''))
    );
END
$function$;

ALTER FUNCTION pgsync_private.may_see_commit(pgsync_private.commit) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.may_see_commit(pgsync_private.commit) FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.may_see_commit(pgsync_private.commit) IS 'Whether the caller may be shown a commit record.';
