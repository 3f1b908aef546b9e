-- pgsync: what the schema with hash {{ hash }} puts into a database that has the runtime; a part of push.sql.
-- Models: {{ keys | join(", ") or "none" }}.
-- Undo: revert.sql
BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '300s';
SET LOCAL search_path = '';
{% include "bundle/tables.sql" %}
{% include "bundle/body.sql" %}

COMMIT;
