"""Row security costs a tenant's reader an index lookup, and everybody else nothing."""

from __future__ import annotations

import re

import psycopg
import pytest

from pgsync import names, sqlfiles
from pgsync.push import push
from pgsync.schema import Model, Schema
from tests.golden.cases import schema_of
from tests.postgres import Database
from tests.sql.conftest import World, ok
from tests.sql.dump import psql

ROWS = 100_000
TENANTS = 100


def plan(world: World, query: str, organization: str = "org7") -> str:
    caller = world.caller(organization)
    return "\n".join(caller.read(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) {query}"))


@pytest.fixture
def many(tasks: World) -> World:
    """100,000 tasks of 100 organizations."""
    tasks.sql(
        "ALTER TABLE tasks DISABLE TRIGGER USER;"  # not what this is about
        " INSERT INTO tasks (organization_id, id, title, status)"
        f" SELECT 'org' || n % {TENANTS}, 't' || n, 'Task ' || n, 'todo' FROM generate_series(1, {ROWS}) AS n;"
        " ANALYZE tasks"
    )
    return tasks


def test_list_of_a_tenant_reads_its_index_and_asks_who_is_reading_once(many: World) -> None:
    for query in (
        "SELECT * FROM tasks ORDER BY id LIMIT 100",
        "SELECT * FROM tasks",
        "SELECT * FROM tasks WHERE status = 'todo' ORDER BY id LIMIT 50",
        "SELECT * FROM tasks WHERE id = 't7'",
    ):
        text = plan(many, query)
        assert "Seq Scan" not in text, text
        assert re.search(r"Index Cond: \(+organization_id = \$?\(?", text), text
        assert "tasks_pkey" in text or "tasks_organization_id" in text, text
        # Each identity function stands in a subplan of its own that runs once; none is left in a filter of rows.
        assert "InitPlan" in text
        assert not re.search(r"Filter:.*pgsync\.", text), text
        for init in re.findall(r"InitPlan.*\n\s*->\s+Result \(.*", text):
            assert re.search(r"rows=1(\.00)? loops=1", init), init


def test_index_serves_the_order_of_a_list(many: World) -> None:
    assert "Sort" not in plan(many, "SELECT * FROM tasks ORDER BY id LIMIT 100")


def test_reader_without_identity_reads_no_row_at_all(many: World) -> None:
    gateway = many.connect(names.GATEWAY)
    text = "\n".join(row[0] for row in gateway.execute("EXPLAIN (ANALYZE, COSTS OFF) SELECT * FROM tasks").fetchall())
    assert "Rows Removed by Filter" not in text, text


def test_write_of_one_row_reads_one_row(many: World) -> None:
    ada = many.caller("org7")
    with many.database.connect() as superuser:
        superuser.execute("SELECT pg_stat_force_next_flush()") if many.database.server.major >= 15 else None
        scans = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'tasks'"
        before = superuser.execute(scans).fetchone()
        for _ in range(8):  # beyond the five plans that are made with the values of a call
            ok(ada.update("tasks", "t7", {"priority": 1}))
        ada.connection.close()
        after = superuser.execute(scans).fetchone()
    assert before == after


def test_other_roles_see_the_same_rows_before_during_and_after(database: Database) -> None:
    with database.connect() as superuser:
        superuser.execute(
            "CREATE TABLE projects (organization_id text, id text, name text NOT NULL, description text,"
            " archived boolean NOT NULL DEFAULT false, created_at timestamptz NOT NULL DEFAULT now(),"
            " updated_at timestamptz NOT NULL DEFAULT now(), created_by text, PRIMARY KEY (organization_id, id))"
        )
        superuser.execute("INSERT INTO projects VALUES ('acme', 'p1', 'x'), ('globex', 'p2', 'y')")
    owner, other = f"owner_{database.name}", f"other_{database.name}"
    database.execute(f"CREATE ROLE {owner} LOGIN; CREATE ROLE {other} LOGIN")
    try:
        database.execute(f"ALTER TABLE projects OWNER TO {owner}; GRANT SELECT, UPDATE ON projects TO {other}")

        def seen() -> list[object]:
            found: list[object] = []
            for role in (owner, other):
                with database.connect(role) as connection:
                    found += connection.execute("SELECT * FROM projects ORDER BY id").fetchall()
                    found.append(connection.execute("UPDATE projects SET name = name").rowcount)
            return found

        before = seen()
        assert len(before) == 6
        push(database.dsn, schema_of("tasks"))
        assert seen() == before
        with database.connect(names.GATEWAY) as gateway:
            assert gateway.execute("SELECT FROM projects").fetchall() == []
        psql(database, sqlfiles.read("uninstall.sql"))
        assert seen() == before
    finally:
        database.execute(f"REASSIGN OWNED BY {owner} TO CURRENT_USER; DROP OWNED BY {owner}, {other}")
        database.execute(f"DROP ROLE {owner}; DROP ROLE {other}")


def test_policies_that_were_there_still_bind_those_they_bound(database: Database) -> None:
    database.execute(
        "CREATE TABLE notes (organization_id text, id text, text text, created_at timestamptz NOT NULL DEFAULT now(),"
        " updated_at timestamptz NOT NULL DEFAULT now(), created_by text, PRIMARY KEY (organization_id, id));"
        "INSERT INTO notes VALUES ('acme', 'n1', 'x'), ('acme', 'n2', 'hidden');"
        "ALTER TABLE notes ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY theirs ON notes USING (text <> 'hidden')"
    )
    role = f"other_{database.name}"
    database.execute(f"CREATE ROLE {role} LOGIN; GRANT SELECT ON notes TO {role}")

    class Note(Model):
        text: str | None = None

    try:
        push(database.dsn, Schema(Note))
        with database.connect(role) as connection:
            assert connection.execute("SELECT id FROM notes").fetchall() == [("n1",)]
        world = World(database)
        assert sorted(world.caller().read("SELECT id FROM notes")) == ["n1", "n2"]
        world.close()
    finally:
        database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_owner_who_binds_himself_can_still_cascade(tasks: World) -> None:
    tasks.sql("ALTER TABLE tasks FORCE ROW LEVEL SECURITY")
    ada = tasks.caller()
    ok(ada.create("projects", "p1", {"name": "x"}))
    ok(ada.create("tasks", "t1", {"title": "x", "project_id": "p1"}))
    ok(ada.delete("projects", "p1"))
    assert tasks.sql("SELECT count(*) FROM tasks") == [0]


def test_rule_is_kept_by_reads_and_changes(tasks: World) -> None:
    ada, bob = tasks.caller("acme", "ada"), tasks.caller("acme", "bob")
    ok(ada.create("tasks", "t1", {"title": "x"}))
    ok(ada.create("comments", "c1", {"body": "x", "task_id": "t1", "private": True, "author_id": "ada"}))
    assert ada.read("SELECT id FROM comments") == ["c1"]
    assert bob.read("SELECT id FROM comments") == []
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        bob.connection.execute("UPDATE comments SET body = 'y'")
