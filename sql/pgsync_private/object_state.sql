-- What the catalog says of an object that a push made, as a hash: it changes when somebody changes the object by hand. Null for what may
-- rightly change by other hands (tables, their indexes and references) and for what is gone.
-- p_kind, p_identity: as in pgsync_private.installed_object. The fixed search_path makes the catalog print names always alike.
CREATE OR REPLACE FUNCTION pgsync_private.object_state(p_kind text, p_identity text)
  RETURNS text
  LANGUAGE plpgsql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  v_table regclass;
  v_state text;
BEGIN
  IF p_kind = 'function' OR p_kind = 'runtime' THEN
    SELECT pg_catalog.string_agg(
      pg_catalog.concat_ws(
        pg_catalog.chr(10),
        pg_catalog.pg_get_functiondef(f.oid),
        f.proowner::pg_catalog.regrole,
        (
          SELECT pg_catalog.string_agg(a.grantee::pg_catalog.regrole::text || ' ' || a.privilege_type, ', ' ORDER BY a.grantee::pg_catalog.regrole::text)
          FROM pg_catalog.aclexplode(COALESCE(f.proacl, pg_catalog.acldefault('f', f.proowner))) AS a
        )),
      pg_catalog.chr(10)
      ORDER BY f.oid::pg_catalog.regprocedure::text)
    INTO v_state
    FROM pg_catalog.pg_proc AS f
    WHERE f.oid = ANY ( -- by the indexes of pg_proc: a push asks of every function that there is
      CASE p_kind
        WHEN 'function' THEN ARRAY[pg_catalog.to_regprocedure(p_identity)::oid]
        ELSE ARRAY(
          SELECT n.oid
          FROM pg_catalog.pg_proc AS n
          WHERE n.proname = pg_catalog.regexp_replace(p_identity, '^.*/|[.]sql$', '', 'g')
            AND n.pronamespace = pg_catalog.to_regnamespace(pg_catalog.split_part(p_identity, '/', 1))::oid
        )
      END);
    RETURN pg_catalog.md5(v_state);
  END IF;

  IF p_kind NOT IN ('row_security', 'triggers', 'grants', 'replication') THEN
    RETURN NULL;
  END IF;
  v_table := pg_catalog.to_regclass(p_identity);
  IF v_table IS NULL THEN
    RETURN NULL;
  END IF;
  IF p_kind = 'row_security' THEN
    SELECT pg_catalog.concat_ws(
      pg_catalog.chr(10),
      c.relrowsecurity,
      (
        SELECT pg_catalog.string_agg(
          pg_catalog.concat_ws(
            ' ', p.polname, p.polcmd, p.polpermissive, p.polroles::text, pg_catalog.pg_get_expr(p.polqual, p.polrelid), '/',
            pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid)),
          pg_catalog.chr(10)
          ORDER BY p.polname)
        FROM pg_catalog.pg_policy AS p
        WHERE p.polrelid = c.oid
          AND p.polname LIKE 'pgsync\_%'
      ))
    INTO v_state
    FROM pg_catalog.pg_class AS c
    WHERE c.oid = v_table;
  ELSIF p_kind = 'triggers' THEN
    SELECT pg_catalog.string_agg(
      pg_catalog.pg_get_triggerdef(t.oid) || ' ' || t.tgenabled::text,
      pg_catalog.chr(10)
      ORDER BY t.tgname)
    INTO v_state
    FROM pg_catalog.pg_trigger AS t
    WHERE t.tgrelid = v_table
      AND t.tgname LIKE 'pgsync\_%';
  ELSIF p_kind = 'grants' THEN
    SELECT pg_catalog.string_agg(a.role || ' ' || a.privilege_type, ', ' ORDER BY a.role, a.privilege_type)
    INTO v_state
    FROM (
      SELECT
        a.grantee::pg_catalog.regrole::text AS role,
        a.privilege_type
      FROM pg_catalog.pg_class AS c
      CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS a
      WHERE c.oid = v_table
      UNION
      SELECT
        a.grantee::pg_catalog.regrole::text,
        t.attname || ' ' || a.privilege_type
      FROM pg_catalog.pg_attribute AS t
      CROSS JOIN LATERAL pg_catalog.aclexplode(t.attacl) AS a
      WHERE t.attrelid = v_table
    ) AS a
    WHERE a.role LIKE 'pgsync\_%';
  ELSE
    SELECT pg_catalog.concat_ws(
      ' ',
      c.relreplident,
      EXISTS (
        SELECT
        FROM pg_catalog.pg_publication_rel AS r
        JOIN pg_catalog.pg_publication AS p
          ON p.oid = r.prpubid
        WHERE r.prrelid = c.oid
          AND p.pubname = 'pgsync'
      ))
    INTO v_state
    FROM pg_catalog.pg_class AS c
    WHERE c.oid = v_table;
  END IF;
  RETURN pg_catalog.md5(v_state);
END
$function$;

ALTER FUNCTION pgsync_private.object_state(text, text) OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.object_state(text, text) FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.object_state(text, text) IS
  'What the catalog says of an object that a push made, as a hash that changes when somebody changes it by hand.';
