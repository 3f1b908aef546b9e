"""A push brings a database to a schema in one transaction, or leaves it as it was."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Literal

import psycopg
import pytest

from pgsync import sqlfiles
from pgsync.errors import PgsyncError
from pgsync.push import Limits, PushError, PushResult, install, push
from pgsync.schema import Field, Model, Ref, Schema
from tests.postgres import Database, run_server
from tests.sql.dump import dump, psql

WAIT_SECONDS = 20.0
IMPATIENT = Limits(lock_timeout_seconds=0.1, patience_seconds=0)
NOT_OF_THE_SCHEMA = (  # tables that say when something was done
    "--exclude-table-data=pgsync_private.audit_seal",
    "--exclude-table-data=pgsync_private.migration",
    "--exclude-table-data=pgsync_private.schema_version",
    "--exclude-table-data=pgsync_private.setting",
    "--exclude-table-data=pgsync_private.table_state",
)


def one() -> Schema:
    class Task(Model):
        title: str
        status: Literal["todo", "done"] = "todo"
        estimate: int

    return Schema(Task)


def two() -> Schema:
    """`one` with everything added that can be added to rows that exist."""

    class Project(Model):
        name: str

    class Task(Model):
        title: str
        status: Literal["todo", "doing", "done"] = "todo"
        estimate: int | None
        priority: int = 3
        level: Literal["low", "high"] = "low"
        note: str | None = Field(None, index=True)
        project_id: Ref[Project] | None = Field(None)

    return Schema(Project, Task)


def pushed(database: Database, *, rows: int = 3) -> None:
    push(database.dsn, one())
    database.execute(
        "INSERT INTO tasks (organization_id, id, title, status, estimate)"
        " SELECT 'acme', 't' || n, 'Task ' || n, 'done', n FROM generate_series(1, %s) AS n",
        [rows],
    )


def rows(database: Database, columns: str) -> list[tuple[Any, ...]]:
    return database.execute(f"SELECT {columns} FROM tasks ORDER BY id")


def failure(call: Callable[[], object]) -> PgsyncError:
    with pytest.raises(PgsyncError) as caught:
        call()
    return caught.value


def test_first_push_installs_makes_tables_and_activates(database: Database) -> None:
    result = push(database.dsn, one())
    assert result.changed
    assert (result.version, result.hash) == (1, one().hash)
    assert database.execute("SELECT pgsync.schema_v1() ->> 'hash'") == [(one().hash,)]
    assert database.execute("SELECT tablename FROM pg_publication_tables WHERE pubname = 'pgsync'") == [("tasks",)]


def test_second_push_of_a_schema_does_nothing(database: Database) -> None:
    pushed(database)
    before = dump(database)
    result = push(database.dsn, one())
    assert not result.changed
    assert (result.version, result.hash) == (1, one().hash)
    assert dump(database) == before
    assert "nothing to do" in str(push(database.dsn, one(), dry_run=True))


def test_install_is_repeatable(database: Database) -> None:
    install(database.dsn)
    before = dump(database)
    install(database.dsn)
    assert dump(database) == before


def test_additive_push_changes_a_table_with_rows(database: Database) -> None:
    pushed(database)
    result = push(database.dsn, two())
    assert result.version == 2
    assert rows(database, "id, status, estimate, priority, level, note, project_id") == [
        (f"t{n}", "done", n, 3, "low", None, None) for n in (1, 2, 3)
    ]
    database.execute("UPDATE tasks SET status = 'doing', estimate = NULL WHERE id = 't1'")
    for wrong in ("status = 'never'", "level = 'middle'", "project_id = 'nowhere'", "title = NULL"):
        with pytest.raises(psycopg.errors.IntegrityError):
            database.execute(f"UPDATE tasks SET {wrong}")
    assert database.execute("SELECT count(*) FROM pg_constraint WHERE NOT convalidated") == [(0,)]
    assert not push(database.dsn, two()).changed


def test_additive_push_makes_the_schema_that_a_first_push_makes(database: Database, fresh: Database) -> None:
    pushed(database, rows=0)
    push(database.dsn, two())
    push(fresh.dsn, two())
    columns = (
        "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,"
        " pg_get_expr(d.adbin, d.adrelid)"
        " FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid"
        " LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum"
        " WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0 ORDER BY 1, 2"
    )
    others = (
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace AND contype <> 'n' ORDER BY 1",
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
        "SELECT tablename, policyname, permissive, roles, cmd, qual, with_check FROM pg_policies ORDER BY 1, 2",
        "SELECT pg_get_triggerdef(oid), tgenabled FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1",
        "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'pgsync_generated'::regnamespace ORDER BY 1",
    )
    for query in (columns, *others):
        assert database.execute(query) == fresh.execute(query)


@pytest.fixture
def fresh(server: Any) -> Any:
    """A second empty database."""
    created = server.create_database()
    try:
        yield created
    finally:
        created.drop()


@pytest.mark.parametrize("migrate", [False, True])
def test_dry_run_prints_what_a_push_runs(database: Database, fresh: Database, migrate: bool) -> None:
    empty = dump(fresh)
    if not migrate:
        for each in (database, fresh):
            push(each.dsn, one())
            each.execute("INSERT INTO tasks (organization_id, id, title, estimate) VALUES ('acme', 't1', 'x', 1)")
        empty = dump(fresh)
    schema = one() if migrate else two()
    printed = str(push(fresh.dsn, schema, dry_run=True))
    assert dump(fresh) == empty, "a dry run changed something"
    assert printed.startswith("-- pgsync push")
    assert "SET LOCAL lock_timeout" in printed
    psql(fresh, printed)
    push(database.dsn, schema)
    options = [*NOT_OF_THE_SCHEMA, "--exclude-table-data=pgsync_private.change*", "--exclude-table-data=public.*"]
    assert dump(fresh, *options) == dump(database, *options)
    state = "SELECT version, state, hash, definition_hash, document, models FROM pgsync_private.schema_version"
    assert fresh.execute(state) == database.execute(state)
    assert not push(fresh.dsn, schema).changed


def test_removed_field_and_model_are_refused_by_name(database: Database) -> None:
    push(database.dsn, two())
    before = dump(database)
    error = failure(lambda: push(database.dsn, one()))
    assert error.code == "incompatible_change"
    losses = "\n".join(error.details["unexecutable"])
    for lost in ("projects", "priority", "level", "note", "'doing'", "tasks.estimate becomes required"):
        assert lost in losses
    assert dump(database) == before


def test_forced_removal_keeps_tables_columns_and_rows(database: Database) -> None:
    push(database.dsn, two())
    database.execute(
        "INSERT INTO projects (organization_id, id, name) VALUES ('acme', 'p1', 'P');"
        "INSERT INTO tasks (organization_id, id, title, priority, project_id, note)"
        " VALUES ('acme', 't1', 'x', 9, 'p1', 'n')"
    )
    push(database.dsn, one(), force=True)
    assert rows(database, "id, priority, project_id, note") == [("t1", 9, "p1", "n")]
    assert database.execute("SELECT id, name FROM projects") == [("p1", "P")]
    assert database.execute("SELECT relrowsecurity, relreplident FROM pg_class WHERE relname = 'projects'") == [
        (False, "d")
    ]
    assert database.execute("SELECT count(*) FROM pg_policy WHERE polrelid = 'projects'::regclass") == [(0,)]
    assert database.execute("SELECT proname FROM pg_proc WHERE proname ~ '^project_'") == []
    assert database.execute("SELECT tablename FROM pg_publication_tables WHERE pubname = 'pgsync'") == [("tasks",)]


def test_field_that_rows_cannot_have_is_refused_and_leaves_everything(database: Database) -> None:
    class Task(Model):
        title: str
        status: Literal["todo", "done"] = "todo"
        estimate: int
        due: str

    pushed(database)
    before = dump(database)
    error = failure(lambda: push(database.dsn, Schema(Task)))
    assert error.code == "incompatible_change"
    assert "due" in error.message
    assert "default" in error.message
    assert dump(database) == before


def test_enum_value_that_rows_have_is_not_taken_away_even_by_force(database: Database) -> None:
    class Task(Model):
        title: str
        status: Literal["todo"] = "todo"
        estimate: int

    pushed(database)
    before = dump(database)
    error = failure(lambda: push(database.dsn, Schema(Task), force=True))
    assert error.code == "incompatible_change"
    assert dump(database) == before


def test_enum_can_become_free_text(database: Database) -> None:
    class Task(Model):
        title: str
        status: str = "todo"
        estimate: int

    pushed(database)
    push(database.dsn, Schema(Task))
    database.execute("UPDATE tasks SET status = 'anything'")


def test_push_that_fails_half_way_leaves_everything_as_it_was(database: Database) -> None:
    pushed(database)
    database.execute("CREATE INDEX projects ON tasks (title)")  # in the way of a table of that name
    before = dump(database)
    error = failure(lambda: push(database.dsn, two()))
    assert error.code == "migration_failed"
    assert dump(database) == before


def test_two_pushes_at_once_come_one_after_the_other(database: Database) -> None:
    results: list[PushResult | Exception] = []

    def run() -> None:
        try:
            results.append(push(database.dsn, one(), limits=Limits(patience_seconds=WAIT_SECONDS)))
        except Exception as error:  # noqa: BLE001  the test looks at it
            results.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_SECONDS)
    assert all(isinstance(result, PushResult) for result in results), results
    assert sorted(result.changed for result in results if isinstance(result, PushResult)) == [False] * 3 + [True]
    assert database.execute("SELECT count(*) FROM pgsync_private.schema_version") == [(1,)]


def test_push_waits_for_another_push_only_so_long(database: Database) -> None:
    install(database.dsn)
    with database.connect(autocommit=False) as other:
        other.execute("SELECT pg_advisory_xact_lock(hashtextextended('pgsync push', 0))")
        error = failure(lambda: push(database.dsn, one(), limits=IMPATIENT))
    assert error.code == "migration_failed"
    assert "another push" in error.message


def test_push_waits_for_a_writer_only_so_long_and_says_where(database: Database) -> None:
    pushed(database)
    before = dump(database, "--schema-only")
    with database.connect(autocommit=False) as writer:
        writer.execute("UPDATE tasks SET title = 'held'")
        error = failure(lambda: push(database.dsn, two(), limits=IMPATIENT))
        assert error.code == "migration_failed"
        assert "tasks" in error.message
        assert "lock" in error.message
        writer.rollback()
    assert dump(database, "--schema-only") == before
    assert push(database.dsn, two()).version == 2


def test_push_over_a_table_that_does_not_fit_says_everything_at_once(database: Database) -> None:
    database.execute("CREATE TABLE tasks (id integer PRIMARY KEY, title text, status text)")
    error = failure(lambda: push(database.dsn, one()))
    assert isinstance(error, PushError)
    assert error.code == "model_not_provisioned"
    problems = "\n".join(error.details["problems"])
    for missing in ("organization_id", "estimate", "column id is integer", "created_at"):
        assert missing in problems


def test_push_works_for_an_owner_of_the_database_who_is_no_superuser() -> None:
    """On a server of its own, where the roles are not there yet: making them is a part of it."""
    with run_server("embedded16") as own:
        database = own.create_database()
        database.execute(f"CREATE ROLE dba LOGIN CREATEROLE REPLICATION; ALTER DATABASE {database.name} OWNER TO dba")
        assert push(database.dsn_as("dba"), one()).version == 1
        assert push(database.dsn_as("dba"), two()).version == 2
        assert not push(database.dsn_as("dba"), two()).changed
        assert database.execute("SELECT rolreplication FROM pg_roles WHERE rolname = 'pgsync_listener'") == [(True,)]
        owners = "SELECT DISTINCT proowner::regrole::text FROM pg_proc WHERE pronamespace = 'pgsync'::regnamespace"
        assert sorted(database.execute(owners)) == [("pgsync_owner",), ("pgsync_writer",)]
        with database.connect("dba") as dba:
            dba.execute(sqlfiles.read("uninstall.sql").encode())
        assert "pgsync" not in dump(database)


def test_runtime_of_an_older_pgsync_is_brought_up_to_date_without_a_new_version(database: Database) -> None:
    """Its state changes in a transaction of its own, before anything waits for tables."""
    pushed(database)
    database.execute(
        "DELETE FROM pgsync_private.migration WHERE name = '0004_replica_identity';"
        "DROP TABLE pgsync_private.replica_identity_before;"
        "UPDATE pgsync_private.installed_object SET hash = 'older' WHERE identity = 'pgsync/epoch_v1.sql'"
    )
    result = push(database.dsn, one())
    assert result.version == 1
    assert [(step.stage.value, step.title) for step in result.plan.steps] == [
        ("runtime", "migration 0004_replica_identity"),
        ("runtime", "function pgsync/epoch_v1.sql"),
        ("transaction", "activate this version"),
    ]
    assert not push(database.dsn, one()).changed
    assert rows(database, "count(*) OVER ()")[0] == (3,)
