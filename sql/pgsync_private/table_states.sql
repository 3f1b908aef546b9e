-- For each model of the active schema: what its rows are kept in, what clients are sent of them, and what a push has to put right (null: nothing).
-- state changes when rows may have changed without the log telling: another table under the name, partitions attached, detached or emptied
-- by themselves. A partition that is rewritten (VACUUM FULL) looks the same. So it does when a push changes what the model is called,
-- or who sees rows: groups, read rule, and which rows grant the groups.
-- fields: by name, column and type as they are, "-" where the column is gone. last_column: the number of the table's last column.
-- is_broken: rows cannot be read, or neither read nor streamed. Takes no locks on tables, so nobody's DDL keeps it waiting.
CREATE OR REPLACE FUNCTION pgsync_private.table_states()
  RETURNS TABLE (
    model_key text,
    model_name text,
    table_oid oid,
    state text,
    fields jsonb,
    last_column smallint,
    problem text,
    is_broken boolean
  )
  LANGUAGE sql
  STABLE
  SECURITY INVOKER
  SET search_path = pg_catalog, pg_temp
AS $function$
  WITH RECURSIVE model AS (
    SELECT
      m.m ->> 'key' AS key,
      m.m ->> 'name' AS name,
      m.m AS described,
      pg_catalog.format('%I.%I', m.m ->> 'namespace', m.m ->> 'table') AS identity,
      c.oid,
      c.relkind,
      c.relnatts,
      c.relreplident,
      c.relrowsecurity AND EXISTS (
        SELECT
        FROM pg_catalog.pg_policy AS p
        WHERE p.polrelid = c.oid
          AND p.polname = 'pgsync_select'
      ) AS is_guarded
    FROM pgsync_private.schema_version AS s
    CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(s.models) AS m(m)
    LEFT JOIN pg_catalog.pg_namespace AS n
      ON n.nspname = m.m ->> 'namespace'
    LEFT JOIN pg_catalog.pg_class AS c
      ON c.relnamespace = n.oid
      AND c.relname = m.m ->> 'table'
    WHERE s.state = 'active'
  ),
  part AS (
    SELECT
      m.key,
      m.oid
    FROM model AS m
    WHERE m.relkind = 'p'
    UNION ALL
    SELECT
      p.key,
      i.inhrelid
    FROM part AS p
    JOIN pg_catalog.pg_inherits AS i
      ON i.inhparent = p.oid
    WHERE NOT i.inhdetachpending
  ),
  leaves AS (
    SELECT
      p.key,
      pg_catalog.string_agg(
        pg_catalog.concat_ws(':', c.oid, c.relfilenode), ',' ORDER BY c.oid) AS files,
      pg_catalog.string_agg(pg_catalog.quote_ident(c.relname), ', ' ORDER BY c.relname)
        FILTER (WHERE c.relreplident <> m.relreplident) AS other_identity
    FROM part AS p
    JOIN model AS m
      ON m.key = p.key
    JOIN pg_catalog.pg_class AS c
      ON c.oid = p.oid
    WHERE c.relkind <> 'p'
    GROUP BY p.key
  ),
  fields AS (
    SELECT
      m.key,
      pg_catalog.jsonb_object_agg(
        f.f ->> 'name',
        pg_catalog.jsonb_build_array(f.f ->> 'column', COALESCE(pg_catalog.format_type(a.atttypid, a.atttypmod), '-'))) AS sent,
      pg_catalog.string_agg(pg_catalog.quote_ident(f.f ->> 'column'), ', ' ORDER BY f.f ->> 'column')
        FILTER (WHERE a.attname IS NULL) AS missing,
      pg_catalog.string_agg(pg_catalog.quote_ident(f.f ->> 'column'), ', ' ORDER BY f.f ->> 'column')
        FILTER (WHERE pg_catalog.format_type(a.atttypid, a.atttypmod) <> f.f ->> 'sqlType') AS retyped
    FROM model AS m
    CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(m.described -> 'fields') AS f(f)
    LEFT JOIN pg_catalog.pg_attribute AS a
      ON a.attrelid = m.oid
      AND a.attname = f.f ->> 'column'
      AND a.attnum > 0
      AND NOT a.attisdropped
    WHERE m.oid IS NOT NULL
    GROUP BY m.key
  ),
  granted AS (
    SELECT
      m.key,
      pg_catalog.string_agg(g.key || (g.described ->> 'grants'), ',' ORDER BY g.key) AS by_whom
    FROM model AS m
    CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(m.described -> 'groups') AS k(k)
    JOIN model AS g
      ON g.described -> 'grants' ->> 'kind' = k.k ->> 'kind'
    GROUP BY m.key
  )
  SELECT
    m.key,
    m.name,
    m.oid,
    pg_catalog.md5(pg_catalog.jsonb_build_array(
      m.oid,
      l.files,
      m.described ->> 'typename',
      m.described ->> 'idColumn',
      m.described ->> 'tenantColumn',
      m.described -> 'groups',
      m.described ->> 'rule',
      m.described -> 'grants',
      w.by_whom)::text),
    COALESCE(f.sent, '{}'),
    COALESCE(m.relnatts, 0),
    CASE
      WHEN m.oid IS NULL THEN pg_catalog.format('table %s is gone, or has another name', m.identity)
      WHEN f.missing IS NOT NULL THEN pg_catalog.format('table %s has no column %s, or under another name', m.identity, f.missing)
      WHEN NOT m.is_guarded THEN pg_catalog.format('table %s has lost its row security, so nobody reads it', m.identity)
      WHEN NOT EXISTS (
        SELECT
        FROM pg_catalog.pg_publication AS p
        LEFT JOIN pg_catalog.pg_publication_rel AS r
          ON r.prpubid = p.oid
          AND r.prrelid = m.oid
        WHERE p.pubname = 'pgsync'
          AND (p.puballtables OR r.oid IS NOT NULL)
      ) THEN pg_catalog.format('table %s is not in the publication pgsync', m.identity)
      WHEN f.retyped IS NOT NULL THEN pg_catalog.format('table %s has another type in column %s', m.identity, f.retyped)
      WHEN l.other_identity IS NOT NULL THEN
        pg_catalog.format('partition %s of table %s has another replica identity', l.other_identity, m.identity)
    END,
    m.oid IS NULL OR f.missing IS NOT NULL OR NOT m.is_guarded
  FROM model AS m
  LEFT JOIN leaves AS l
    ON l.key = m.key
  LEFT JOIN fields AS f
    ON f.key = m.key
  LEFT JOIN granted AS w
    ON w.key = m.key;
$function$;

ALTER FUNCTION pgsync_private.table_states() OWNER TO pgsync_owner;
REVOKE ALL ON FUNCTION pgsync_private.table_states() FROM PUBLIC;
COMMENT ON FUNCTION pgsync_private.table_states() IS 'What the rows of each model are kept in and sent of, and what a push has to put right.';
