"""A bundle applied by hand and a push end in the same catalog, and what the bundle puts in comes out again."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Literal

import pytest

from pgsync.compile import bundle_files, compile_schema
from pgsync.push import PushError, migrate, push
from pgsync.schema import Field, Model, Ref, Schema
from tests.golden.cases import schema_of
from tests.postgres import Database, Server
from tests.sql.dump import dump, psql
from tests.sql.test_uninstall import BEFORE
from tests.sql.test_uninstall import schema as adopting

APPLIED = ("roles.sql", "push.sql", "concurrent.sql")
NOT_WHEN = (  # tables that say when something was done, and rows
    "--exclude-table-data=pgsync_private.migration",
    "--exclude-table-data=pgsync_private.schema_version",
    "--exclude-table-data=pgsync_private.setting",
    "--exclude-table-data=pgsync_private.table_state",
    "--exclude-table-data=pgsync_private.installed_object",
    "--exclude-table-data=pgsync_private.change*",
    "--exclude-table-data=pgsync_private.audit_seal",
    "--exclude-table-data=public.*",
)
VERSIONS = (
    "SELECT version, state, hash, definition_hash, document, models FROM pgsync_private.schema_version ORDER BY version"
)


@pytest.fixture
def other(server: Server) -> Iterator[Database]:
    """A second database."""
    with server.lend() as created:
        yield created


def first() -> Schema:
    class Task(Model):
        title: str
        status: Literal["todo", "done"] = "todo"

    return Schema(Task)


def second() -> Schema:
    class Project(Model):
        name: str

    class Task(Model):
        title: str
        status: Literal["todo", "doing", "done"] = "todo"
        owner: str | None = Field(None, index=True)
        project_id: Ref[Project] | None = Field(None)

    return Schema(Project, Task)


def third() -> Schema:
    """The second without its index and its reference."""

    class Project(Model):
        name: str

    class Task(Model):
        title: str
        status: Literal["todo", "doing", "done"] = "todo"
        owner: str | None = None
        project_id: str | None = None

    return Schema(Project, Task)


def files(schema: Schema, *, tables: bool = True) -> dict[str, str]:
    return dict(bundle_files(compile_schema(schema.resolved), migrate=tables))


def by_hand(database: Database, schema: Schema, *, tables: bool = True) -> None:
    bundle = files(schema, tables=tables)
    for name in APPLIED:
        psql(database, bundle[name])


def catalog(database: Database) -> tuple[str, object, object]:
    objects = "SELECT model, kind, identity, hash FROM pgsync_private.installed_object ORDER BY 2, 3"
    return dump(database, *NOT_WHEN), database.execute(VERSIONS), database.execute(objects)


@pytest.mark.parametrize("name", ["tasks", "wide"])
def test_bundle_and_push_make_the_same_of_an_empty_database(database: Database, other: Database, name: str) -> None:
    by_hand(database, schema_of(name))
    push(other.dsn, schema_of(name))
    assert catalog(database) == catalog(other)
    assert not push(database.dsn, schema_of(name)).changed
    once = catalog(database)
    by_hand(database, schema_of(name))
    assert catalog(database) == once, "a second time changed something"


def test_bundle_and_push_make_the_same_on_tables_of_others(database: Database, other: Database) -> None:
    for each in (database, other):
        each.execute(BEFORE)
    by_hand(database, adopting(), tables=False)
    push(other.dsn, adopting(), migrate=False)
    assert catalog(database) == catalog(other)


def test_bundle_and_push_make_the_same_of_an_older_version(database: Database, other: Database) -> None:
    for each in (database, other):
        push(each.dsn, first())
        each.execute("INSERT INTO tasks (organization_id, id, title) VALUES ('acme', 't1', 'x')")
        migrate(each.dsn, second())
    by_hand(database, second(), tables=False)
    push(other.dsn, second(), migrate=False)
    assert catalog(database) == catalog(other)
    assert not push(database.dsn, second()).changed


def test_bundle_and_push_let_the_same_indexes_and_references_go(database: Database, other: Database) -> None:
    theirs = (
        "CREATE INDEX mine ON tasks (owner); ALTER TABLE tasks ADD CONSTRAINT theirs"
        " FOREIGN KEY (organization_id, project_id) REFERENCES projects (organization_id, id);"
    )
    for each in (database, other):
        push(each.dsn, second())
        each.execute(theirs + "INSERT INTO tasks (organization_id, id, title) VALUES ('acme', 't1', 'x')")
    with_both = catalog(database)[0]
    by_hand(database, third())
    push(other.dsn, third())
    assert catalog(database) == catalog(other)
    assert not push(database.dsn, third()).changed
    assert set(indexes(database)) == {"mine", "projects_pkey", "tasks_pkey"}
    assert references(database) == ["theirs"]
    once = catalog(database)
    by_hand(database, third())
    assert catalog(database) == once, "a second time changed something"
    by_hand(database, second())
    assert catalog(database)[0] == with_both, "the bundle of the version before does not bring them back"


@pytest.mark.parametrize(
    "statement",
    [
        "COMMENT ON TABLE tasks IS 'ours'",
        "COMMENT ON INDEX tasks_organization_id_owner_idx IS NULL;"
        "COMMENT ON CONSTRAINT tasks_project_id_fkey ON tasks IS NULL",
    ],
)
def test_bundle_keeps_what_is_not_its_own_or_what_others_need(database: Database, statement: str) -> None:
    push(database.dsn, second())
    database.execute(statement)
    bundle = files(third())
    psql(database, bundle["push.sql"])
    psql(database, bundle["concurrent.sql"])
    assert "tasks_organization_id_owner_idx" in indexes(database)
    assert references(database) == ["tasks_project_id_fkey"]


def test_index_that_a_reference_of_others_has_come_to_need_stays(database: Database, other: Database) -> None:
    class Task(Model):
        title: str
        owner: str = Field(unique=True)

    class Plain(Model, typename="Task", key="tasks"):
        title: str
        owner: str

    theirs = "CREATE TABLE theirs (o text, w text, FOREIGN KEY (o, w) REFERENCES tasks (organization_id, owner))"
    for each in (database, other):
        push(each.dsn, Schema(Task))
        each.execute(theirs)
    by_hand(database, Schema(Plain))
    push(other.dsn, Schema(Plain))
    assert catalog(database) == catalog(other)
    assert "tasks_organization_id_owner_key" in indexes(database)
    for each in (database, other):
        each.execute("DROP TABLE theirs")
    by_hand(database, Schema(Plain))
    push(other.dsn, Schema(Plain))
    assert catalog(database) == catalog(other)
    assert indexes(database) == ["tasks_pkey"]


def test_bundle_drops_an_index_that_it_was_interrupted_in_dropping(database: Database) -> None:
    push(database.dsn, second())
    database.execute(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'tasks_organization_id_owner_idx'::regclass"
    )
    by_hand(database, third())
    assert set(indexes(database)) == {"projects_pkey", "tasks_pkey"}


def test_bundle_is_refused_by_a_version_that_has_more(database: Database) -> None:
    push(database.dsn, second())
    before = dump(database)
    with pytest.raises(AssertionError, match=r"model projects.*pgsync push schema\.py --dry-run"):
        run(database, files(first())["push.sql"])
    assert dump(database) == before


def test_reference_that_a_server_cannot_make_is_refused_by_name(database: Database, other: Database) -> None:
    class Project(Model):
        name: str

    class Task(Model):
        project_id: Ref[Project] | None = Field(None, on_delete="set null")

    schema = Schema(Project, Task)
    if database.server.major < 15:
        with pytest.raises(PushError, match=r"tasks: project is to be set null on delete, .* PostgreSQL can from 15"):
            push(other.dsn, schema)
        with pytest.raises(AssertionError, match=r"to be set null on delete, .* PostgreSQL can from 15"):
            by_hand(database, schema)
        return
    push(other.dsn, schema)
    by_hand(database, schema)
    for each in (database, other):
        each.execute(
            "INSERT INTO projects (organization_id, id, name) VALUES ('o1', 'p1', 'p');"
            "INSERT INTO tasks (organization_id, id, project_id) VALUES ('o1', 't1', 'p1');"
            "DELETE FROM projects"
        )
        assert each.execute("SELECT organization_id, project_id FROM tasks") == [("o1", None)]


def test_bundle_names_every_table_and_column_that_is_missing(database: Database) -> None:
    database.execute(
        "CREATE TABLE tasks (organization_id text, id text, title text, PRIMARY KEY (organization_id, id))"
    )
    with pytest.raises(AssertionError) as refused:
        run(database, "".join(files(second(), tables=False)[name] for name in APPLIED))
    said = str(refused.value)
    assert "projects" in said
    assert "status" in said
    assert "owner" in said
    assert "pgsync migrate" in said
    assert "CREATE SCHEMA" not in dump(database)


def test_bundle_repairs_an_index_that_was_interrupted(database: Database) -> None:
    by_hand(database, second())
    database.execute(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'tasks_organization_id_owner_idx'::regclass;"
        "ALTER TABLE tasks DROP CONSTRAINT tasks_project_id_fkey"
    )
    psql(database, files(second())["concurrent.sql"])
    assert database.execute("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == [(0,)]
    assert database.execute("SELECT convalidated FROM pg_constraint WHERE conname = 'tasks_project_id_fkey'") == [
        (True,)
    ]


def test_bundle_leaves_indexes_of_tables_of_others_alone(database: Database) -> None:
    push(database.dsn, second())
    database.execute("COMMENT ON TABLE tasks IS 'ours'; DROP INDEX tasks_organization_id_owner_idx")
    before = dump(database)
    psql(database, files(second())["concurrent.sql"])
    assert dump(database) == before


def test_revert_leaves_the_database_as_it_was(database: Database) -> None:
    database.execute(BEFORE)
    before = dump(database)
    by_hand(database, adopting(), tables=False)
    assert dump(database) != before
    revert = files(adopting())["revert.sql"]
    psql(database, revert)
    assert dump(database) == before
    psql(database, revert)


def test_revert_keeps_tables_that_pgsync_made_with_their_rows(database: Database) -> None:
    by_hand(database, second())
    database.execute("INSERT INTO tasks (organization_id, id, title) VALUES ('acme', 't1', 'x')")
    psql(database, files(second())["revert.sql"])
    assert database.execute("SELECT id FROM tasks") == [("t1",)]
    assert "pgsync" not in dump(database)


def indexes(database: Database) -> list[str]:
    found = database.execute("SELECT indexname FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1")
    return [name for (name,) in found]


def references(database: Database) -> list[str]:
    found = database.execute("SELECT conname FROM pg_constraint WHERE contype = 'f' AND conrelid = 'tasks'::regclass")
    return [name for (name,) in found]


def run(database: Database, script: str) -> None:
    """As `psql`, with what the server says of an error in full."""
    said = subprocess.run(
        [str(database.server.program("psql")), database.url, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-"],
        input=script,
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr.replace("\n", " ")
