-- Live claims of other participants that collide with parts of a row (null: the whole row): holders first, then those in line, in its order.
-- p_before: only those who hold or stand before this place; null: all.
CREATE OR REPLACE FUNCTION pgsync_private.claims_in_the_way(
  p_scope text,
  p_model text,
  p_id text,
  p_organization text,
  p_kind text,
  p_participant text,
  p_parts text[],
  p_before bigint
)
  RETURNS pgsync_private.claim[]
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = 'off'
AS $function$
BEGIN
  RETURN ARRAY(
    SELECT c
    FROM pgsync_private.claim AS c
    WHERE c.scope = p_scope
      AND c.model = p_model
      AND c.row_id = p_id
      AND c.ended_at IS NULL
      AND (c.status = 'active' OR p_before IS NULL OR c.place < p_before)
      AND (c.organization_id, c.participant_kind, c.participant_id) <> (p_organization, p_kind, p_participant)
      AND (c.parts IS NULL OR p_parts IS NULL OR c.parts && p_parts)
    ORDER BY c.status, c.place
    LIMIT 20
  );
END
$function$;

ALTER FUNCTION pgsync_private.claims_in_the_way(text, text, text, text, text, text, text[], bigint) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.claims_in_the_way(text, text, text, text, text, text, text[], bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.claims_in_the_way(text, text, text, text, text, text, text[], bigint) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.claims_in_the_way(text, text, text, text, text, text, text[], bigint) IS
  'Live claims of other participants that collide with parts of a row.';
