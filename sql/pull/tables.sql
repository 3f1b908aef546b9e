-- The tables of some namespaces as they are, one row each: columns, primary key, references, checks and unique keys.
-- Not views, not partitions (their root stands for them), nothing that belongs to an extension. Reads catalogs only, no table.
WITH RECURSIVE chosen AS (
  SELECT
    c.oid,
    n.nspname,
    c.relname
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n
    ON n.oid = c.relnamespace
  WHERE n.nspname = ANY (%(namespaces)s::text[])
    AND c.relkind IN ('r', 'p')
    AND NOT c.relispartition
    AND c.relpersistence <> 't'
    AND (%(patterns)s::text[] IS NULL OR c.relname LIKE ANY (%(patterns)s::text[]))
    AND NOT EXISTS (
      SELECT
      FROM pg_catalog.pg_depend AS d
      WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
        AND d.objid = c.oid
        AND d.deptype = 'e'
    )
),
attribute AS (
  SELECT
    c.oid,
    a.*
  FROM chosen AS c
  JOIN pg_catalog.pg_attribute AS a
    ON a.attrelid = c.oid
  WHERE a.attnum > 0
    AND NOT a.attisdropped
),
-- What a type is made of: the element of an array, then the type that a domain is over, and so on.
made_of AS (
  SELECT DISTINCT
    a.atttypid AS oid,
    CASE WHEN t.typcategory = 'A' THEN t.typelem ELSE t.oid END AS start
  FROM attribute AS a
  JOIN pg_catalog.pg_type AS t
    ON t.oid = a.atttypid
),
link AS (
  SELECT
    m.oid,
    t.oid AS at,
    t.typtype,
    t.typbasetype,
    t.typtypmod,
    pg_catalog.format_type(t.oid, NULL) AS name,
    0 AS depth
  FROM made_of AS m
  JOIN pg_catalog.pg_type AS t
    ON t.oid = m.start
  UNION ALL
  SELECT
    l.oid,
    t.oid,
    t.typtype,
    t.typbasetype,
    t.typtypmod,
    pg_catalog.format_type(t.oid, NULLIF(l.typtypmod, -1)),
    l.depth + 1
  FROM link AS l
  JOIN pg_catalog.pg_type AS t
    ON t.oid = l.typbasetype
  WHERE l.typtype = 'd'
),
base AS (
  SELECT DISTINCT ON (l.oid)
    l.oid,
    l.at,
    l.name,
    l.typtype
  FROM link AS l
  ORDER BY l.oid, l.depth DESC
)
SELECT
  c.nspname AS namespace,
  c.relname AS name,
  (
    SELECT pg_catalog.jsonb_agg(
      pg_catalog.jsonb_build_object(
        'name', a.attname,
        'type', pg_catalog.format_type(a.atttypid, a.atttypmod),
        'base', b.name,
        'what', b.typtype,
        'labels', (
          SELECT pg_catalog.jsonb_agg(e.enumlabel ORDER BY e.enumsortorder)
          FROM pg_catalog.pg_enum AS e
          WHERE e.enumtypid = b.at
        ),
        'takesText', EXISTS (
          SELECT
          FROM pg_catalog.pg_cast AS k
          WHERE k.castsource = 'pg_catalog.text'::pg_catalog.regtype
            AND k.casttarget = b.at
            AND k.castcontext IN ('a', 'i')
        ),
        'notNull', a.attnotnull,
        'default', pg_catalog.pg_get_expr(d.adbin, d.adrelid),
        'identity', a.attidentity <> '',
        'generated', a.attgenerated)
      ORDER BY a.attnum)
    FROM attribute AS a
    JOIN base AS b
      ON b.oid = a.atttypid
    LEFT JOIN pg_catalog.pg_attrdef AS d
      ON d.adrelid = a.attrelid
      AND d.adnum = a.attnum
    WHERE a.attrelid = c.oid
  ) AS columns,
  ARRAY(
    SELECT a.attname::text
    FROM pg_catalog.pg_index AS i
    CROSS JOIN LATERAL unnest(i.indkey[0:i.indnkeyatts - 1]) WITH ORDINALITY AS k(number, place)
    JOIN pg_catalog.pg_attribute AS a
      ON a.attrelid = i.indrelid
      AND a.attnum = k.number
    WHERE i.indrelid = c.oid
      AND i.indisprimary
    ORDER BY k.place
  ) AS primary_key,
  (
    SELECT pg_catalog.jsonb_agg(
      pg_catalog.jsonb_build_object(
        'columns', (
          SELECT pg_catalog.jsonb_agg(a.attname ORDER BY k.place)
          FROM unnest(o.conkey) WITH ORDINALITY AS k(number, place)
          JOIN pg_catalog.pg_attribute AS a
            ON a.attrelid = o.conrelid
            AND a.attnum = k.number
        ),
        'namespace', n.nspname,
        'table', f.relname,
        'targetColumns', (
          SELECT pg_catalog.jsonb_agg(a.attname ORDER BY k.place)
          FROM unnest(o.confkey) WITH ORDINALITY AS k(number, place)
          JOIN pg_catalog.pg_attribute AS a
            ON a.attrelid = o.confrelid
            AND a.attnum = k.number
        ),
        'onDelete', o.confdeltype)
      ORDER BY o.conname)
    FROM pg_catalog.pg_constraint AS o
    JOIN pg_catalog.pg_class AS f
      ON f.oid = o.confrelid
    JOIN pg_catalog.pg_namespace AS n
      ON n.oid = f.relnamespace
    WHERE o.conrelid = c.oid
      AND o.contype = 'f'
      AND o.conparentid = 0
  ) AS foreign_keys,
  ARRAY(
    SELECT pg_catalog.pg_get_constraintdef(o.oid)
    FROM pg_catalog.pg_constraint AS o
    WHERE o.conrelid = c.oid
      AND o.contype = 'c'
    ORDER BY o.conname
  ) AS checks,
  pg_catalog.current_setting('server_version_num')::integer AS server_version
FROM chosen AS c
ORDER BY c.nspname, c.relname;
