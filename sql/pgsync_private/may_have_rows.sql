-- Whether a table, or any partition of it, takes room: one that does not has no row. Locks like a read, and reads none.
CREATE OR REPLACE FUNCTION pgsync_private.may_have_rows(p_table oid)
  RETURNS boolean
  LANGUAGE sql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
  SELECT EXISTS (
    SELECT
    FROM (
      SELECT p_table AS relid
      UNION ALL
      SELECT p.relid
      FROM pg_catalog.pg_partition_tree(p_table) AS p
    ) AS t
    WHERE pg_catalog.pg_relation_size(t.relid) > 0
  );
$function$;

ALTER FUNCTION pgsync_private.may_have_rows(oid) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.may_have_rows(oid) FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.may_have_rows(oid) IS 'Whether a table takes any room.';
