"""Everything that Postgres can do to rows reaches a client that keeps what the deltas say: its rows are the table's."""

from __future__ import annotations

import pytest

from pgsync.push import push
from pgsync.schema import Field, Model, Ref, Schema
from tests.integration.stream_support import Viewer, running, until
from tests.postgres import Database


class Project(Model):
    name: str = ""


class Task(Model):
    title: str = ""
    body: str | None = None
    points: int = 0
    project_id: Ref[Project] | None = Field(None, on_delete="cascade")


class Comment(Model):
    body: str = ""
    task_id: Ref[Task] | None = Field(None, on_delete="cascade")
    project_id: Ref[Project] | None = Field(None, on_delete="set null")


SCHEMA = Schema(Project, Task, Comment)


SEED = """
    INSERT INTO projects (organization_id, id, name)
    VALUES ('o1', 'p1', 'one'), ('o1', 'p2', 'two'), ('o2', 'p1', 'other') ON CONFLICT DO NOTHING;
    INSERT INTO tasks (organization_id, id, title, project_id)
    SELECT o, 't' || i, 'task ' || i, 'p1' FROM generate_series(1, 5) AS i, (VALUES ('o1'), ('o2')) AS v(o)
    ON CONFLICT DO NOTHING;
    INSERT INTO comments (organization_id, id, task_id, project_id)
    SELECT o, 'c' || i, 't' || i, 'p1' FROM generate_series(1, 5) AS i, (VALUES ('o1'), ('o2')) AS v(o)
    ON CONFLICT DO NOTHING
"""


@pytest.fixture
def pushed(database: Database) -> Database:
    push(database.dsn, SCHEMA)
    database.execute(SEED)
    return database


# What leaves no trace.
SILENT = {"row locks alone", "a large object"}

LONG = "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 1000) AS i)"

