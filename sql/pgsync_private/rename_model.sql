-- A model has another name from now on, in the transaction that renames it: claims, fence tokens, tracked premises and grants of credentials
-- follow. Its history keeps the name that it was written with and is found under both (pgsync_private.model_names); whatever was read of the
-- model, or of a group, before is stale once (op S in the change log). Tables are named as what was kept of their replica identity.
-- For administrators only.
CREATE OR REPLACE FUNCTION pgsync_private.rename_model(
  p_before text,
  p_now text,
  p_key_before text,
  p_key_now text,
  p_grant_before text,
  p_grant_now text,
  p_namespace_before text,
  p_table_before text,
  p_namespace text,
  p_table text
)
  RETURNS void
  LANGUAGE sql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
  DELETE FROM pgsync_private.model_rename AS r
  WHERE r.before = p_now;
  UPDATE pgsync_private.model_rename AS r
  SET now = p_now,
      key_now = p_key_now
  WHERE r.now = p_before;
  INSERT INTO pgsync_private.model_rename (before, now, key_before, key_now)
  SELECT p_before, p_now, p_key_before, p_key_now
  WHERE p_before <> p_now
  ON CONFLICT (before) DO UPDATE
  SET now = EXCLUDED.now,
      key_before = EXCLUDED.key_before,
      key_now = EXCLUDED.key_now,
      renamed_at = pg_catalog.clock_timestamp();

  UPDATE pgsync_private.claim AS c
  SET model = p_now,
      model_key = p_key_now
  WHERE c.model = p_before;
  UPDATE pgsync_private.claim_fence AS f
  SET model = p_now
  WHERE f.model = p_before
    AND p_before <> p_now;
  UPDATE pgsync_private.tracked_premise AS t
  SET model = p_now,
      model_key = p_key_now
  WHERE t.model = p_before;
  UPDATE pgsync_private.credential AS c
  SET operations = ARRAY(
    SELECT CASE WHEN o.o LIKE p_grant_before || '.%' THEN p_grant_now || pg_catalog.substr(o.o, pg_catalog.length(p_grant_before) + 1) ELSE o.o END
    FROM pg_catalog.unnest(c.operations) WITH ORDINALITY AS o(o, n)
    ORDER BY o.n
  )
  WHERE p_grant_before <> p_grant_now
    AND EXISTS (
      SELECT
      FROM pg_catalog.unnest(c.operations) AS o(o)
      WHERE o.o LIKE p_grant_before || '.%'
    );
  DELETE FROM pgsync_private.table_state AS s -- of a model that had the name once
  WHERE s.model_key = p_key_now
    AND p_key_before <> p_key_now;
  UPDATE pgsync_private.table_state AS s
  SET model_key = p_key_now
  WHERE s.model_key = p_key_before;
  UPDATE pgsync_private.replica_identity_before AS b
  SET namespace = p_namespace,
      table_name = p_table
  WHERE b.namespace = p_namespace_before
    AND b.table_name = p_table_before;

  INSERT INTO pgsync_private.change (model, row_id, op, role_name)
  VALUES (p_now, '', 'S', pgsync_private.role_name());
$function$;

ALTER FUNCTION pgsync_private.rename_model(text, text, text, text, text, text, text, text, text, text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.rename_model(text, text, text, text, text, text, text, text, text, text) FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.rename_model(text, text, text, text, text, text, text, text, text, text) IS
  'A model has another name from now on.';
