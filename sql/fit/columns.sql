-- Do the tables of a schema exist as it says: kind, primary key, columns, types, nullability?
-- pgsync.models holds the models as JSON; pgsync check sets it.
WITH model AS (
{% include "fit/parts/model.sql" %}
),
field AS (
  SELECT
    m.*,
    f.f ->> 'name' AS field,
    f.f ->> 'column' AS name,
    f.f ->> 'type' AS type,
    (f.f ->> 'required')::boolean AS required,
    (f.f ->> 'nullable')::boolean AS nullable,
    (f.f ->> 'readonly')::boolean AS readonly,
    (f.f ->> 'base')::boolean AS base,
    a.attnum,
    a.attnotnull,
    a.attgenerated,
    pg_catalog.format_type(a.atttypid, a.atttypmod) AS is_now
  FROM model AS m
  CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(m.m -> 'fields') AS f(f)
  LEFT JOIN pg_catalog.pg_attribute AS a
    ON a.attrelid = m.oid
    AND a.attname = f.f ->> 'column'
    AND a.attnum > 0
    AND NOT a.attisdropped
  WHERE m.relkind IN ('r', 'p')
),
primary_key AS (
  SELECT
    m.key,
    m.identity,
    m.id,
    m.tenant,
    ARRAY(
      SELECT a.attname::text
      FROM pg_catalog.pg_index AS i
      JOIN pg_catalog.pg_attribute AS a
        ON a.attrelid = i.indrelid
        AND a.attnum = ANY (i.indkey)
      WHERE i.indrelid = m.oid
        AND i.indisprimary
      ORDER BY a.attname
    ) AS columns
  FROM model AS m
  WHERE m.relkind IN ('r', 'p')
)
SELECT
  'error' AS level,
  m.identity AS object,
  pg_catalog.format('the table of model %s does not exist', m.key) AS finding,
  'pgsync migrate makes it' AS remedy
FROM model AS m
WHERE m.oid IS NULL
UNION ALL
SELECT
  'error',
  m.identity,
  'is not a table: only tables have changes in the log',
  'name the table that it reads'
FROM model AS m
WHERE m.relkind NOT IN ('r', 'p')
UNION ALL
SELECT
  'error',
  k.identity,
  CASE
    WHEN k.columns = '{}' THEN 'has no primary key: nothing tells its rows apart'
    ELSE pg_catalog.format('its primary key is (%s)', pg_catalog.array_to_string(k.columns, ', '))
  END,
  CASE
    WHEN k.columns = '{}' THEN pg_catalog.format(
      'ALTER TABLE %s ADD PRIMARY KEY (%s)', k.identity, pg_catalog.concat_ws(', ', pg_catalog.quote_ident(k.tenant), pg_catalog.quote_ident(k.id)))
    ELSE pg_catalog.format('it has to be (%s): add such a column, or leave the model out', pg_catalog.concat_ws(', or with it ', k.id, k.tenant))
  END
FROM primary_key AS k
WHERE k.columns <> ARRAY[k.id]
  AND k.columns <> ARRAY(
    SELECT c.c
    FROM unnest(ARRAY[k.tenant, k.id]) AS c(c)
    WHERE c.c IS NOT NULL
    ORDER BY c.c
  )
UNION ALL
SELECT
  'error',
  f.identity,
  pg_catalog.format('has no column %I for field %s', f.name, f.field),
  pg_catalog.format('ALTER TABLE %s ADD COLUMN %I %s', f.identity, f.name, f.type)
FROM field AS f
WHERE f.attnum IS NULL
UNION ALL
SELECT
  'error',
  f.identity,
  pg_catalog.format('column %I is %s, field %s says %s', f.name, f.is_now, f.field, f.type),
  CASE
    WHEN f.base AND f.field NOT IN ('id', 'organizationId') THEN pg_catalog.format('without=[''%s''], and a field of another name for it', f.field)
    WHEN f.field = 'organizationId' THEN pg_catalog.format('tenant_type=''%s''', f.is_now)
    ELSE pg_catalog.format('Field(sql=''%s''), with the Python type of its values', f.is_now)
  END
FROM field AS f
WHERE f.is_now <> f.type
  AND f.attnum IS NOT NULL
UNION ALL
SELECT
  'error',
  f.identity,
  pg_catalog.format('column %I is generated%s', f.name,
    CASE WHEN f.attgenerated = 's' AND pg_catalog.current_setting('server_version_num')::integer >= 180000 THEN ': nobody can write it'
      ELSE ', and the log of this server does not carry its value' END),
  CASE WHEN f.attgenerated = 's' AND pg_catalog.current_setting('server_version_num')::integer >= 180000 THEN 'Field(readonly=True)'
    ELSE 'leave the field out' END
FROM field AS f
WHERE f.attgenerated <> ''
  AND NOT (f.readonly AND f.attgenerated = 's' AND pg_catalog.current_setting('server_version_num')::integer >= 180000)
UNION ALL
SELECT
  'warning',
  f.identity,
  pg_catalog.format('column %I may be null: such a row belongs to no organization, and no participant sees it', f.name),
  pg_catalog.format('ALTER TABLE %s ALTER COLUMN %I SET NOT NULL', f.identity, f.name)
FROM field AS f
WHERE f.name = f.tenant
  AND NOT f.attnotnull
UNION ALL
SELECT
  'warning',
  f.identity,
  pg_catalog.format('column %I may be null, field %s says that it is not', f.name, f.field),
  pg_catalog.format('make the field optional, or ALTER TABLE %s ALTER COLUMN %I SET NOT NULL', f.identity, f.name)
FROM field AS f
WHERE f.required
  AND NOT f.base
  AND NOT f.attnotnull
UNION ALL
SELECT
  'warning',
  f.identity,
  pg_catalog.format('column %I is not null, field %s may be: a write that says null is refused by Postgres', f.name, f.field),
  'make the field required'
FROM field AS f
WHERE f.nullable
  AND NOT f.readonly
  AND NOT f.base
  AND f.attnotnull
UNION ALL
SELECT
  'warning',
  m.identity,
  pg_catalog.format('column %I has to have a value and neither a field nor a default gives it one: nobody can create rows', a.attname),
  pg_catalog.format('add a field for it, make the model mutable=False, or ALTER TABLE %s ALTER COLUMN %I SET DEFAULT ..', m.identity, a.attname)
FROM model AS m
JOIN pg_catalog.pg_attribute AS a
  ON a.attrelid = m.oid
WHERE m.relkind IN ('r', 'p')
  AND (m.m ->> 'mutable')::boolean
  AND a.attnum > 0
  AND NOT a.attisdropped
  AND a.attnotnull
  AND NOT a.atthasdef
  AND a.attidentity = ''
  AND NOT EXISTS (
    SELECT
    FROM field AS f
    WHERE f.key = m.key
      AND f.name = a.attname
      AND NOT f.readonly
  )
ORDER BY level, object, finding;
