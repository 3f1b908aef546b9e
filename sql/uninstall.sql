-- Takes pgsync out of this database: policies, triggers, publication, grants, slots, functions, state. Tables and rows stay, also those of
-- tables that a push made. One transaction: an error leaves everything as it was.
-- Run it with psql as whoever may push, after the gateways have been stopped:  psql -v ON_ERROR_STOP=1 -f sql/uninstall.sql
-- Locks: ACCESS EXCLUSIVE on each synced table, for a moment.
-- Refused: while a gateway reads its slot; while objects of others depend on ours (Postgres names them).
-- Needs: what a push needs, and to drop slots, if there are any, REPLICATION (pgsync_listener has it).
-- The roles go when no other database of the cluster uses them, and whoever runs this may drop them; else a notice says which stay.
-- Statements are put together from the catalog, with %I, %s of an oid alias type and quote_ident only: nothing here knows the schema.
DO $uninstall$
DECLARE
  c_namespaces CONSTANT text[] := ARRAY['pgsync', 'pgsync_private', 'pgsync_generated'];
  c_roles CONSTANT text[] := ARRAY['pgsync_gateway', 'pgsync_listener', 'pgsync_writer', 'pgsync_owner'];
  c_policies CONSTANT text[] := ARRAY[
    'pgsync_public', 'pgsync_select', 'pgsync_select_writer', 'pgsync_read_grant', 'pgsync_insert', 'pgsync_update', 'pgsync_delete'];
  v_table record;
  v_object record;
  v_role text;
  v_list text;
  v_slots text;
