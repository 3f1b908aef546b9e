-- The tables of the models as they are: kind, comment, primary key, columns, constraints and indexes.
SELECT
  n.nspname AS namespace,
  c.relname AS name,
  c.relkind::text AS kind,
  c.relpersistence = 'p' AS logged,
  pg_catalog.current_setting('server_version_num')::integer AS server_version,
  pg_catalog.obj_description(c.oid, 'pg_class') AS comment,
  ARRAY(
    SELECT a.attname::text
    FROM pg_catalog.pg_index AS i
    JOIN pg_catalog.pg_attribute AS a
      ON a.attrelid = i.indrelid
      AND a.attnum = ANY (i.indkey)
    WHERE i.indrelid = c.oid
      AND i.indisprimary
    ORDER BY a.attname
  ) AS primary_key,
  (
    SELECT pg_catalog.jsonb_object_agg(
      a.attname,
      pg_catalog.jsonb_build_object(
        'type', pg_catalog.format_type(a.atttypid, a.atttypmod),
        'notNull', a.attnotnull,
        'filled', a.atthasdef OR a.attidentity <> '',
        'generated', a.attgenerated,
        'comment', pg_catalog.col_description(a.attrelid, a.attnum)))
    FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid = c.oid
      AND a.attnum > 0
      AND NOT a.attisdropped
  ) AS columns,
  (
    SELECT pg_catalog.jsonb_object_agg(
      k.conname,
      pg_catalog.jsonb_build_object(
        'kind', k.contype,
        'definition', pg_catalog.pg_get_constraintdef(k.oid),
        'refersTo', (
          SELECT pg_catalog.quote_ident(fn.nspname) || '.' || pg_catalog.quote_ident(f.relname)
          FROM pg_catalog.pg_class AS f
          JOIN pg_catalog.pg_namespace AS fn
            ON fn.oid = f.relnamespace
          WHERE f.oid = k.confrelid
        ),
        'comment', pg_catalog.obj_description(k.oid, 'pg_constraint'),
        'validated', k.convalidated))
    FROM pg_catalog.pg_constraint AS k
    WHERE k.conrelid = c.oid
      AND k.contype IN ('c', 'f')
  ) AS constraints,
  (
    SELECT pg_catalog.jsonb_object_agg(
      x.relname,
      pg_catalog.jsonb_build_object(
        'valid', i.indisvalid,
        'definition', pg_catalog.pg_get_indexdef(i.indexrelid),
        'comment', pg_catalog.obj_description(i.indexrelid, 'pg_class'),
        'needed', i.indisreplident OR EXISTS (
          SELECT
          FROM pg_catalog.pg_constraint AS k
          WHERE k.conindid = i.indexrelid
        )))
    FROM pg_catalog.pg_index AS i
    JOIN pg_catalog.pg_class AS x
      ON x.oid = i.indexrelid
    WHERE i.indrelid = c.oid
  ) AS indexes,
  -- Rules that stand in the way of writes: with any on INSERT or UPDATE, Postgres refuses INSERT .. ON CONFLICT.
  ARRAY(
    SELECT pg_catalog.quote_ident(w.rulename)
    FROM pg_catalog.pg_rewrite AS w
    WHERE w.ev_class = c.oid
      AND w.ev_enabled <> 'D'
      AND (w.is_instead AND w.ev_type IN ('2', '3', '4') OR w.ev_type IN ('2', '3'))
    ORDER BY w.rulename
  ) AS rules,
  -- Row security is off, and these are neither owners nor bypass it: what it will mean to them is in sql/checks/guests.sql.
  ARRAY(
    SELECT r.rolname::text
    FROM pg_catalog.pg_roles AS r
    WHERE NOT c.relrowsecurity
      AND r.rolcanlogin
      AND NOT r.rolsuper
      AND NOT r.rolbypassrls
      AND r.rolname NOT LIKE 'pgsync\_%%'
      AND NOT pg_catalog.pg_has_role(r.oid, c.relowner, 'USAGE')
      AND pg_catalog.has_any_column_privilege(r.oid, c.oid, 'SELECT, INSERT')
    ORDER BY r.rolname
  ) AS guests
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n
  ON n.oid = c.relnamespace
JOIN unnest(%(namespaces)s::text[], %(names)s::text[]) AS w(namespace, name)
  ON w.namespace = n.nspname
  AND w.name = c.relname
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f');
