-- Gives the partitions of a table its replica identity: Postgres writes the log by theirs and describes it by the table's, so that with another
-- one columns that were not logged would pass for NULL. What they had is kept for the day when pgsync goes. Called by a push, as its role.
CREATE OR REPLACE FUNCTION pgsync_private.match_partitions(p_table regclass)
  RETURNS void
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_leaf record;
BEGIN
  FOR v_leaf IN
    SELECT
      n.nspname,
      c.relname,
      c.relreplident,
      r.relreplident = 'f' AS is_full,
      (
        SELECT x.relname
        FROM pg_catalog.pg_index AS i
        JOIN pg_catalog.pg_class AS x
          ON x.oid = i.indexrelid
        WHERE i.indrelid = c.oid
          AND i.indisreplident
      ) AS index_name
    FROM pg_catalog.pg_class AS r
    CROSS JOIN LATERAL pg_catalog.pg_partition_tree(r.oid) AS p
    JOIN pg_catalog.pg_class AS c
      ON c.oid = p.relid
    JOIN pg_catalog.pg_namespace AS n
      ON n.oid = c.relnamespace
    WHERE r.oid = p_table
      AND r.relkind = 'p'
      AND p.isleaf
      AND c.relreplident <> r.relreplident
    ORDER BY n.nspname, c.relname
  LOOP
    INSERT INTO pgsync_private.replica_identity_before (namespace, table_name, kind, index_name)
    VALUES (v_leaf.nspname, v_leaf.relname, v_leaf.relreplident, v_leaf.index_name)
    ON CONFLICT (namespace, table_name) DO NOTHING;
    -- Built, because the names of partitions are known to the catalog only.
    IF v_leaf.is_full THEN
      EXECUTE pg_catalog.format('ALTER TABLE %I.%I REPLICA IDENTITY FULL', v_leaf.nspname, v_leaf.relname);
    ELSE
      EXECUTE pg_catalog.format('ALTER TABLE %I.%I REPLICA IDENTITY DEFAULT', v_leaf.nspname, v_leaf.relname);
    END IF;
  END LOOP;
END
$function$;

ALTER FUNCTION pgsync_private.match_partitions(regclass) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.match_partitions(regclass) FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.match_partitions(regclass) IS 'Gives the partitions of a table its replica identity.';
