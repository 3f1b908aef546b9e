-- Trigger, before a statement of a commit: gives what others have on the table (triggers, checks) the search_path of the table's owner, which
-- they were written for; ours is empty but for pg_catalog. It is over with the write function, whose own SET brings ours back.
-- The one function without a SET search_path, which would end with it; everything in its body is qualified.
-- Arguments: the search_path, as a push found it.
CREATE OR REPLACE FUNCTION pgsync_private.follow_search_path()
  RETURNS trigger
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
AS $function$
DECLARE
  v_ignored text; -- an assignment is cheaper than PERFORM, which goes through the executor
BEGIN
  v_ignored := pg_catalog.set_config('search_path', TG_ARGV[0], true);
  RETURN NULL;
END
$function$;

ALTER FUNCTION pgsync_private.follow_search_path() OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.follow_search_path() FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.follow_search_path() IS 'Gives what others have on a table the search_path of its owner.';
