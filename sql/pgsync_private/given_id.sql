-- The id that a row is created with: the one that its creator names, else the next one of the database, so that it is known before the row is
-- written: to claims, to the log, to the commit's record. p_table, as regclass takes it, and p_column are the key of a model with integer ids;
-- both are null for texts and uuids. Null: there is neither an identity nor a default that could give one.
-- A default is evaluated as an INSERT would, with the rights of pgsync_writer and the search_path of the table's owner; only the catalog has its text, so it is built.
-- Raises: 428C9 for an id by name where they are generated always, as Postgres does; what a default raises.
CREATE OR REPLACE FUNCTION pgsync_private.given_id(p_table text, p_column text, p_id text)
  RETURNS text
  LANGUAGE plpgsql
  VOLATILE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_ignored text; -- an assignment is cheaper than PERFORM, which goes through the executor
  v_table regclass := p_table::regclass;
  v_identity text;
  v_default pg_node_tree;
  v_id text;
BEGIN
  IF p_table IS NULL THEN
    RETURN COALESCE(p_id, pg_catalog.gen_random_uuid()::text);
  END IF;
  SELECT
    a.attidentity::text,
    d.adbin
  INTO v_identity, v_default
  FROM pg_catalog.pg_attribute AS a
  LEFT JOIN pg_catalog.pg_attrdef AS d
    ON d.adrelid = a.attrelid
    AND d.adnum = a.attnum
  WHERE a.attrelid = v_table
    AND a.attname = p_column;
  IF p_id IS NOT NULL THEN
    IF v_identity = 'a' THEN
      RAISE EXCEPTION USING
        ERRCODE = 'generated_always',
        MESSAGE = pg_catalog.format('cannot insert a non-DEFAULT value into column %I', p_column),
        DETAIL = pg_catalog.format('Column %I of %s is an identity column defined as GENERATED ALWAYS.', p_column, p_table),
        HINT = 'Leave the id out.';
    END IF;
    RETURN p_id;
  END IF;
  IF v_identity <> '' THEN
    RETURN pg_catalog.nextval(pg_catalog.pg_get_serial_sequence(p_table, p_column)::regclass)::text;
  END IF;
  IF v_default IS NULL THEN
    RETURN NULL;
  END IF;
  -- Printed and evaluated with the same search_path; from here on names and operators are not ours.
  v_ignored := pg_catalog.set_config('search_path', pgsync_private.search_path_of(v_table), true);
  EXECUTE pg_catalog.concat('SELECT (', pg_catalog.pg_get_expr(v_default, v_table), ')::pg_catalog.text') INTO v_id; -- the catalog's own text
  RETURN v_id;
END
$function$;

ALTER FUNCTION pgsync_private.given_id(text, text, text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.given_id(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgsync_private.given_id(text, text, text) TO pgsync_writer;
COMMENT ON FUNCTION pgsync_private.given_id(text, text, text) IS 'The id that a row is created with: the one named, else the next one of the database.';
