-- What pgsync has installed here: migrations, objects by hash, the active version. One row; null members where there is nothing yet.
-- An object that is not as the last push left it is changed, so that the next push puts it back.
SELECT
  (SELECT pg_catalog.jsonb_agg(m.name) FROM pgsync_private.migration AS m) AS migrations,
  (
    SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
      'model', o.model,
      'kind', o.kind,
      'identity', o.identity,
      'hash', o.hash,
{% if has_states %}
      'changed', o.state IS NOT NULL AND o.state IS DISTINCT FROM pgsync_private.object_state(o.kind, o.identity)))
{% else %}
      'changed', false))
{% endif %}
    FROM pgsync_private.installed_object AS o
  ) AS objects,
  (
    SELECT pg_catalog.jsonb_build_object('version', s.version, 'hash', s.hash, 'definitionHash', s.definition_hash, 'models', s.models)
    FROM pgsync_private.schema_version AS s
    WHERE s.state = 'active'
  ) AS active;
