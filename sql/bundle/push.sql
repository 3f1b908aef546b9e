-- pgsync: the runtime and the models, in one transaction together with the activation of the version.
-- Made by pgsync {{ version }} from the schema with hash {{ hash }}, definition {{ definition_hash }}.
-- Models: {{ keys | join(", ") or "none" }}.
-- Creates: the namespaces pgsync, pgsync_private and pgsync_generated with all that is in them; the publication pgsync; on the table of
--   each model policies, triggers and, where visibility depends on columns that change, REPLICA IDENTITY FULL.
{% if migrate %}
-- Tables: makes those that are missing. Of those that pgsync made it drops references that the schema no longer has. It alters nothing else of a
--   table that is there: `pgsync migrate` does that.
{% else %}
-- Tables: makes none and alters none; a table that is missing or lacks a column is an error at once. `pgsync migrate` makes them.
{% endif %}
-- Locks: up to ACCESS EXCLUSIVE on each model's table, taken all at once near the end and held to the commit. No table is rewritten or read.
--   It waits 5 seconds at most, then gives up and has changed nothing: run it again when it is quiet.
-- Grants: EXECUTE on pgsync.* to pgsync_gateway and pgsync_listener, SELECT on the tables to pgsync_gateway, DML to pgsync_writer, both under
--   row security. Every other role keeps what it had.
-- Good for: a database without pgsync, this version again, and any older version that this one only adds to. A model or field that goes or
--   changes is refused: `pgsync push --dry-run` prints what that takes.
-- Undo: revert.sql. To go back to an older version: its push.sql, or `pgsync push`.
-- Run: psql -X -v ON_ERROR_STOP=1 -f push.sql, after roles.sql, as the owner of the tables or a superuser. Then concurrent.sql.
BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '300s';
SET LOCAL search_path = '';
SET LOCAL client_min_messages = 'warning';
SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('pgsync push', 0));


-- ===== runtime: state =====
SELECT pg_catalog.to_regnamespace('pgsync_private') IS NULL AS fresh
\gset
{% for m in migrations %}

{% if loop.first %}
\if :fresh
{% else %}
SELECT NOT EXISTS (SELECT FROM pgsync_private.migration AS m WHERE m.name = {{ m.name }}) AS missing
\gset
\if :missing
{% endif %}
{{ m.sql }}
\endif
{% endfor %}

{{ publication }}

-- ===== runtime: functions =====
\if :fresh
{% for sql in first_dispatchers %}

{{ sql }}
{% endfor %}
\endif
{% for sql in runtime_functions %}

{{ sql }}
{% endfor %}

\if :fresh
{{ first_partitions }}
\endif


-- What was done to tables before this is told apart from what follows.
SELECT pgsync_private.look_at_tables();
{% include "bundle/tables.sql" %}


-- ===== does it fit? =====
SELECT pgsync_private.require_fit(
  {{ runtime_models }}
);
{% include "bundle/body.sql" %}


-- ===== activation =====
{{ activation }}
COMMIT;
