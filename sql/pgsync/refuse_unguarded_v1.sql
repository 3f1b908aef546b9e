-- Refuses a read of a table whose row security somebody has taken away. Never returns.
-- Raises: PS203.
CREATE OR REPLACE FUNCTION pgsync.refuse_unguarded_v1(p_table regclass)
  RETURNS boolean
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  RAISE EXCEPTION USING
    ERRCODE = 'PS203',
    MESSAGE = 'somebody has taken the row security of a table away, so nobody reads it: push the schema again',
    DETAIL = pg_catalog.format('table=%s', p_table),
    HINT = '`pgsync doctor` says what is missing, `pgsync push` puts it back.';
END
$function$;

ALTER FUNCTION pgsync.refuse_unguarded_v1(regclass) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync.refuse_unguarded_v1(regclass) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync.refuse_unguarded_v1(regclass) TO pgsync_gateway;
COMMENT ON FUNCTION pgsync.refuse_unguarded_v1(regclass) IS 'Refuses a read of a table whose row security somebody has taken away.';
