-- The tables of the models as they are: kind, row security, the policy of ours that tells how it was before, their primary key and columns.
SELECT
  n.nspname AS namespace,
  c.relname AS name,
  c.relkind::text AS kind,
  c.relrowsecurity AS row_security,
  (
    SELECT p.polroles = '{0}'
    FROM pg_catalog.pg_policy AS p
    WHERE p.polrelid = c.oid
      AND p.polname = 'pgsync_public'
  ) AS public_policy,
  (
    SELECT pg_catalog.array_agg(a.attname::text ORDER BY a.attname)
    FROM pg_catalog.pg_index AS i
    JOIN pg_catalog.pg_attribute AS a
      ON a.attrelid = i.indrelid
      AND a.attnum = ANY (i.indkey)
    WHERE i.indrelid = c.oid
      AND i.indisprimary
  ) AS primary_key,
  (
    SELECT pg_catalog.jsonb_object_agg(
      a.attname,
      pg_catalog.jsonb_build_object('type', pg_catalog.format_type(a.atttypid, a.atttypmod), 'notNull', a.attnotnull))
    FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid = c.oid
      AND a.attnum > 0
      AND NOT a.attisdropped
  ) AS columns
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n
  ON n.oid = c.relnamespace
JOIN unnest(%(namespaces)s::text[], %(names)s::text[]) AS w(namespace, name)
  ON w.namespace = n.nspname
  AND w.name = c.relname
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f');
