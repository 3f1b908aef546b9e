-- pgsync: takes out what roles.sql and push.sql put in. The tables of the application and their rows stay, also tables that pgsync made.
-- Made by pgsync {{ version }} from the schema with hash {{ hash }}, definition {{ definition_hash }}.
-- Models: {{ keys | join(", ") or "none" }}.
-- Drops: policies, triggers, grants and publication of the models' tables; functions; our three namespaces with keys, logs, ledger and claims;
--   slots; the roles, where no other database uses them. To go back to an older version run its push.sql instead.
-- Locks: ACCESS EXCLUSIVE on each model's table, all at once, until the commit. No table is rewritten or read.
-- Grants: takes back those of push.sql.
-- Undo: roles.sql and push.sql; the keys, logs, ledger and claims that were there do not come back. Indexes and references of tables that pgsync
--   made stay, and those that a later version dropped stay dropped: the concurrent.sql of the version that has them makes them again.
-- Run: psql -X -v ON_ERROR_STOP=1 -f revert.sql, when the gateways have been stopped. A second time there is nothing to do.
-- Nothing but pgsync calls these functions.
-- squawk-ignore-file ban-drop-function
BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '300s';
SET LOCAL search_path = '';
SET LOCAL client_min_messages = 'warning';
SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('pgsync push', 0));
SELECT pg_catalog.to_regnamespace('pgsync_private') IS NOT NULL AS installed
\gset
\if :installed
{% if table_names %}
LOCK TABLE {{ table_names | join(", ") }} IN ACCESS EXCLUSIVE MODE;
{% endif %}
{% for r in removals %}


-- ===== {{ r.key }} =====
{{ r.sql }}
{%- for model, undo in model_undos if model == r.key %}
{{ undo }}
{%- endfor %}
{% endfor %}
\endif


-- ===== runtime =====
{{ uninstall }}
COMMIT;