WRITES = {
    "a delete that cascades over two tables and sets null in a third": (
        "DELETE FROM projects WHERE organization_id = 'o1' AND id = 'p1'"
    ),
    "one transaction over three tables": (
        "BEGIN; INSERT INTO projects (organization_id, id) VALUES ('o1', 'p9');"
        " UPDATE tasks SET project_id = 'p9' WHERE organization_id = 'o1' AND id IN ('t1', 't2');"
        " DELETE FROM comments WHERE id = 'c3'; COMMIT"
    ),
    "savepoints, some of them rolled back": (
        "BEGIN; INSERT INTO tasks (organization_id, id) VALUES ('o1', 's1'); SAVEPOINT a;"
        " INSERT INTO tasks (organization_id, id) VALUES ('o1', 's2'); DELETE FROM tasks WHERE id = 't1';"
        " ROLLBACK TO a; SAVEPOINT b; UPDATE tasks SET title = 'kept' WHERE id = 't2'; SAVEPOINT c;"
        " UPDATE tasks SET title = 'also kept' WHERE id = 's1'; RELEASE b; COMMIT"
    ),
    "blocks that catch what they cause": (
        "DO $$ BEGIN FOR i IN 1..6 LOOP BEGIN"
        " INSERT INTO tasks (organization_id, id, points) VALUES ('o1', 't' || (i * 2), i);"
        " EXCEPTION WHEN unique_violation THEN UPDATE tasks SET points = i WHERE id = 't' || (i * 2);"
        " END; END LOOP; END $$"
    ),
    "a block with commits inside": (
        "DO $$ BEGIN FOR i IN 100..110 LOOP INSERT INTO tasks (organization_id, id) VALUES ('o1', 't' || i);"
        " IF i % 2 = 0 THEN COMMIT; ELSE ROLLBACK; END IF; END LOOP; END $$"
    ),
    "an insert on conflict": (
        "INSERT INTO tasks (organization_id, id, title) VALUES ('o1', 't1', 'again'), ('o1', 'n1', 'new')"
        " ON CONFLICT (organization_id, id) DO UPDATE SET title = EXCLUDED.title;"
        " INSERT INTO tasks (organization_id, id, title) VALUES ('o1', 't2', 'ignored') ON CONFLICT DO NOTHING"
    ),
    "an update and a delete of the same row in one transaction": (
        "BEGIN; UPDATE tasks SET title = 'a' WHERE id = 't1'; UPDATE tasks SET title = 'b' WHERE id = 't1';"
        " DELETE FROM tasks WHERE id = 't1'; INSERT INTO tasks (organization_id, id, title) VALUES ('o1', 't1', 'c');"
        " COMMIT"
    ),
    "row locks alone": "BEGIN; SELECT * FROM tasks FOR UPDATE; SELECT * FROM projects FOR KEY SHARE; COMMIT",
    "a large object": "SELECT lo_from_bytea(0, decode(repeat('ab', 100000), 'hex'))",
    "common table expressions that write": (
        "WITH gone AS (DELETE FROM comments WHERE id IN ('c1', 'c2') RETURNING organization_id, id)"
        " UPDATE tasks AS t SET points = 9 FROM gone AS g"
        " WHERE t.organization_id = g.organization_id AND t.id = replace(g.id, 'c', 't')"
    ),
    "a large value that stays and one that goes": (
        f"UPDATE tasks SET body = {LONG} WHERE id IN ('t1', 't2'); UPDATE tasks SET title = 'x' WHERE id = 't1';"
        " UPDATE tasks SET body = NULL WHERE id = 't2'"
    ),
    "a changed id below a reference": (
        "BEGIN; DELETE FROM comments WHERE task_id = 't3'; UPDATE tasks SET id = 'renamed' WHERE id = 't3'; COMMIT"
    ),
    "a session that plays replica": (
        "SET session_replication_role = replica; INSERT INTO tasks (organization_id, id) VALUES ('o1', 'r1');"
        " UPDATE tasks SET title = 'replicated' WHERE id = 't1'; DELETE FROM comments WHERE id = 'c1';"
        " RESET session_replication_role"
    ),
    "a vacuum that rewrites": "DELETE FROM tasks WHERE id = 't5'; VACUUM FULL tasks; CLUSTER tasks USING tasks_pkey",
}


async def test_rows_of_a_client_are_those_of_the_tables_whatever_was_done_to_them(pushed: Database) -> None:
    async with running(pushed, "a") as a:
        one, other = Viewer(a.feed, "o1"), Viewer(a.feed, "o2")
        one.load(pushed)
        other.load(pushed)
        for what, statement in WRITES.items():
            pushed.execute(SEED)
            await one.sees(pushed)
            before = len(one.deltas)
            with pushed.connect() as connection:
                for each in statement.split("; ") if "VACUUM" in statement else [statement]:
                    connection.execute(each)
            await one.sees(pushed)
            await other.sees(pushed)
            assert (one.bootstraps, other.bootstraps) == (0, 0), what
            assert (len(one.deltas) > before) == (what not in SILENT), what


async def test_large_value_beside_a_changed_id_has_to_be_loaded(pushed: Database) -> None:
    async with running(pushed, "a") as a:
        one, other = Viewer(a.feed, "o1"), Viewer(a.feed, "o2")
        one.load(pushed)
        pushed.execute("DELETE FROM comments")
        pushed.execute(f"UPDATE tasks SET body = {LONG} WHERE organization_id = 'o1' AND id = 't1'")
        pushed.execute("UPDATE tasks SET id = 'renamed' WHERE organization_id = 'o1' AND id = 't1'")
        await until(lambda: one.is_told(1), "a bootstrap")
        assert "t1" not in one.rows["Task"]
        one.load(pushed)
        pushed.execute("UPDATE tasks SET title = 'after'")
        await one.sees(pushed)
        assert (one.bootstraps, other.bootstraps) == (1, 0)
