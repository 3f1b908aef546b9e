-- pgsync: roles. Once per cluster, first.
-- Made by pgsync {{ version }} from the schema with hash {{ hash }}.
-- Creates: the roles pgsync_owner, pgsync_writer, pgsync_gateway and pgsync_listener, where they are missing. No passwords.
-- Grants: the first two to whoever runs this and is no superuser, because push.sql gives them what they own.
-- Locks: none.
-- Undo: revert.sql, with the last database of the cluster that uses them.
-- Run: psql -X -v ON_ERROR_STOP=1 -f roles.sql
{{ roles }}
