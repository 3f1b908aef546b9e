-- Refuses a row id that is no uuid. Null passes: a create may leave its id to us.
-- Raises: PS106.
CREATE OR REPLACE FUNCTION pgsync_private.require_uuid_id(p_id text)
  RETURNS void
  LANGUAGE plpgsql
  IMMUTABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  IF p_id !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN
    RAISE EXCEPTION USING
      ERRCODE = 'PS106',
      MESSAGE = 'the id is not a uuid',
      HINT = 'Ids of this model look like 123e4567-e89b-12d3-a456-426614174000.',
      COLUMN = 'id';
  END IF;
END
$function$;

ALTER FUNCTION pgsync_private.require_uuid_id(text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.require_uuid_id(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.require_uuid_id(text) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.require_uuid_id(text) IS 'Refuses a row id that is no uuid.';
