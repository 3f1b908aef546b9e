-- Puts what a gateway has to say about the presence of its clients into the log, where every other gateway reads it. p_said: an object.
-- It goes to whoever reads the log, so it must hold nothing that participants of the same organization may not know.
-- SECURITY DEFINER: the message is one of pgsync's own.
CREATE OR REPLACE FUNCTION pgsync.say_presence_v1(p_said jsonb)
  RETURNS void
  LANGUAGE plpgsql
  VOLATILE
  SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_ignored text; -- an assignment is cheaper than PERFORM, which goes through the executor
BEGIN
  v_ignored := pg_catalog.pg_logical_emit_message(true, 'pgsync', (p_said || pg_catalog.jsonb_build_object('t', 'p', 'w', pgsync_private.message_token()))::text);
END
$function$;

ALTER FUNCTION pgsync.say_presence_v1(jsonb) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.say_presence_v1(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.say_presence_v1(jsonb) TO pgsync_gateway;
COMMENT ON FUNCTION pgsync.say_presence_v1(jsonb) IS 'Puts what a gateway says about the presence of its clients into the log.';
