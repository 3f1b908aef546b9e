-- The word that our messages in the log are known by: anybody may write under our prefix, and only who may read the log could learn it.
CREATE OR REPLACE FUNCTION pgsync_private.message_token()
  RETURNS text
  LANGUAGE sql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
  SELECT s.value
  FROM pgsync_private.setting AS s
  WHERE s.name = 'message_token';
$function$;

ALTER FUNCTION pgsync_private.message_token() OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.message_token() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.message_token() TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.message_token() IS 'The word that our messages in the log are known by.';
