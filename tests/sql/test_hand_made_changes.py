"""Somebody changes columns of a synced table by hand: applications go on, and what can be said of it is recorded."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from pgsync.push import Wishes, parse_rename, push
from pgsync.push.doctor import examine
from pgsync.push.plan import PushError
from pgsync.schema import Field, Model, Schema
from tests.sql.conftest import World, ok, refused
from tests.sql.test_changes import changes

UNSEEN = (
    "SELECT (pgsync_private.unseen_change('acme', 'task', 't1', NULL, ARRAY[%s], %s::jsonb, NULL, NULL)).op::text AS op"
)


@pytest.fixture
def session(tasks: World) -> psycopg.Connection[Any]:
    """An application's session that has written every table before anything is changed."""
    connection = tasks.connect()
    connection.execute("INSERT INTO projects (organization_id, id, name) VALUES ('acme', 'p0', 'before')")
    connection.execute("INSERT INTO tasks (organization_id, id, title, priority) VALUES ('acme', 't1', 'before', 1)")
    connection.execute("UPDATE tasks SET title = 'as ever', priority = 2")
    connection.execute("UPDATE projects SET name = 'as ever'")
    connection.execute("INSERT INTO tasks (organization_id, id, title) VALUES ('acme', 't0', 'x')")
    connection.execute("DELETE FROM tasks WHERE id = 't0'")
    return connection


def told(world: World) -> set[tuple[str, str]]:
    return {(f.level, f.object) for f in examine(world.database.dsn)}


@pytest.mark.parametrize("fresh", [False, True], ids=["session of before", "new session"])
@pytest.mark.parametrize(
    ("statement", "column", "counts"),
    [
        ("ALTER TABLE tasks DROP COLUMN title CASCADE", "title", ["title", "priority"]),
        ("ALTER TABLE tasks RENAME COLUMN title TO name", "title", ["title", "priority"]),
        ("ALTER TABLE tasks ALTER COLUMN priority TYPE text USING priority::text", "priority", ["priority"]),
        (
            "ALTER TABLE tasks ALTER COLUMN priority DROP DEFAULT, ALTER COLUMN priority TYPE json USING '1'::json",
            "priority",
            ["priority"],
        ),
    ],
    ids=["dropped", "renamed", "another type", "a type without equality"],
)
def test_application_goes_on_and_what_cannot_be_compared_counts_as_changed(
    tasks: World, session: psycopg.Connection[Any], statement: str, column: str, counts: list[str], fresh: bool
) -> None:
    tasks.sql(statement)
    assert ("error" if "ALTER COLUMN" not in statement else "warning", f"public.tasks.{column}") in told(tasks)
    tasks.sql("TRUNCATE pgsync_private.change")
    application = tasks.connect() if fresh else session
    application.execute("UPDATE tasks SET priority = '7' WHERE id = 't1'")
    application.execute(_insert(statement))
    application.execute("UPDATE tasks SET id = 't3' WHERE id = 't2'")
    application.execute("DELETE FROM tasks WHERE id = 't3'")
    assert changes(tasks) == [
        ("task", "t1", "U", counts),
        ("task", "t2", "I", None),
        ("task", "t2", "D", None),
        ("task", "t3", "I", None),
        ("task", "t3", "D", None),
    ]
    assert set(tasks.sql("SELECT organization_id FROM pgsync_private.change")) == {"acme"}


def _insert(statement: str) -> str:
    if "DROP COLUMN" in statement:
        return "INSERT INTO tasks (organization_id, id) VALUES ('acme', 't2')"
    column = "name" if "RENAME" in statement else "title"
    return f"INSERT INTO tasks (organization_id, id, {column}, priority) VALUES ('acme', 't2', 'x', '1')"


@pytest.mark.parametrize("column", ["id", "organization_id"])
def test_row_that_nobody_can_name_counts_as_every_row(
    tasks: World, session: psycopg.Connection[Any], column: str
) -> None:
    read_at = f'{{"snapshot": "{tasks.sql("SELECT pg_current_snapshot()::text")[0]}", "seen": []}}'
    tasks.sql("TRUNCATE pgsync_private.change")
    tasks.sql(f"ALTER TABLE tasks RENAME COLUMN {column} TO another")
    session.execute("UPDATE tasks SET priority = 7")
    assert changes(tasks) == [("task", "", "T", None)]
    assert tasks.sql(UNSEEN, "title", read_at) == ["T"], "what was read before may be stale"


def test_commit_into_a_table_that_lacks_a_column_is_refused_and_every_other_goes_on(tasks: World) -> None:
    ada = tasks.caller()
    ok(ada.create("projects", "p1", {"name": "x"}))
    ok(ada.create("tasks", "t1", {"title": "x"}))
    tasks.sql("ALTER TABLE tasks RENAME COLUMN title TO name")
    assert refused(ada.update("tasks", "t1", {"title": "y"})).code == "42703"
    ok(ada.update("projects", "p1", {"name": "y"}))
    tasks.sql("ALTER TABLE tasks RENAME COLUMN name TO title")
    ok(ada.update("tasks", "t1", {"title": "y"}))


class Note(Model):
    body: str | None = None
    mark: str | None = None


class NoteRenamed(Model, key="notes", typename="Note", table="notes"):
    text: str | None = None
    mark: str | None = None


def test_push_takes_a_rename_by_hand_for_no_new_empty_column(database: Any) -> None:
    push(database.dsn, Schema(Note))
    database.execute("INSERT INTO notes (organization_id, id, body) VALUES ('acme', 'n1', 'kept')")
    database.execute("ALTER TABLE notes RENAME COLUMN body TO text")
    with pytest.raises(PushError) as caught:
        push(database.dsn, Schema(Note))
    assert caught.value.code == "incompatible_change"
    (said,) = caught.value.details["unexecutable"]
    assert "--rename notes.body:NAME" in said
    assert "text" in said
    renamed = Schema(NoteRenamed)
    assert push(database.dsn, renamed, wishes=Wishes(renames=(parse_rename("note.body:text"),))).version == 2
    assert database.execute("SELECT text FROM notes") == [("kept",)]
    database.execute("ALTER TABLE notes DROP COLUMN text")
    push(database.dsn, renamed)
    assert database.execute("SELECT text FROM notes") == [(None,)]


class NarrowNote(Model, key="notes", typename="Note", table="notes"):
    body: str | None = Field(None, sql="character varying(20)")
    mark: str | None = None


def test_push_of_another_type_makes_the_trigger_anew(database: Any) -> None:
    """So that sessions that are connected compare fields again, and not whole rows."""
    made = "SELECT xmin::text FROM pg_proc WHERE oid = 'pgsync_generated.note_record()'::regprocedure"
    push(database.dsn, Schema(Note))
    before = database.execute(made)
    database.execute("ALTER TABLE notes ALTER COLUMN body TYPE varchar(20)")
    push(database.dsn, Schema(NarrowNote), wishes=Wishes(force=True))
    assert database.execute(made) != before
