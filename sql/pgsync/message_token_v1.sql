-- The word that our messages in the log are known by. For listeners.
-- SECURITY DEFINER: settings are private.
CREATE OR REPLACE FUNCTION pgsync.message_token_v1()
  RETURNS text
  LANGUAGE sql
  STABLE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
  SELECT pgsync_private.message_token();
$function$;

ALTER FUNCTION pgsync.message_token_v1() OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.message_token_v1() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.message_token_v1() TO pgsync_listener;
COMMENT ON FUNCTION pgsync.message_token_v1() IS 'The word that our messages in the log are known by.';
