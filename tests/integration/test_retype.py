"""A column of a table with rows gets another type, while the version before is used as ever."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any, Literal

import pytest

from pgsync.errors import PgsyncError
from pgsync.push import PushError, Rename, Wishes, parse_backfill, push
from pgsync.push.plan import Plan
from pgsync.push.retype import Way, way_of
from pgsync.push.step import Stage
from pgsync.schema import Field, Schema, bigint
from tests.integration.changes import REQUIRED, ROWS, declare
from tests.postgres import Database, Server
from tests.sql.dump import dump, psql
from tests.sql.test_uninstall import uninstall

VALUES = {
    "smallint": ["-32768", "7"],
    "integer": ["-2147483648", "7"],
    "bigint": ["-9223372036854775808", "7"],
    "numeric": ["1234567890.123456789", "-7"],
    "numeric(12,2)": ["1234567890.12", "7"],
    "numeric(14,2)": ["123456789012.12", "7"],
    "numeric(14,4)": ["1234567890.1234", "7"],
    "real": ["0.1", "3.4e38"],
    "double precision": ["0.1", "1e-300"],
    "character varying(4)": ["äöü", "x"],
    "character varying(8)": ["12345678", "x"],
    "character varying": ["1234", "x' y"],
    "character(3)": ["ab", "abc"],
    "text": ["1234", "x' y"],
    "boolean": ["true", "false"],
    "date": ["2026-01-31", "infinity"],
    "timestamp without time zone": ["2026-01-31 12:00:00.123456"],
    "timestamp(3) without time zone": ["2026-01-31 12:00:00.123"],
    "timestamp with time zone": ["2026-01-31 12:00:00.123456+00"],
    "timestamp(3) with time zone": ["2026-01-31 12:00:00.123+00"],
    "uuid": ["123e4567-e89b-12d3-a456-426614174000"],
    "inet": ["10.0.0.1/8"],
    "cidr": ["10.0.0.0/8"],
    "json": ['{"a": 1, "a": 2}'],
    "jsonb": ['{"a": 2}'],
    "integer[]": ["{1,NULL,3}"],
    "bigint[]": ["{1,NULL,3}"],
    "text[]": ['{a,NULL,"b c"}'],
    "character varying(8)[]": ["{a,b}"],
}
NARROW = declare(title=(str, Field(index=True)))


@pytest.fixture(scope="module")
def template(server: Server) -> Iterator[Database]:
    prepared = server.create_database()
    push(prepared.dsn, NARROW)
    prepared.execute(ROWS.format(count=300))
    yield prepared
    prepared.drop()


@pytest.fixture
def filled(server: Server, template: Database) -> Iterator[Database]:
    copied = server.create_database(template=template.name)
    try:
        yield copied
    finally:
        copied.drop()


def wider() -> Schema:
    return declare(title=(str, Field(index=True)), estimate=(bigint, REQUIRED))


def until_the_transaction(plan: Plan) -> str:
    """What a push runs that is cut off before its transaction."""
    return "".join(f"{step.sql}\n" for step in plan.of(Stage.BEFORE))


def planned(database: Database, schema: Schema, wishes: Wishes) -> Plan:
    return push(database.dsn, schema, wishes=wishes, dry_run=True).plan


def test_what_is_said_of_two_types_is_true_of_postgres(database: Database) -> None:
    """Where the catalog alone is said to change nothing is written anew; where values are said to be exact they are."""
    counts = dict.fromkeys(Way, 0)
    with database.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for before, now in itertools.permutations(VALUES, 2):
            way = way_of(before, now)
            counts[way] += 1
            if way is Way.LOSSY:
                continue
            index = "" if "json" in before or "json" in now else "CREATE INDEX i ON t (c);"
            connection.execute(f"CREATE TABLE t (c {before}); {index}".encode())
            for value in VALUES[before]:
                connection.execute(f"INSERT INTO t VALUES ('{value.replace(chr(39), chr(39) * 2)}')".encode())
            files = "SELECT array_agg(pg_relation_filenode(oid) ORDER BY oid) FROM pg_class WHERE relname IN ('t', 'i')"
            count = "SELECT count(DISTINCT c::text), array_agg(c::text ORDER BY ctid) FROM t"
            there, rows = connection.execute(files).fetchone(), connection.execute(count).fetchone()
            connection.execute(f"ALTER TABLE t ALTER COLUMN c TYPE {now} USING c::{now}".encode())
            if way is Way.RELABEL:
                assert connection.execute(files).fetchone() == there, f"{before} to {now}"
                assert connection.execute(count).fetchone() == rows
            else:
                connection.execute(f"ALTER TABLE t ALTER COLUMN c TYPE {before} USING c::{before}".encode())
                assert connection.execute(count).fetchone() == rows, f"{before} to {now}"
            connection.execute("DROP TABLE t")
    assert counts[Way.RELABEL] >= 8
    assert counts[Way.EXACT] >= 25


def test_catalog_change_reads_and_writes_no_row(filled: Database) -> None:
    limited = declare(title=(str, Field(index=True, sql="character varying(40)")))
    assert push(filled.dsn, limited, wishes=Wishes(allow=frozenset({"task.title"}))).version == 2
    plan = planned(filled, NARROW, Wishes())
    assert plan.of(Stage.BEFORE) == ()
    with filled.connect() as connection:
        said: list[str] = []
        connection.add_notice_handler(lambda notice: said.append(str(notice.message_primary)))
        connection.execute("SET client_min_messages = debug1")
        for step in plan.of(Stage.TRANSACTION):
            if "ALTER COLUMN" in step.sql:
                connection.execute(step.sql.encode())
    assert not [each for each in said if "rewriting" in each or "verifying" in each or "building" in each]


def test_application_writes_as_ever_while_values_are_copied_and_both_columns_stay_equal(filled: Database) -> None:
    psql(filled, until_the_transaction(planned(filled, wider(), Wishes())))
    assert filled.execute("SELECT count(*) FROM tasks WHERE estimate_retyped IS DISTINCT FROM estimate") == [(0,)]
    filled.execute(
        "UPDATE tasks SET estimate = estimate + 1;"
        "INSERT INTO tasks (organization_id, id, title, estimate) VALUES ('acme', 'new', 'x', 2147483647);"
        "SET session_replication_role = replica; UPDATE tasks SET estimate = 5 WHERE id = 't5'"
    )
    assert filled.execute("SELECT count(*) FROM tasks WHERE estimate_retyped IS DISTINCT FROM estimate") == [(0,)]
    assert not push(filled.dsn, NARROW, migrate=False).changed, "the version before is active as it was"
    before = filled.execute("SELECT id, estimate FROM tasks ORDER BY id")
    assert push(filled.dsn, wider()).version == 2
    assert filled.execute("SELECT id, estimate FROM tasks ORDER BY id") == before


def test_change_that_is_given_up_leaves_nothing(filled: Database) -> None:
    before = dump(filled, "--schema-only")
    psql(filled, until_the_transaction(planned(filled, wider(), Wishes())))
    result = push(filled.dsn, NARROW)
    assert [step.title for step in result.plan.steps] == [
        "note the tables as they are",
        "wait for the tables",
        "tasks: give up the change of type of estimate_retyped",
        "activate this version",
    ]
    assert result.version == 1
    assert dump(filled, "--schema-only") == before


def test_change_that_is_under_way_goes_with_pgsync(filled: Database) -> None:
    psql(filled, until_the_transaction(planned(filled, wider(), Wishes())))
    uninstall(filled)
    assert "retype" not in dump(filled)
    filled.execute("UPDATE tasks SET estimate = 1")


def test_value_that_the_new_type_does_not_take_stops_the_push_and_never_a_writer(filled: Database) -> None:
    """From PostgreSQL 16 on before anything is done, as far as the rows of that moment go."""
    numbers = declare(title=(int, REQUIRED))
    wishes = Wishes(allow=frozenset({"task.title"}))
    with pytest.raises(PgsyncError, match="a value that is no integer") as refused:
        push(filled.dsn, numbers, wishes=wishes)
    assert refused.value.code == "incompatible_change"
    assert "--backfill" in str(refused.value.details)
    filled.execute("UPDATE tasks SET title = estimate::text")
    begun = until_the_transaction(planned(filled, numbers, wishes))
    psql(filled, begun)
    filled.execute("UPDATE tasks SET title = 'no number' WHERE id = 't7'")
    with pytest.raises(AssertionError, match="1 rows have a value that is no integer, among them t7"):
        psql(filled, "".join(each for each in begun.partition("-- Whether every value")[1:]))
    assert filled.execute("SELECT version FROM pgsync_private.schema_version WHERE state = 'active'") == [(1,)]
    with_value = Wishes(allow=wishes.allow, backfills=(parse_backfill("task.title=0"),))
    assert push(filled.dsn, numbers, wishes=with_value).version == 2
    assert filled.execute("SELECT title, title_before FROM tasks WHERE id IN ('t7', 't8') ORDER BY id") == [
        (0, "no number"),
        (8, "8"),
    ]
    filled.execute("INSERT INTO tasks (organization_id, id, title, estimate) VALUES ('acme', 'new', 1, 1)")
    assert not push(filled.dsn, numbers).changed


def test_row_that_came_at_the_last_moment_is_found_under_the_lock(filled: Database) -> None:
    numbers = declare(title=(int, REQUIRED))
    filled.execute("UPDATE tasks SET title = estimate::text")
    plan = planned(filled, numbers, Wishes(allow=frozenset({"task.title"})))
    psql(filled, until_the_transaction(plan))
    filled.execute("UPDATE tasks SET title = 'no number' WHERE id = 't7'")
    (swap,) = [step for step in plan.of(Stage.TRANSACTION) if "becomes integer" in step.title]
    with pytest.raises(Exception, match="a row has got a value of title meanwhile"), filled.connect() as connection:
        connection.execute(swap.sql.encode())


OTHERS = {
    "a view": ("CREATE VIEW v AS SELECT estimate FROM tasks", "rule _RETURN on view public.v"),
    "a generated column": (
        "ALTER TABLE tasks ADD COLUMN twice integer GENERATED ALWAYS AS (estimate * 2) STORED",
        "column twice of table public.tasks",
    ),
    "an index": ("CREATE INDEX mine ON tasks (estimate)", "index public.mine"),
    "a check": (
        "ALTER TABLE tasks ADD CONSTRAINT positive CHECK (estimate > -1)",
        "constraint positive on table public.tasks",
    ),
    "a right": ("GRANT SELECT (estimate) ON tasks TO PUBLIC", "rights on the column"),
    "a trigger that fires later": (
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
        "CREATE TRIGGER zzz BEFORE UPDATE ON tasks FOR EACH ROW EXECUTE FUNCTION f()",
        "trigger zzz",
    ),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_others_have_made_of_the_column_refuses_the_change_by_name(filled: Database, kind: str) -> None:
    statement, named = OTHERS[kind]
    filled.execute(statement)
    before = dump(filled)
    with pytest.raises(PushError) as refused:
        push(filled.dsn, wider())
    (said,) = refused.value.details["unexecutable"]
    assert named in said
    assert "ALTER TABLE public.tasks ALTER COLUMN estimate TYPE bigint USING estimate::bigint" in said
    assert dump(filled) == before


def test_change_that_cannot_be_safe_is_refused_with_the_reason(filled: Database) -> None:
    refusals: dict[str, Any] = {
        "Postgres knows no way": declare(estimate=(date, REQUIRED)),
        "becomes required": declare(note=(int, REQUIRED)),
        "they tell rows apart": declare(title=(int, Field(unique=True))),
    }
    filled.execute("UPDATE tasks SET note = NULL")
    for reason, schema in refusals.items():
        with pytest.raises(PushError) as refused:
            push(filled.dsn, schema, wishes=Wishes(force=True))
        assert reason in str(refused.value.details["unexecutable"])


def renamed(name: str, before: str, annotation: Any, default: Any = REQUIRED) -> Schema:
    fields: dict[str, Any] = {"title": (str, Field(index=True)), name: (annotation, default)}
    return declare(without=(before,), **fields)


RENAMED: dict[str, tuple[Schema, Schema, Schema, Wishes]] = {
    # The schema of before, with the name alone, with the name and the type, and what has to be said.
    "values that say the same": (
        NARROW,
        renamed("effort", "estimate", int),
        renamed("effort", "estimate", bigint),
        Wishes(renames=(Rename("task", "estimate", "effort"),), allow=frozenset({"task.effort", "task.estimate"})),
    ),
    "values that may lose something, with an index": (
        declare(title=(str, Field(index=True)), note=(str | None, Field(None, index=True))),
        renamed("remark", "note", str | None, Field(None, index=True)),
        renamed("remark", "note", str | None, Field(None, index=True, sql="character varying(2)")),
        Wishes(
            renames=(Rename("task", "note", "remark"),),
            allow=frozenset({"task.note", "task.remark"}),
            backfills=(parse_backfill("task.remark=?"),),
        ),
    ),
    "the catalog alone, with values": (
        NARROW,
        renamed("state", "status", Literal["todo", "doing", "done"], "todo"),
        renamed("state", "status", Literal["todo", "doing", "done"], Field("todo", sql="character varying")),
        Wishes(renames=(Rename("task", "status", "state"),), allow=frozenset({"task.status", "task.state"})),
    ),
}


@pytest.mark.parametrize("kind", RENAMED)
def test_column_that_gets_another_name_and_type_ends_as_after_two_pushes(
    server: Server, filled: Database, kind: str
) -> None:
    before, name, both, wishes = RENAMED[kind]
    push(filled.dsn, before)
    other = server.create_database(template=filled.name)
    try:
        push(other.dsn, name, wishes=wishes)
        push(other.dsn, both, wishes=replace(wishes, renames=()))
        psql(filled, until_the_transaction(planned(filled, both, wishes)))
        filled.execute("UPDATE tasks SET estimate = estimate, note = note, status = status WHERE id = 't7'")
        assert not push(filled.dsn, before, migrate=False).changed, "the version before is active as it was"
        assert push(filled.dsn, both, wishes=wishes).changed
        assert described(filled) == described(other)
        rows = "SELECT to_jsonb(t) - 'updated_at' FROM tasks AS t ORDER BY id"
        assert filled.execute(rows) == other.execute(rows)
        assert not push(filled.dsn, both).changed
    finally:
        other.drop()


@pytest.mark.parametrize("sql", ["text", "character varying", "character varying(9)", "character(5)"])
def test_values_of_a_column_of_any_text_type_are_known_again(database: Database, sql: str) -> None:
    """What a push made of an enum field is what the next one finds."""

    def with_values(*values: str) -> Schema:
        kinds = Literal[values]  # type: ignore[valid-type]
        return declare(mood=(kinds, Field(values[0], sql=sql)), one=(Literal["x'"], Field("x'", sql=sql)))

    push(database.dsn, with_values("a'b", "c\\d"))
    assert not push(database.dsn, with_values("a'b", "c\\d")).changed
    database.execute("INSERT INTO tasks (organization_id, id, title, estimate) VALUES ('acme', 't', 'x', 1)")
    assert push(database.dsn, with_values("a'b", "c\\d", "more")).changed
    assert not push(database.dsn, with_values("a'b", "c\\d", "more")).changed
    with pytest.raises(Exception, match="violates check constraint"):
        database.execute("UPDATE tasks SET mood = 'no'")


def test_change_of_name_and_type_that_is_given_up_leaves_nothing(filled: Database) -> None:
    _, _, both, wishes = RENAMED["values that say the same"]
    before = dump(filled, "--schema-only")
    psql(filled, until_the_transaction(planned(filled, both, wishes)))
    push(filled.dsn, NARROW)
    assert dump(filled, "--schema-only") == before


def described(database: Database) -> list[tuple[Any, ...]]:
    """The columns, constraints and indexes of the table, without the order of columns."""
    return database.execute(
        "SELECT 'column', a.attname, format_type(a.atttypid, a.atttypmod) || a.attnotnull || coalesce("
        " col_description(a.attrelid, a.attnum), '') || coalesce(pg_get_expr(d.adbin, d.adrelid), '')"
        " FROM pg_attribute AS a LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum"
        " WHERE a.attrelid = 'tasks'::regclass AND a.attnum > 0 AND NOT a.attisdropped"
        " UNION ALL SELECT 'constraint', conname, pg_get_constraintdef(oid) || coalesce(obj_description(oid), '')"
        " FROM pg_constraint WHERE conrelid = 'tasks'::regclass"
        " UNION ALL SELECT 'index', indexrelid::regclass::text, pg_get_indexdef(indexrelid)"
        " || coalesce(obj_description(indexrelid), '') FROM pg_index WHERE indrelid = 'tasks'::regclass"
        " UNION ALL SELECT 'trigger', tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'tasks'::regclass"
        " ORDER BY 1, 2"
    )
