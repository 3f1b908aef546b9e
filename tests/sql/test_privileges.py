"""What each database role may do, tried as that role."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest
from psycopg import sql

from pgsync import names
from tests.sql.conftest import World, ok

ALL_TABLES = "SELECT oid::regclass::text FROM pg_class WHERE relnamespace = %s::regnamespace AND relkind IN ('r', 'p')"
ALL_FUNCTIONS = (
    "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = ANY (ARRAY['pgsync', 'pgsync_private',"
    " 'pgsync_generated']::regnamespace[]) AND has_function_privilege(%s, oid, 'EXECUTE') ORDER BY 1"
)
MAY_CALL = {
    names.GATEWAY: {
        "authenticate_v1",
        "commit_batch_v1",
        "commit_v1",
        "diagnose_v1",
        "epoch_v1",
        "holds_group",
        "organization_id",
        "participant_id",
        "participant_kind",
        "propose_schema_v1",
        "samples_v1",
        "schema_v1",
        "set_identity_v1",
        "sync_groups",
        "write_v1",
    },
    names.LISTENER: {
        "anchor_v1",
        "checkpoint_at_v1",
        "epoch_v1",
        "heartbeat_v1",
        "maintain_v1",
        "new_epoch_v1",
        "samples_v1",
        "schema_v1",
        "store_checkpoint_v1",
        "watch_tables_v1",
    },
}
LOGINS = [names.GATEWAY, names.LISTENER]
DENIED = psycopg.errors.InsufficientPrivilege


def denied(connection: psycopg.Connection[Any], statement: str) -> None:
    with pytest.raises(DENIED):
        connection.execute(statement.encode())


@pytest.mark.parametrize("role", LOGINS)
def test_login_roles_have_no_attribute_that_passes_row_security(tasks: World, role: str) -> None:
    attributes = "rolsuper, rolbypassrls, rolcreaterole, rolcreatedb"
    assert tasks.sql(f"SELECT {attributes} FROM pg_roles WHERE rolname = '{role}'") == [(False,) * 4]
    assert tasks.sql("SELECT count(*) FROM pg_auth_members AS m WHERE m.member = %s::regrole", role) == [0]


@pytest.mark.parametrize("role", [names.OWNER, names.WRITER])
def test_nobody_logs_in_as_an_owner_of_functions(tasks: World, role: str) -> None:
    assert tasks.sql("SELECT rolcanlogin, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = %s", role) == [
        (False, False, False)
    ]


@pytest.mark.parametrize("role", LOGINS)
def test_login_role_calls_the_functions_made_for_it_and_no_other(tasks: World, role: str) -> None:
    allowed = tasks.sql(ALL_FUNCTIONS, role)
    assert all(name.startswith("pgsync.") for name in allowed), allowed
    called = {name.removeprefix("pgsync.").partition("(")[0] for name in allowed}
    assert called >= MAY_CALL[role]
    admin = {"create_credential_v1", "credentials_v1", "revoke_credential_v1"}
    assert not called & admin
    if role == names.GATEWAY:
        assert not called & (MAY_CALL[names.LISTENER] - MAY_CALL[names.GATEWAY])


@pytest.mark.parametrize("role", LOGINS)
def test_login_role_changes_no_row_and_no_table(wide: World, role: str) -> None:
    connection = wide.connect(role)
    for table in wide.sql(ALL_TABLES, "public"):
        column = wide.sql("SELECT attname::text FROM pg_attribute WHERE attrelid = %s::regclass AND attnum = 1", table)[
            0
        ]
        denied(connection, f"INSERT INTO {table} DEFAULT VALUES")
        denied(connection, f"UPDATE {table} SET {column} = {column}")
        denied(connection, f"DELETE FROM {table}")
        denied(connection, f"TRUNCATE {table}")
        denied(connection, f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
        denied(connection, f"DROP TABLE {table}")
        denied(connection, f"CREATE POLICY mine ON {table} USING (true)")
        denied(connection, f"DROP POLICY pgsync_select ON {table}")
        denied(connection, f"CREATE INDEX ON {table} ({column})")
    if wide.database.server.major >= 15:  # before, Postgres itself lets everybody create in public
        denied(connection, "CREATE TABLE public.mine (a integer)")
    denied(connection, "CREATE SCHEMA mine")
    denied(connection, "CREATE TABLE pgsync.mine (a integer)")
    denied(connection, "CREATE FUNCTION pgsync.mine() RETURNS void LANGUAGE sql AS ''")
    denied(connection, "ALTER PUBLICATION pgsync ADD TABLE tasks")
    denied(connection, "CREATE ROLE mine")
    denied(connection, "SET ROLE pgsync_writer")
    denied(connection, "SET ROLE pgsync_owner")
    denied(connection, "ALTER FUNCTION pgsync.commit_v1(jsonb, text, jsonb, jsonb) SECURITY INVOKER")


@pytest.mark.parametrize("role", LOGINS)
def test_login_role_reads_no_private_table_and_calls_no_generated_function(wide: World, role: str) -> None:
    connection = wide.connect(role)
    tables = wide.sql(ALL_TABLES, "pgsync_private")
    assert len(tables) > 8
    for table in tables:
        denied(connection, f"SELECT FROM {table}")
        denied(connection, f"DELETE FROM {table}")
    denied(connection, "SELECT pgsync_generated.counter_create('1', '{}')")
    denied(connection, "SELECT pgsync_generated.apply_operation('create', 'counter', '1', '{}')")
    denied(connection, "SELECT pgsync_private.commit('{}', 'k', '{}', NULL)")
    denied(connection, "SELECT pgsync.create_credential_v1('{}')")
    denied(connection, "SELECT pgsync.credentials_v1()")
    denied(connection, "SELECT pgsync.revoke_credential_v1('x')")


def test_listener_reads_no_row(tasks: World) -> None:
    denied(tasks.connect(names.LISTENER), "SELECT FROM tasks")


def test_gateway_calls_nothing_of_the_listener_and_the_other_way_round(tasks: World) -> None:
    denied(tasks.connect(names.GATEWAY), "SELECT pgsync.maintain_v1()")
    denied(tasks.connect(names.GATEWAY), "SELECT pgsync.new_epoch_v1()")
    denied(tasks.connect(names.GATEWAY), "SELECT pgsync.store_checkpoint_v1('0/1', 1, NULL, 1, NULL)")
    denied(tasks.connect(names.LISTENER), "SELECT pgsync.commit_v1('{}', 'k', '{}')")
    denied(tasks.connect(names.LISTENER), "SELECT pgsync.authenticate_v1('')")


def test_public_has_nothing_of_ours(wide: World) -> None:
    role = f"outsider_{wide.database.name}"
    wide.sql(f"CREATE ROLE {role} LOGIN")
    try:
        assert wide.sql(ALL_FUNCTIONS, role) == []
        for namespace in ("pgsync", "pgsync_private", "pgsync_generated"):
            assert wide.sql("SELECT has_schema_privilege(%s, %s, 'USAGE, CREATE')", role, namespace) == [False]
            for table in wide.sql(ALL_TABLES, namespace):
                held = "SELECT has_table_privilege(%s, %s, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER')"
                assert wide.sql(held, role, table) == [False]
        denied(wide.connect(role), "SELECT pgsync.organization_id()")
    finally:
        wide.close()
        wide.sql(f"DROP ROLE {role}")


def test_every_function_says_where_it_looks_names_up(wide: World) -> None:
    # Bodies in standard SQL are bound when they are created. For all others pg_temp has to come last: it would come
    # first if it were not named, and whoever may make temporary tables could put a type of his own in place of text.
    # follow_search_path sets it for whoever called it, which a SET of its own would undo.
    unpinned = wide.sql(
        "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = ANY (ARRAY['pgsync', 'pgsync_private',"
        " 'pgsync_generated']::regnamespace[]) AND prosqlbody IS NULL"
        " AND NOT COALESCE(proconfig @> ARRAY['search_path=pg_catalog, pg_temp'], false)"
    )
    assert unpinned == ["pgsync_private.follow_search_path()"]


def test_functions_belong_to_the_owner_and_writes_to_the_writer(wide: World) -> None:
    owners = wide.sql(
        "SELECT proname::text, proowner::regrole::text, prosecdef FROM pg_proc WHERE pronamespace = ANY"
        " (ARRAY['pgsync', 'pgsync_private', 'pgsync_generated']::regnamespace[])"
    )
    assert {owner for _, owner, _ in owners} == {names.OWNER, names.WRITER}
    writers = {name for name, owner, _ in owners if owner == names.WRITER}
    assert {"commit_v1", "write_v1", "commit_batch_v1", "diagnose_v1"} <= writers
    assert all(definer for name, owner, definer in owners if owner == names.WRITER), (
        "the writer's rights are lent, not owned"
    )
    assert not any(name.startswith("set_identity") and definer for name, _, definer in owners)


def test_private_tables_belong_to_the_owner_and_only_the_writer_has_rights_on_them(wide: World) -> None:
    assert wide.sql(
        "SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relkind IN ('r', 'p')"
        " AND relnamespace = 'pgsync_private'::regnamespace"
    ) == [names.OWNER]
    others = wide.sql(
        "SELECT c.oid::regclass::text, a.grantee::regrole::text FROM pg_class AS c, aclexplode(c.relacl) AS a"
        " WHERE c.relnamespace = 'pgsync_private'::regnamespace"
        " AND a.grantee NOT IN ('pgsync_owner'::regrole, 'pgsync_writer'::regrole)"
    )
    assert others == []


@pytest.mark.parametrize("hijacked", ["text", "jsonb", "bytea", "timestamptz", "date"])
def test_temporary_types_do_not_run_with_our_rights(tasks: World, hijacked: str) -> None:
    """A domain called `text` in pg_temp, whose check says who evaluates it, must never be ours to evaluate."""
    ada = tasks.caller()
    ada.connection.execute(
        "CREATE FUNCTION pg_temp.who() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN"
        " IF current_user <> 'pgsync_gateway' THEN RAISE EXCEPTION 'I am %', current_user; END IF;"
        " RETURN true; END $$"
    )
    domain = sql.Identifier("pg_temp", hijacked)
    base = sql.Identifier("pg_catalog", hijacked)
    ada.connection.execute(sql.SQL("CREATE DOMAIN {} AS {} CHECK (pg_temp.who())").format(domain, base))
    commit = "SELECT pgsync.commit_v1(%s::pg_catalog.jsonb, %s::pg_catalog.text, %s::pg_catalog.jsonb, NULL)"
    operation = {"action": "create", "model": "tasks", "id": "t1", "data": {"title": "x", "due": "2026-01-01"}}
    request = json.dumps({"operations": [operation]})
    row = ada.connection.execute(commit, [ada.identity, f"key {hijacked}", request]).fetchone()
    assert row is not None
    ok(row[0])
    assert row[0]["outcome"] == "committed"
    ada.connection.execute("SELECT pgsync.authenticate_v1('\\x00'::pg_catalog.bytea)")
    ada.connection.execute("SELECT pgsync.schema_v1(), pgsync.samples_v1(1)")


def test_row_of_another_organization_is_out_of_sight_whatever_the_gateway_sets(tasks: World) -> None:
    ok(tasks.caller("acme").create("projects", "p1", {"name": "Acme's"}))
    ok(tasks.caller("globex").create("projects", "p2", {"name": "Globex's"}))
    gateway = tasks.connect(names.GATEWAY)
    assert gateway.execute("SELECT id FROM projects").fetchall() == []
    assert tasks.caller("acme").read("SELECT id FROM projects") == ["p1"]
    assert tasks.caller("acme").read("SELECT id FROM projects WHERE id = 'p2' OR organization_id = 'globex'") == []
    assert tasks.caller("nobody").read("SELECT id FROM projects") == []
    with pytest.raises(DENIED):  # not silently everything
        gateway.execute("SET row_security = off; SELECT id FROM projects")


def test_identity_ends_with_its_transaction(tasks: World) -> None:
    ada = tasks.caller("acme")
    ok(ada.create("projects", "p1", {"name": "x"}))
    assert ada.read("SELECT id FROM projects") == ["p1"]
    assert ada.connection.execute("SELECT id FROM projects").fetchall() == []
    ok(ada.update("projects", "p1", {"name": "y"}))
    assert ada.connection.execute("SELECT pgsync.organization_id(), pgsync.sync_groups()").fetchone() == (None, [])


def test_a_cheap_function_of_the_callers_does_not_see_rows_before_the_policies_do(tasks: World) -> None:
    ok(tasks.caller("globex").create("projects", "p2", {"name": "secret"}))
    ada = tasks.caller("acme")
    ada.connection.execute(
        "CREATE FUNCTION pg_temp.leak(pg_catalog.text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001"
        " AS $$ BEGIN RAISE EXCEPTION 'saw %', $1; END $$"
    )
    assert ada.read("SELECT id FROM projects WHERE pg_temp.leak(name)") == []
