"""Every change by anybody is in the change log, with who made it and which fields changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pgsync import names
from tests.sql.conftest import World, ok


@pytest.fixture
def app(tasks: World) -> Iterator[str]:
    """A role that writes tables directly, as an application that knows nothing of pgsync."""
    role = f"app_{tasks.database.name}"
    tasks.sql(f"CREATE ROLE {role} LOGIN")
    tasks.sql(f"GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON projects, tasks, comments TO {role}")
    yield role
    tasks.close()
    tasks.sql(f"DROP OWNED BY {role}; DROP ROLE {role}")


def changes(world: World) -> list[tuple[Any, ...]]:
    """(model, row id, op, fields) in order."""
    return world.sql("SELECT model, row_id, op::text, fields FROM pgsync_private.change ORDER BY seq")


def test_commits_are_recorded_with_their_transaction_and_fields(tasks: World) -> None:
    ada = tasks.caller()
    first = ok(ada.create("tasks", "t1", {"title": "x"}))
    second = ok(ada.update("tasks", "t1", {"title": "y", "priority": 0, "due": "2026-01-01"}))
    third = ok(ada.delete("tasks", "t1"))
    assert changes(tasks) == [
        ("task", "t1", "I", None),
        ("task", "t1", "U", ["title", "due"]),
        ("task", "t1", "D", None),
    ]
    assert tasks.sql("SELECT server_tx_id FROM pgsync_private.change ORDER BY seq") == [
        each["serverTxId"] for each in (first, second, third)
    ]
    assert tasks.sql(
        "SELECT DISTINCT organization_id, role_name, xid::text = split_part(server_tx_id, '-', 1)"
        " FROM pgsync_private.change"
    ) == [("acme", names.GATEWAY, True)]


def test_direct_writes_are_recorded_with_their_role_and_fields(tasks: World, app: str) -> None:
    connection = tasks.connect(app)
    connection.execute(
        "INSERT INTO projects (organization_id, id, name) VALUES ('acme', 'p1', 'x'), ('globex', 'p1', 'y')"
    )
    connection.execute("UPDATE projects SET archived = true, name = name WHERE organization_id = 'acme'")
    connection.execute("UPDATE projects SET name = name WHERE organization_id = 'acme'")
    connection.execute("DELETE FROM projects WHERE organization_id = 'globex'")
    assert tasks.sql(
        "SELECT organization_id, row_id, op::text, fields, server_tx_id, role_name"
        " FROM pgsync_private.change ORDER BY seq"
    ) == [
        ("acme", "p1", "I", None, None, app),
        ("globex", "p1", "I", None, None, app),
        ("acme", "p1", "U", ["archived"], None, app),
        ("acme", "p1", "U", [], None, app),
        ("globex", "p1", "D", None, None, app),
    ]


def test_role_is_the_one_that_was_set_not_the_one_that_logged_in(tasks: World, app: str) -> None:
    with tasks.database.connect() as superuser:
        superuser.execute(f"SET ROLE {app}".encode())
        superuser.execute("INSERT INTO projects (organization_id, id, name) VALUES ('acme', 'p1', 'x')")
    assert tasks.sql("SELECT role_name FROM pgsync_private.change") == [app]


def test_direct_write_cannot_pass_itself_off_as_a_commit(tasks: World, app: str) -> None:
    genuine = ok(tasks.caller().create("projects", "p1", {"name": "x"}))["serverTxId"]
    connection = tasks.connect(app)
    for name, value in (("commit", genuine), ("participant_kind", "user"), ("participant_id", "ada"), ("ordinal", "0")):
        connection.execute(f"SET pgsync.{name} = '{value}'")
    connection.execute("UPDATE projects SET name = 'y'")
    connection.execute("TRUNCATE projects CASCADE")
    assert tasks.sql(
        "SELECT DISTINCT server_tx_id, actor_id, role_name FROM pgsync_private.change WHERE op IN ('U', 'T')"
    ) == [(None, None, app)]


def test_changed_id_is_the_end_of_one_row_and_the_beginning_of_another(tasks: World) -> None:
    tasks.sql("INSERT INTO projects (organization_id, id, name) VALUES ('acme', 'p1', 'x')")
    tasks.sql("UPDATE projects SET id = 'p2'")
    assert changes(tasks)[1:] == [("project", "p1", "D", None), ("project", "p2", "I", None)]


def test_cascades_are_recorded_as_part_of_the_commit(tasks: World) -> None:
    ada = tasks.caller()
    ok(ada.create("projects", "p1", {"name": "x"}))
    ok(ada.create("tasks", "t1", {"title": "x", "project_id": "p1"}))
    ok(ada.create("comments", "c1", {"body": "x", "task_id": "t1"}))
    receipt = ok(ada.delete("projects", "p1"))
    deleted = (
        "SELECT model, row_id, role_name FROM pgsync_private.change WHERE op = 'D' AND server_tx_id = %s ORDER BY 1"
    )
    assert tasks.sql(deleted, receipt["serverTxId"]) == [
        ("comment", "c1", names.GATEWAY),
        ("project", "p1", names.GATEWAY),
        ("task", "t1", names.GATEWAY),
    ]


def test_reference_set_null_by_a_delete_is_recorded_as_an_update(wide: World) -> None:
    ada = wide.caller("acme", "ada", "workspace:w1")
    ok(ada.create("workspaces", "w1", {"name": "x"}))
    folder = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
    ok(ada.create("folders", folder))
    ok(ada.create("documents", "1", {"workspace_id": "w1", "folder": folder}))
    ok(ada.delete("folders", folder))
    assert wide.sql("SELECT organization_id, folder FROM documents") == [("acme", None)]
    assert wide.sql("SELECT fields, sync_groups FROM pgsync_private.change WHERE op = 'U'") == [
        (["folder"], ["workspace:w1", "workspace:w1"])
    ]


def test_truncate_is_recorded_for_each_table_that_it_reaches(tasks: World, app: str) -> None:
    ok(tasks.caller().create("projects", "p1", {"name": "x"}))
    tasks.connect(app).execute("TRUNCATE projects, tasks, comments")
    assert sorted(changes(tasks)[1:]) == [
        ("comment", "", "T", None),
        ("project", "", "T", None),
        ("task", "", "T", None),
    ]
    assert set(tasks.sql("SELECT role_name FROM pgsync_private.change WHERE op = 'T'")) == {app}


def test_sessions_that_play_replica_are_recorded_too(tasks: World) -> None:
    with tasks.database.connect() as superuser:
        superuser.execute("SET session_replication_role = replica")
        superuser.execute("INSERT INTO projects (organization_id, id, name) VALUES ('acme', 'p1', 'x')")
        superuser.execute("TRUNCATE projects CASCADE")
    assert [change[2] for change in changes(tasks) if change[0] == "project"] == ["I", "T"]


def test_copy_and_upsert_are_recorded(tasks: World) -> None:
    with tasks.database.connect() as superuser:
        with superuser.cursor().copy("COPY projects (organization_id, id, name) FROM STDIN") as copy:
            copy.write_row(("acme", "p1", "x"))
        superuser.execute(
            "INSERT INTO projects (organization_id, id, name) VALUES ('acme', 'p1', 'y'), ('acme', 'p2', 'z')"
            " ON CONFLICT (organization_id, id) DO UPDATE SET name = EXCLUDED.name"
        )
    assert changes(tasks) == [
        ("project", "p1", "I", None),
        ("project", "p1", "U", ["name"]),
        ("project", "p2", "I", None),
    ]


def test_rolled_back_change_is_not_recorded(tasks: World) -> None:
    with tasks.database.connect(autocommit=False) as superuser:
        superuser.execute("INSERT INTO projects (organization_id, id, name) VALUES ('acme', 'p1', 'x')")
        superuser.execute("SAVEPOINT s; DELETE FROM projects; ROLLBACK TO s")
        superuser.execute("INSERT INTO projects (organization_id, id, name) VALUES ('acme', 'p2', 'x')")
        superuser.commit()
        superuser.execute("DELETE FROM projects")
        superuser.rollback()
    assert [(row_id, op) for _, row_id, op, _ in changes(tasks)] == [("p1", "I"), ("p2", "I")]


def test_writer_needs_no_right_of_ours(tasks: World, app: str) -> None:
    assert tasks.sql("SELECT has_schema_privilege(%s, 'pgsync_private', 'USAGE')", app) == [False]
    connection = tasks.connect(app)
    connection.execute("INSERT INTO projects (organization_id, id, name) VALUES ('acme', 'p1', 'x')")
    connection.execute("SET search_path = ''; UPDATE public.projects SET name = 'y'")
    assert len(changes(tasks)) == 2


def messages(world: World, slot: str) -> list[Any]:
    """What our messages in the log say, oldest first; taken off the slot."""
    return world.sql(
        "SELECT convert_from(m.data, 'UTF8')::jsonb FROM (SELECT substr(data, 22) AS data, get_byte(data, 0) AS kind"
        " FROM pg_logical_slot_get_binary_changes(%s, NULL, NULL, 'proto_version', '1', 'publication_names', 'pgsync',"
        " 'messages', 'true')) AS m WHERE m.kind = ascii('M')",
        slot,
    )


def test_log_says_whose_changes_follow(tasks: World, app: str) -> None:
    slot = f"pgsync_{tasks.database.name}"
    tasks.sql("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", slot)
    ok(tasks.caller().create("projects", "p1", {"name": "x"}))
    with tasks.database.connect(app, autocommit=False) as writer:
        writer.execute("UPDATE projects SET name = 'y'")
        writer.execute("UPDATE projects SET name = 'z'")
        writer.commit()
    said = messages(tasks, slot)
    assert [(each["t"], each.get("actor"), each.get("role")) for each in said] == [
        ("c", {"kind": "user", "id": "ada"}, None),
        ("d", None, app),
    ]
    assert all(each["snap"] for each in said)
