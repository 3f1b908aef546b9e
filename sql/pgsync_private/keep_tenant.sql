-- Trigger, before an update that would move a row to another organization: refuses it, for every role.
-- What a row belongs to decides who has ever seen it; a moved row would stay on the screens of its former owners.
-- Raises: PS303.
CREATE OR REPLACE FUNCTION pgsync_private.keep_tenant()
  RETURNS trigger
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  RAISE EXCEPTION USING
    ERRCODE = 'PS303',
    MESSAGE = pg_catalog.format('the organization of a row of %I.%I never changes', TG_TABLE_SCHEMA, TG_TABLE_NAME),
    DETAIL = pg_catalog.format('column=%s', TG_ARGV[0]),
    HINT = 'Insert the row again under the other organization and delete this one.',
    SCHEMA = TG_TABLE_SCHEMA,
    TABLE = TG_TABLE_NAME,
    COLUMN = TG_ARGV[0];
END
$function$;

ALTER FUNCTION pgsync_private.keep_tenant() OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.keep_tenant() FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.keep_tenant() IS 'Refuses to move a row to another organization.';
