-- A field has another name from now on, in the transaction that renames it: leases on it hold it under the new name, and whatever was read
-- of the model's rows before is stale once (op S in the change log), because older changes are logged under the old name.
-- For administrators only.
CREATE OR REPLACE FUNCTION pgsync_private.rename_field(p_model text, p_before text, p_now text)
  RETURNS void
  LANGUAGE sql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
  UPDATE pgsync_private.claim AS c
  SET field = CASE WHEN c.field = p_before THEN p_now ELSE c.field END,
      fields = pg_catalog.array_replace(c.fields, p_before, p_now),
      parts = ARRAY(
        SELECT DISTINCT p.p
        FROM pg_catalog.unnest(pg_catalog.array_replace(c.parts, pg_catalog.lower(p_before), pg_catalog.lower(p_now))) AS p(p)
        ORDER BY p.p
      )
  WHERE c.model = p_model
    AND c.ended_at IS NULL
    AND pg_catalog.lower(p_before) = ANY (c.parts);
  INSERT INTO pgsync_private.change (model, row_id, op, role_name)
  VALUES (p_model, '', 'S', pgsync_private.role_name());
$function$;

ALTER FUNCTION pgsync_private.rename_field(text, text, text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.rename_field(text, text, text) FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.rename_field(text, text, text) IS 'A field has another name from now on.';
