-- The search_path that the owner of a table has in this database when it connects: what the triggers, checks and defaults of the table were
-- written for. "$user" is the owner; pg_temp comes last, so that nobody's temporary table passes for one of the application's.
CREATE OR REPLACE FUNCTION pgsync_private.search_path_of(p_table regclass)
  RETURNS text
  LANGUAGE sql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
  SELECT pg_catalog.concat_ws(
    ', ',
    NULLIF(
      pg_catalog.replace(
        COALESCE(
          (
            SELECT pg_catalog.substr(o.o, 13)
            FROM pg_catalog.pg_db_role_setting AS s
            JOIN pg_catalog.pg_database AS d
              ON d.datname = pg_catalog.current_database()
            CROSS JOIN LATERAL unnest(s.setconfig) AS o(o)
            WHERE s.setrole IN (c.relowner, 0)
              AND s.setdatabase IN (d.oid, 0)
              AND o.o LIKE 'search\_path=%'
            ORDER BY (s.setrole <> 0 AND s.setdatabase <> 0) DESC, s.setrole <> 0 DESC, s.setdatabase <> 0 DESC
            LIMIT 1
          ),
          '"$user", public'),
        '"$user"',
        pg_catalog.quote_ident(r.rolname)),
      ''),
    'pg_temp')
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_roles AS r
    ON r.oid = c.relowner
  WHERE c.oid = p_table;
$function$;

ALTER FUNCTION pgsync_private.search_path_of(regclass) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.search_path_of(regclass) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.search_path_of(regclass) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.search_path_of(regclass) IS 'The search_path that the owner of a table has when it connects.';
