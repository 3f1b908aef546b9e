-- Objects that somebody has changed or dropped by hand since the last push.
SELECT
  'warning' AS level,
  CASE o.kind
    WHEN 'runtime' THEN 'function ' || pg_catalog.replace(pg_catalog.replace(o.identity, '/', '.'), '.sql', '')
    ELSE pg_catalog.replace(o.kind, '_', ' ') || ' ' || o.identity
  END AS object,
  CASE
    WHEN pgsync_private.object_state(o.kind, o.identity) IS NULL THEN 'is gone'
    ELSE 'is not as the last push left it'
  END AS finding,
  'push the schema again: it puts back what was changed by hand' AS remedy
FROM pgsync_private.installed_object AS o
WHERE o.state IS NOT NULL
  AND o.state IS DISTINCT FROM pgsync_private.object_state(o.kind, o.identity)
ORDER BY object;