BEGIN
  PERFORM pg_catalog.set_config('search_path', '', true);
  PERFORM pg_catalog.set_config('lock_timeout', '5s', true);
  PERFORM pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('pgsync push', 0));

  SELECT
    pg_catalog.string_agg(s.slot_name, ', ') FILTER (WHERE s.active),
    pg_catalog.string_agg(s.slot_name, ', ')
  INTO
    v_list,
    v_slots
  FROM pg_catalog.pg_replication_slots AS s
  WHERE s.database = pg_catalog.current_database()
    AND s.slot_name LIKE 'pgsync\_%';
  IF v_list IS NOT NULL THEN
    RAISE EXCEPTION USING
      ERRCODE = 'object_in_use',
      MESSAGE = 'gateways are reading from this database',
      DETAIL = pg_catalog.format('slots in use: %s', v_list),
      HINT = 'Stop them, then run this again.';
  END IF;

  FOR v_table IN
    SELECT
      c.oid,
      c.oid::pg_catalog.regclass AS name,
      n.nspname,
      c.relname,
      EXISTS (
        SELECT
        FROM pg_catalog.pg_policy AS p
        WHERE p.polrelid = c.oid
          AND p.polname = 'pgsync_public'
          AND p.polroles = '{0}'
      ) AND NOT EXISTS (
        SELECT
        FROM pg_catalog.pg_policy AS p
        WHERE p.polrelid = c.oid
          AND p.polname <> ALL (c_policies)
      ) AS row_security_was_off
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n
      ON n.oid = c.relnamespace
    WHERE EXISTS (
        SELECT
        FROM pg_catalog.pg_policy AS p
        WHERE p.polrelid = c.oid
          AND p.polname = ANY (c_policies)
      )
      OR EXISTS (
        SELECT
        FROM pg_catalog.pg_trigger AS t
        JOIN pg_catalog.pg_proc AS f
          ON f.oid = t.tgfoid
        WHERE t.tgrelid = c.oid
          AND t.tgparentid = 0
          AND f.pronamespace::pg_catalog.regnamespace::text = ANY (c_namespaces)
      )
    ORDER BY n.nspname, c.relname
  LOOP
    EXECUTE pg_catalog.format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE', v_table.name);
    FOR v_object IN
      SELECT t.tgname AS name
      FROM pg_catalog.pg_trigger AS t
      JOIN pg_catalog.pg_proc AS f
        ON f.oid = t.tgfoid
      WHERE t.tgrelid = v_table.oid
        AND t.tgparentid = 0
        AND f.pronamespace::pg_catalog.regnamespace::text = ANY (c_namespaces)
    LOOP
      EXECUTE pg_catalog.format('DROP TRIGGER %I ON %s', v_object.name, v_table.name);
    END LOOP;
    -- The gateway's rights go first, so that it never reads without its policies.
    EXECUTE pg_catalog.format('REVOKE ALL ON TABLE %s FROM pgsync_writer, pgsync_gateway', v_table.name);
    IF v_table.row_security_was_off THEN
      EXECUTE pg_catalog.format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', v_table.name);
    END IF;
    FOR v_object IN
      SELECT p.polname AS name
      FROM pg_catalog.pg_policy AS p
      WHERE p.polrelid = v_table.oid
        AND p.polname = ANY (c_policies)
    LOOP
      EXECUTE pg_catalog.format('DROP POLICY %I ON %s', v_object.name, v_table.name);
    END LOOP;
    FOR v_object IN
      SELECT
        CASE b.kind
          WHEN 'd' THEN 'DEFAULT'
          WHEN 'n' THEN 'NOTHING'
          ELSE 'USING INDEX ' || pg_catalog.quote_ident(b.index_name)
        END AS name
      FROM pgsync_private.replica_identity_before AS b
      WHERE b.namespace = v_table.nspname
        AND b.table_name = v_table.relname
        AND (b.kind <> 'i' OR b.index_name IS NOT NULL)
    LOOP
      EXECUTE pg_catalog.format('ALTER TABLE %s REPLICA IDENTITY %s', v_table.name, v_object.name);
    END LOOP;
  END LOOP;
  -- Partitions, of which a push changes nothing else.
  IF pg_catalog.to_regclass('pgsync_private.replica_identity_before') IS NOT NULL THEN
    FOR v_object IN
      SELECT
        c.oid::pg_catalog.regclass AS partition,
        CASE b.kind
          WHEN 'd' THEN 'DEFAULT'
          WHEN 'n' THEN 'NOTHING'
          WHEN 'f' THEN 'FULL'
          ELSE 'USING INDEX ' || pg_catalog.quote_ident(b.index_name)
        END AS name
      FROM pgsync_private.replica_identity_before AS b
      JOIN pg_catalog.pg_namespace AS n
        ON n.nspname = b.namespace
      JOIN pg_catalog.pg_class AS c
        ON c.relnamespace = n.oid
        AND c.relname = b.table_name
      WHERE c.relispartition
        AND (b.kind <> 'i' OR b.index_name IS NOT NULL)
    LOOP
      EXECUTE pg_catalog.format('ALTER TABLE %s REPLICA IDENTITY %s', v_object.partition, v_object.name);
    END LOOP;
  END IF;
  DROP PUBLICATION IF EXISTS pgsync;
  FOR v_table IN
    SELECT c.oid::pg_catalog.regclass AS name
    FROM pg_catalog.pg_class AS c
    WHERE c.relkind IN ('r', 'p')
      AND pg_catalog.obj_description(c.oid, 'pg_class') LIKE '[pgsync model=%]'
  LOOP
    EXECUTE pg_catalog.format('COMMENT ON TABLE %s IS NULL', v_table.name);
  END LOOP;
  FOR v_object IN
    SELECT pg_catalog.format('INDEX %s', d.objoid::pg_catalog.regclass) AS name
    FROM pg_catalog.pg_description AS d
    WHERE d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass
      AND d.objsubid = 0
      AND d.description LIKE '[pgsync] %'
      AND EXISTS (
        SELECT
        FROM pg_catalog.pg_index AS i
        WHERE i.indexrelid = d.objoid
      )
    UNION ALL
    SELECT pg_catalog.format('CONSTRAINT %I ON %s', k.conname, k.conrelid::pg_catalog.regclass)
    FROM pg_catalog.pg_description AS d
    JOIN pg_catalog.pg_constraint AS k
      ON k.oid = d.objoid
      AND k.contype = 'f'
    WHERE d.classoid = 'pg_catalog.pg_constraint'::pg_catalog.regclass
      AND d.description LIKE '[pgsync] %'
    ORDER BY name
  LOOP
    EXECUTE pg_catalog.format('COMMENT ON %s IS NULL', v_object.name);
  END LOOP;
  -- What a change of a type that was not carried through has left: copies of columns that are there.
  FOR v_object IN
    SELECT pg_catalog.format('%s DROP COLUMN %I', a.attrelid::pg_catalog.regclass, a.attname) AS name
    FROM pg_catalog.pg_description AS d
    JOIN pg_catalog.pg_attribute AS a
      ON a.attrelid = d.objoid
      AND a.attnum = d.objsubid
    WHERE d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass
      AND d.objsubid > 0
      AND d.description LIKE '[pgsync retype] %'
    ORDER BY name
  LOOP
    EXECUTE pg_catalog.format('ALTER TABLE %s', v_object.name);
  END LOOP;

  -- Each kind in one statement without CASCADE: ours may depend on each other, nobody else's object goes along.
  SELECT pg_catalog.string_agg(f.oid::pg_catalog.regprocedure::text, ', ')
  INTO v_list
  FROM pg_catalog.pg_proc AS f
  WHERE f.pronamespace::pg_catalog.regnamespace::text = ANY (c_namespaces);
  IF v_list IS NOT NULL THEN
    EXECUTE 'DROP ROUTINE ' || v_list;
  END IF;
  SELECT pg_catalog.string_agg(c.oid::pg_catalog.regclass::text, ', ')
  INTO v_list
  FROM pg_catalog.pg_class AS c
  WHERE c.relnamespace::pg_catalog.regnamespace::text = ANY (c_namespaces)
    AND c.relkind IN ('r', 'p')
    AND NOT c.relispartition;
  IF v_list IS NOT NULL THEN
    EXECUTE 'DROP TABLE ' || v_list;
  END IF;
  SELECT pg_catalog.string_agg(t.oid::pg_catalog.regtype::text, ', ')
  INTO v_list
  FROM pg_catalog.pg_type AS t
  JOIN pg_catalog.pg_class AS c
    ON c.oid = t.typrelid
    AND c.relkind = 'c'
  WHERE t.typnamespace::pg_catalog.regnamespace::text = ANY (c_namespaces);
  IF v_list IS NOT NULL THEN
    EXECUTE 'DROP TYPE ' || v_list;
  END IF;
  DROP SCHEMA IF EXISTS pgsync, pgsync_private, pgsync_generated;

  FOR v_object IN
    SELECT DISTINCT
      n.nspname AS name,
      r.rolname AS role
    FROM pg_catalog.pg_namespace AS n
    CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) AS a
    JOIN pg_catalog.pg_roles AS r
      ON r.oid = a.grantee
    WHERE r.rolname = ANY (c_roles)
  LOOP
    EXECUTE pg_catalog.format('REVOKE ALL ON SCHEMA %I FROM %I', v_object.name, v_object.role);
  END LOOP;

  FOR v_object IN
    SELECT DISTINCT
      s.oid::pg_catalog.regclass::text AS name,
      r.rolname AS role
    FROM pg_catalog.pg_class AS s
    CROSS JOIN LATERAL pg_catalog.aclexplode(s.relacl) AS a
    JOIN pg_catalog.pg_roles AS r
      ON r.oid = a.grantee
    WHERE s.relkind = 'S'
      AND r.rolname = ANY (c_roles)
  LOOP
    EXECUTE pg_catalog.format('REVOKE ALL ON SEQUENCE %s FROM %I', v_object.name, v_object.role);
  END LOOP;

  FOR v_object IN
    SELECT DISTINCT
      d.datname AS name,
      r.rolname AS role
    FROM pg_catalog.pg_database AS d
    CROSS JOIN LATERAL pg_catalog.aclexplode(d.datacl) AS a
    JOIN pg_catalog.pg_roles AS r
      ON r.oid = a.grantee
    WHERE d.datname = pg_catalog.current_database()
      AND r.rolname = ANY (c_roles)
  LOOP
    EXECUTE pg_catalog.format('REVOKE ALL ON DATABASE %I FROM %I', v_object.name, v_object.role);
  END LOOP;

  FOREACH v_role IN ARRAY c_roles
  LOOP
    BEGIN
      EXECUTE pg_catalog.format('DROP ROLE IF EXISTS %I', v_role);
    EXCEPTION
      WHEN dependent_objects_still_exist OR object_in_use OR insufficient_privilege THEN
        RAISE NOTICE 'role % stays: %', v_role, SQLERRM;
    END;
  END LOOP;

  -- Last, because it is not undone by an error.
  BEGIN
    PERFORM pg_catalog.pg_drop_replication_slot(s.slot_name)
    FROM pg_catalog.pg_replication_slots AS s
    WHERE s.database = pg_catalog.current_database()
      AND s.slot_name LIKE 'pgsync\_%';
  EXCEPTION
    WHEN insufficient_privilege THEN
      RAISE EXCEPTION USING
        ERRCODE = 'insufficient_privilege',
        MESSAGE = pg_catalog.format('role %s may not drop replication slots, and the server would keep log for them for ever', CURRENT_USER),
        DETAIL = pg_catalog.format('slots: %s', v_slots),
        HINT = pg_catalog.format(
          'As pgsync_listener or a superuser: SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots'
          ' WHERE database = %L AND slot_name LIKE %L; then run this again.', pg_catalog.current_database(), 'pgsync\_%');
  END;
END
$uninstall$;
