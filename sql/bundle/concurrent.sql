-- pgsync: what cannot be in the transaction of push.sql, because it may take long: indexes and references of tables with rows.
-- Made by pgsync {{ version }} from the schema with hash {{ hash }}, definition {{ definition_hash }}.
-- Models: {{ keys | join(", ") or "none" }}.
{% if migrate %}
-- Creates: indexes and foreign keys of the models that a table lacks which pgsync made earlier; tables of others are left alone.
--   A table that push.sql has just made has them already. An index that an interrupted run left invalid is dropped and built again.
-- Drops: indexes that pgsync made and the models no longer ask for, unless a constraint or the replica identity has come to need them.
-- Locks: SHARE UPDATE EXCLUSIVE while an index is built or rows are read, so that everybody goes on reading and writing; SHARE ROW EXCLUSIVE
--   on both tables for the moment in which a reference is added.
-- Grants: none.
-- Undo: DROP INDEX CONCURRENTLY, ALTER TABLE .. DROP CONSTRAINT. What it dropped is made again by the concurrent.sql of the version before.
-- Run: psql -X -v ON_ERROR_STOP=1 -f concurrent.sql, after push.sql; again after an interruption.
-- Every statement asks the catalog first, by \if.
-- squawk-ignore-file prefer-robust-stmts
SET lock_timeout = '5s';
SET statement_timeout = '24h';
SET search_path = '';
SET client_min_messages = 'warning';
{% for t in tables if t.indexes or t.references %}


-- ===== {{ t.key }} =====
SELECT COALESCE(pg_catalog.obj_description(pg_catalog.to_regclass({{ t.literal }}), 'pg_class') LIKE '[pgsync model=%', false) AS ours
\gset
{% for i in t.indexes %}

SELECT
  :'ours' AND (i.indexrelid IS NULL OR NOT i.indisvalid) AS build,
  COALESCE(:'ours' AND NOT i.indisvalid, false) AS broken
FROM (SELECT pg_catalog.to_regclass({{ i.literal }}) AS oid) AS c
LEFT JOIN pg_catalog.pg_index AS i
  ON i.indexrelid = c.oid
\gset
\if :broken
DROP INDEX CONCURRENTLY {{ i.qualified }};
\endif
\if :build
-- It waits for the transactions that are under way; nobody waits for it.
SET lock_timeout = 0;
{{ i.concurrently }}
{{ i.mark }}SET lock_timeout = '5s';
\endif
{% endfor %}
{% for r in t.references %}

SELECT
  :'ours' AND c.oid IS NULL AS missing,
  :'ours' AND c.oid IS NULL OR COALESCE(:'ours' AND NOT c.convalidated, false) AS unread
FROM (SELECT pg_catalog.to_regclass({{ t.literal }}) AS oid) AS t
LEFT JOIN pg_catalog.pg_constraint AS c
  ON c.conrelid = t.oid
  AND c.conname = {{ r.literal }}
\gset
\if :missing
{{ r.not_valid }}
\endif
\if :unread
ALTER TABLE {{ t.table }} VALIDATE CONSTRAINT {{ r.name }};
\endif
{% endfor %}
{% endfor %}
{% if tables %}


-- ===== indexes that no model asks for any more =====
-- Those that pgsync made on tables that it made; their comments say so. psql runs each statement that this selects. Each waits for the
-- transactions that are under way; nobody waits for it. One that was interrupted is finished by the next run.
SET lock_timeout = 0;
SELECT pg_catalog.format('DROP INDEX CONCURRENTLY %s', i.indexrelid::pg_catalog.regclass)
FROM pg_catalog.pg_index AS i
JOIN pg_catalog.pg_class AS c
  ON c.oid = i.indexrelid
JOIN (
  VALUES
{% for t in tables %}
    ({{ t.literal }}, ARRAY[{{ t.indexes | map(attribute="name") | join(", ") }}]::text[]){{ "," if not loop.last }}
{% endfor %}
) AS w(name, wanted)
  ON i.indrelid = pg_catalog.to_regclass(w.name)
WHERE c.relname <> ALL (w.wanted)
  AND NOT i.indisreplident
  AND NOT EXISTS (
    SELECT
    FROM pg_catalog.pg_constraint AS k
    WHERE k.conindid = i.indexrelid
  )
  AND pg_catalog.obj_description(i.indexrelid, 'pg_class') LIKE '[pgsync] %'
  AND pg_catalog.obj_description(i.indrelid, 'pg_class') LIKE '[pgsync model=%'
ORDER BY 1
\gexec
SET lock_timeout = '5s';
{% endif %}
{% else %}
-- Nothing: this bundle makes no table and alters none (`pgsync compile --migrate` does). Indexes on your own tables are yours to decide.
{% endif %}
