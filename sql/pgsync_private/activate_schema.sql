-- Makes a schema the active version, in the transaction of the push that has just installed it, and tells everybody:
-- the stream by messages at exactly this place of the log, which models have to be loaded anew included, gateways by a notification.
-- p_objects: [{"model", "kind", "identity", "hash"}, ..], everything that is now installed for the schema.
-- Returns the number of the version, which is a new one unless the same definition is active already. For administrators only.
CREATE OR REPLACE FUNCTION pgsync_private.activate_schema(
  p_hash text,
  p_definition_hash text,
  p_document jsonb,
  p_models jsonb,
  p_objects jsonb
)
  RETURNS integer
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_version integer;
  v_before jsonb;
BEGIN
  DELETE FROM pgsync_private.installed_object AS o
  WHERE o.kind NOT IN ('runtime', 'table'); -- tables were recorded here before their comments told
  INSERT INTO pgsync_private.installed_object (model, kind, identity, hash)
  SELECT
    o.o ->> 'model',
    o.o ->> 'kind',
    o.o ->> 'identity',
    o.o ->> 'hash'
  FROM pg_catalog.jsonb_array_elements(p_objects) AS o(o);
  UPDATE pgsync_private.installed_object AS o
  SET state = pgsync_private.object_state(o.kind, o.identity);

  SELECT s.version
  INTO v_version
  FROM pgsync_private.schema_version AS s
  WHERE s.state = 'active'
    AND s.hash = p_hash
    AND s.definition_hash = p_definition_hash;
  IF FOUND THEN
    PERFORM pgsync_private.look_at_tables();
    RETURN v_version;
  END IF;

  UPDATE pgsync_private.schema_version AS s
  SET state = 'retired'
  WHERE s.state = 'active'
  RETURNING s.models
  INTO v_before;
  SELECT COALESCE(pg_catalog.max(s.version), 0) + 1
  INTO v_version
  FROM pgsync_private.schema_version AS s;
  INSERT INTO pgsync_private.schema_version (version, state, hash, definition_hash, document, models, activated_at)
  VALUES (v_version, 'active', p_hash, p_definition_hash, p_document, p_models, pg_catalog.clock_timestamp());
  DELETE FROM pgsync_private.schema_proposal AS p
  WHERE p.hash = p_hash;

  -- The stream goes by the models of before up to the end of this transaction.
  PERFORM pgsync_private.look_at_tables(COALESCE(v_before, '[]'));
  PERFORM pg_catalog.pg_logical_emit_message(
    true,
    'pgsync',
    pg_catalog.jsonb_build_object('t', 's', 'w', pgsync_private.message_token(), 'version', v_version)::text);
  PERFORM pg_catalog.pg_notify('pgsync', pg_catalog.jsonb_build_object('t', 'schema', 'version', v_version)::text);
  RETURN v_version;
END
$function$;

ALTER FUNCTION pgsync_private.activate_schema(text, text, jsonb, jsonb, jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.activate_schema(text, text, jsonb, jsonb, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.activate_schema(text, text, jsonb, jsonb, jsonb) IS 'Makes a schema the active version and tells everybody.';
