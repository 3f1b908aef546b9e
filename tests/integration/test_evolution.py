"""Every kind of change of a schema, on an empty table and on one with rows; a busy one is in test_busy_tables.py."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator

import pytest

from pgsync import names
from pgsync.errors import PgsyncError
from pgsync.push import Limits, PushError, Wishes, migrate, parse_backfill, parse_rename, push
from pgsync.push.plan import Plan
from pgsync.push.step import ACCESS_SHARE, ROW_EXCLUSIVE, SHARE_UPDATE_EXCLUSIVE, Stage
from pgsync.schema import Model, Schema
from tests.integration.changes import CHANGES, ROWS, Change, declare
from tests.postgres import Database, Server
from tests.sql.dump import dump, psql

ROWS_COUNT = 300
LIMIT_SECONDS = 30.0
IN_PUBLIC = (
    "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,"
    " pg_get_expr(d.adbin, d.adrelid)"
    " FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid AND c.relkind = 'r'"
    " LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum"
    " WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped ORDER BY 1, 2",
    "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), convalidated FROM pg_constraint"
    " WHERE connamespace = 'public'::regnamespace AND contype <> 'n' ORDER BY 1, 2",
    "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid), indisvalid FROM pg_index"
    " WHERE indrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace) ORDER BY 1",
    "SELECT tablename, policyname, permissive, roles::text, cmd, qual, with_check FROM pg_policies ORDER BY 1, 2",
    "SELECT pg_get_triggerdef(oid), tgenabled FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1",
    "SELECT relname, relreplident, relrowsecurity FROM pg_class"
    " WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 1",
    "SELECT tablename FROM pg_publication_tables WHERE pubname = 'pgsync' ORDER BY 1",
    "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'pgsync_generated'::regnamespace ORDER BY 1",
)


@pytest.fixture(scope="module")
def template(server: Server) -> Iterator[Database]:
    """A database with the schema of before, to copy."""
    prepared = server.create_database()
    push(prepared.dsn, declare())
    yield prepared
    prepared.drop()


@pytest.fixture
def pushed(server: Server, template: Database) -> Iterator[Database]:
    copied = server.create_database(template=template.name)
    try:
        yield copied
    finally:
        copied.drop()


@pytest.fixture
def fresh(server: Server) -> Iterator[Database]:
    created = server.create_database()
    try:
        yield created
    finally:
        created.drop()


def state(database: Database, change: Change | None = None) -> list[object]:
    """What the catalog says, without what a change leaves behind on purpose."""
    where = "" if change is None or not change.leaves else change.leaves
    return [database.execute(query) for query in IN_PUBLIC if not (where and query.startswith(where))]


def fill(database: Database, count: int = ROWS_COUNT) -> None:
    database.execute(ROWS.format(count=count))


def refused(database: Database, schema: Schema, wishes: Wishes | None = None) -> PgsyncError:
    before = dump(database)
    with pytest.raises(PgsyncError) as caught:
        push(database.dsn, schema, wishes=wishes or Wishes())
    assert dump(database) == before, "a refused push changed something"
    return caught.value


SELDOM = {
    "model added",
    "field added",
    "field with a default added",
    "enum becomes text",
    "text becomes an enum",
    "unique index",
    "group",
    "enforced claims",
    "field becomes optional",
    "model becomes read-only",
}
"""Kinds that are tried with --all-changes only: another kind, or another test, comes the same way."""


ON_EMPTY = ("another type",)
"""Kinds that go another way while the table is empty."""


def cells(config: pytest.Config) -> list[tuple[str, int]]:
    """With rows, and without where that makes a difference; all with --all-changes."""
    if config.getoption("--all-changes"):
        return [(name, n) for name in CHANGES for n in (0, ROWS_COUNT)]
    return [(n, ROWS_COUNT) for n in CHANGES if n not in SELDOM] + [(n, 0) for n in ON_EMPTY]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "cell" in metafunc.fixturenames:
        metafunc.parametrize("cell", cells(metafunc.config), ids=str)
    if "by_hand" in metafunc.fixturenames:
        metafunc.parametrize("by_hand", CHANGES if metafunc.config.getoption("--all-changes") else BY_HAND)


def test_change_ends_where_a_first_push_ends(pushed: Database, fresh: Database, cell: tuple[str, int]) -> None:
    name, rows = cell
    change = CHANGES[name]
    first = 1
    if change.before is not None:
        first = push(pushed.dsn, change.before(), force=True).version
    fill(pushed, rows)
    if change.wishes != Wishes():
        error = refused(pushed, change.after())
        assert error.code == "incompatible_change"
        for model, *field in (subject.split(".") for subject in change.wishes.allow):
            assert f"--allow {'.'.join([model.removesuffix('s') + 's', *field])}" in str(error.details["unexecutable"])
    kept = pushed.execute(change.kept.format(table="tasks"))
    result = push(pushed.dsn, change.after(), wishes=change.wishes)
    assert result.version == first + 1
    assert pushed.execute(change.kept.format(table=change.table)) == kept
    assert not push(pushed.dsn, change.after(), wishes=change.wishes).changed, "the same words a second time"
    says_what_it_does(result.plan)
    push(fresh.dsn, change.after())
    assert state(pushed, change) == state(fresh, change)


def says_what_it_does(plan: Plan) -> None:
    """Every step has what a reviewer wants to know, and none reads a table that it keeps from others."""
    described = json.loads(plan.to_json())
    assert described["inSync"] is False
    assert [step["title"] for step in described["steps"]] == [step.title for step in plan.steps]
    for step in plan.steps:
        assert bool(step.lock) == bool(step.tables), step.title
        if step.reads:
            assert step.stage in (Stage.BEFORE, Stage.AFTER), step.title
            assert step.lock in (ACCESS_SHARE, ROW_EXCLUSIVE, SHARE_UPDATE_EXCLUSIVE), step.title
        if step.stage is Stage.TRANSACTION:
            assert step.undo, step.title


BY_HAND = (
    "field renamed",
    "field becomes required",
    "value removed from an enum",
    "index and reference leave",
    "type that rounds",
    "model renamed",
)
"""Kinds whose printed script is run by default; all with --all-changes."""


def test_printed_script_does_what_the_push_does(
    pushed: Database, template: Database, server: Server, by_hand: str
) -> None:
    """Applied with psql it leaves the same catalog, by dump, and the same rows."""
    change = CHANGES[by_hand]
    other = server.create_database(template=template.name)
    try:
        for each in (pushed, other):
            if change.before is not None:
                push(each.dsn, change.before(), force=True)
            fill(each)
        printed = push(other.dsn, change.after(), wishes=change.wishes, dry_run=True)
        psql(other, str(printed))
        push(pushed.dsn, change.after(), wishes=change.wishes)
        catalog = ("--exclude-table-data=pgsync_private.*", "--exclude-table-data=public.*")
        assert dump(other, *catalog) == dump(pushed, *catalog)
        objects = "SELECT model, kind, identity, hash, state FROM pgsync_private.installed_object ORDER BY 2, 3"
        assert other.execute(objects) == pushed.execute(objects)
        rows = f"SELECT pg_catalog.to_jsonb(t) - 'created_at' - 'updated_at' FROM {change.table} AS t ORDER BY id"
        assert other.execute(rows) == pushed.execute(rows)
        assert not push(other.dsn, change.after()).changed
    finally:
        other.drop()


def test_migrate_makes_and_alters_tables_and_nothing_else(database: Database) -> None:
    database.execute("CREATE TABLE bystander (id int); CREATE TABLE projects_backup (LIKE bystander)")
    assert migrate(database.dsn, declare(), dry_run=True).changed
    result = migrate(database.dsn, declare())
    assert "migrated the tables of 2 models" in str(result)
    assert database.execute("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'pgsync%'") == [(0,)]
    assert not migrate(database.dsn, declare()).changed
    assert push(database.dsn, declare(), migrate=False).version == 1
    fill(database)
    changed = CHANGES["reference"].after()
    with pytest.raises(PushError) as behind:
        push(database.dsn, changed, migrate=False)
    assert behind.value.code == "model_not_provisioned"
    assert "pgsync migrate" in behind.value.details["hint"]
    push(database.dsn, changed)


def test_indexes_and_references_that_pgsync_did_not_make_stay(pushed: Database) -> None:
    fill(pushed)
    pushed.execute(
        "CREATE INDEX tasks_organization_id_title_idx ON tasks (organization_id, title);"
        "ALTER TABLE tasks ADD CONSTRAINT tasks_project_id_fkey FOREIGN KEY (organization_id, project_id)"
        " REFERENCES projects (organization_id, id)"
    )
    push(pushed.dsn, CHANGES["index and reference leave"].before())  # type: ignore[misc]
    made = CHANGES["unique index"].after()
    push(pushed.dsn, made)
    pushed.execute(
        "CREATE TABLE scores (organization_id text, title text,"
        " FOREIGN KEY (organization_id, title) REFERENCES tasks (organization_id, title))"
    )
    before = state(pushed)[1:3]
    result = push(pushed.dsn, declare())
    assert not [step.title for step in result.plan.steps if "drop" in step.title and "task_" not in step.title]
    assert state(pushed)[1:3] == before


def test_push_without_migrate_leaves_indexes_behind_and_migrate_drops_them_beside_writers(pushed: Database) -> None:
    push(pushed.dsn, CHANGES["index"].after())
    fill(pushed)
    assert push(pushed.dsn, declare(), migrate=False).version == 3
    result = migrate(pushed.dsn, declare())
    assert [(step.title, step.lock, step.stage.value) for step in result.plan.steps] == [
        (
            "tasks: drop index tasks_organization_id_title_idx, which the schema no longer asks for",
            SHARE_UPDATE_EXCLUSIVE,
            "after",
        )
    ]
    psql(pushed, result.plan.steps[0].undo + ";")
    assert not migrate(pushed.dsn, declare()).changed, "the undo's index is somebody's own"


def test_migrate_leaves_tables_of_others_alone_and_says_what_they_lack(database: Database) -> None:
    database.execute(
        "CREATE TABLE tasks (organization_id text, id text, title text, created_at timestamptz,"
        " updated_at timestamptz, created_by text, PRIMARY KEY (organization_id, id))"
    )
    before = dump(database)
    with pytest.raises(PushError) as caught:
        migrate(database.dsn, declare())
    assert "ALTER TABLE public.tasks ADD COLUMN estimate integer" in "\n".join(caught.value.details["problems"])
    assert dump(database) == before


def test_migrate_refuses_what_has_to_come_with_the_version(pushed: Database) -> None:
    before = dump(pushed)
    change = CHANGES["field becomes required"]
    with pytest.raises(PushError, match="push --migrate"):
        migrate(pushed.dsn, change.after(), wishes=change.wishes)
    assert dump(pushed) == before


def test_interrupted_index_is_built_again(pushed: Database) -> None:
    fill(pushed)
    after = CHANGES["index"].after()
    push(pushed.dsn, after)
    pushed.execute(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'tasks_organization_id_title_idx'::regclass"
    )
    result = push(pushed.dsn, after)
    assert [step.title for step in result.plan.steps] == [
        "tasks: drop what an interrupted run left of index tasks_organization_id_title_idx",
        "tasks: index tasks_organization_id_title_idx",
        "tasks: index tasks_organization_id_title_idx is pgsync's",
    ]
    assert result.version == 2, "an index is no new version"
    assert pushed.execute("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == [(0,)]


def test_interrupted_tightening_is_taken_up_where_it_was_left(pushed: Database) -> None:
    fill(pushed)
    change = CHANGES["field becomes required"]
    plan = push(pushed.dsn, change.after(), wishes=change.wishes, dry_run=True).plan
    left = plan.of(Stage.AFTER)
    script = str(push(pushed.dsn, change.after(), wishes=change.wishes, dry_run=True))
    psql(pushed, script[: script.index("\n-- After the transaction")])
    assert not pushed.execute("SELECT attnotnull FROM pg_attribute WHERE attname = 'note'")[0][0]
    again = push(pushed.dsn, change.after(), wishes=Wishes()).plan
    assert {step.title for step in again.steps} <= {step.title for step in left}
    assert state(pushed)
    assert not push(pushed.dsn, change.after()).changed


def test_rows_that_do_not_fit_refuse_the_push_before_anything_happens(pushed: Database) -> None:
    fill(pushed)
    pushed.execute("UPDATE tasks SET title = 'same', project_id = 'gone' WHERE id IN ('t1', 't2')")
    unique = refused(pushed, CHANGES["unique index"].after())
    assert "title" in str(unique.details["unexecutable"])
    orphans = refused(pushed, CHANGES["reference"].after())
    assert "project_id" in str(orphans.details["unexecutable"])
    narrow = refused(pushed, CHANGES["value removed from an enum"].after(), Wishes(force=True))
    assert "--backfill tasks.status=VALUE" in str(narrow.details["unexecutable"])


def test_a_wish_that_names_nothing_is_refused(pushed: Database) -> None:
    for wishes in (
        Wishes(renames=(parse_rename("nothing.title:name"),)),
        Wishes(renames=(parse_rename("task.title:nothing"),)),
        Wishes(backfills=(parse_backfill("task.nothing=1"),)),
        Wishes(backfills=(parse_backfill("task.estimate=many"),)),
        Wishes(backfills=(parse_backfill("task.status=never"),)),
    ):
        error = refused(pushed, declare(), wishes)
        assert error.code == "incompatible_change"
        assert error.details["unexecutable"]


def test_a_reader_who_does_not_end_delays_the_push_and_nobody_else(pushed: Database) -> None:
    fill(pushed)
    before = dump(pushed, "--schema-only")
    limits = Limits(lock_timeout_seconds=0.1, patience_seconds=0.3)
    with pushed.connect(autocommit=False) as reader:
        reader.execute("SELECT count(*) FROM tasks")
        with pytest.raises(PgsyncError, match="tasks") as caught:
            push(pushed.dsn, CHANGES["read rule"].after(), limits=limits)
        assert caught.value.code == "migration_failed"
    assert dump(pushed, "--schema-only") == before
    assert push(pushed.dsn, CHANGES["read rule"].after(), limits=limits).version == 2


@pytest.mark.parametrize("where", ["backfill", "tables", "index"])
def test_push_that_is_cut_off_is_taken_up_by_the_next(pushed: Database, where: str) -> None:
    """Its connection is cut while it waits for somebody: the version before is active, or the new one, never half."""
    fill(pushed)
    name = {"backfill": "field becomes required", "tables": "field renamed", "index": "index"}[where]
    change = CHANGES[name]
    held = {
        "backfill": "SELECT FROM tasks WHERE id = 't1' FOR UPDATE",
        "tables": "SELECT FROM tasks",
        "index": "UPDATE tasks SET title = title WHERE id = 't1'",
    }[where]
    failed: list[BaseException] = []

    def run() -> None:
        try:
            push(pushed.dsn, change.after(), wishes=change.wishes)
        except Exception as error:  # noqa: BLE001  the test looks at it
            failed.append(error)

    with pushed.connect(autocommit=False) as other, pushed.connect() as watcher:
        other.execute(held.encode())
        thread = threading.Thread(target=run)
        thread.start()
        waiting = (
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'pgsync push'"
            " AND wait_event_type = 'Lock'"
        )
        deadline = time.monotonic() + LIMIT_SECONDS
        while not (found := watcher.execute(waiting).fetchall()):
            assert time.monotonic() < deadline
            assert thread.is_alive(), failed
        watcher.execute("SELECT pg_terminate_backend(%s)", found[0])
        thread.join(LIMIT_SECONDS)
        assert not thread.is_alive()
    assert len(failed) == 1
    version = pushed.execute("SELECT version FROM pgsync_private.schema_version WHERE state = 'active'")
    assert version == [(2 if where == "index" else 1,)]
    invalid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"
    assert pushed.execute(invalid) == [(1 if where == "index" else 0,)]
    assert push(pushed.dsn, change.after(), wishes=change.wishes).version == 2
    assert pushed.execute(invalid) == [(0,)]
    assert not push(pushed.dsn, change.after()).changed


def test_pushes_that_build_indexes_take_turns_without_a_deadlock(pushed: Database) -> None:
    fill(pushed)
    results: list[object] = []

    def run() -> None:
        try:
            results.append(push(pushed.dsn, CHANGES["index"].after()).version)
        except Exception as error:  # noqa: BLE001  the test looks at it
            results.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_SECONDS)
    assert results == [2, 2, 2]


def test_reference_into_a_table_of_others_names_their_key(database: Database) -> None:
    database.execute(
        "CREATE TABLE projects (id text PRIMARY KEY, organization_id text NOT NULL, name text NOT NULL,"
        " created_at timestamptz, updated_at timestamptz, created_by text)"
    )
    schema = CHANGES["reference"].after()
    push(database.dsn, schema)
    assert database.execute(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'tasks_project_id_fkey'"
    ) == [("FOREIGN KEY (project_id) REFERENCES projects(id) ON DELETE SET NULL",)]
    assert not push(database.dsn, schema).changed


class Letter(Model, tenant="sender", without=("createdAt", "updatedAt", "createdBy")):
    body: str = ""


class Received(
    Model, key="letters", typename="Letter", tenant="receiver", without=("createdAt", "updatedAt", "createdBy")
):
    body: str = ""


def test_another_column_of_the_organization_takes_a_word_and_shows_other_rows(database: Database) -> None:
    database.execute(
        "CREATE TABLE letters (id text PRIMARY KEY, sender text NOT NULL, receiver text NOT NULL, body text NOT NULL)"
    )
    push(database.dsn, Schema(Letter))
    database.execute("INSERT INTO letters VALUES ('1', 'a', 'b', 'x'), ('2', 'b', 'a', 'y')")
    error = refused(database, Schema(Received))
    assert "--allow letters" in str(error.details["unexecutable"])
    assert push(database.dsn, Schema(Received), wishes=Wishes(allow=frozenset({"letter"}))).version == 2
    with database.connect(names.GATEWAY) as gateway, gateway.transaction():
        identity = json.dumps(
            {"organizationId": "a", "participantKind": "user", "participantId": "ada", "syncGroups": ["org:a"]}
        )
        gateway.execute("SELECT pgsync.set_identity_v1(%s)", [identity])
        assert gateway.execute("SELECT id FROM letters").fetchall() == [("2",)]
    database.execute("UPDATE letters SET sender = 'c'")
