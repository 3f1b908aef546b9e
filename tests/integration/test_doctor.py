"""`pgsync doctor` finds what a test has broken, says so once, and is silent about what is in order."""

from __future__ import annotations

import json
from collections.abc import Iterator

import psycopg
import pytest
from click.testing import CliRunner

from examples.tasks.schema import schema
from pgsync import names, sqlfiles
from pgsync.cli.doctor import command
from pgsync.push import push
from pgsync.push.doctor import LEVELS, Finding, examine
from pgsync.schema import Field, Model, Ref, Schema
from tests import postgres


@pytest.fixture
def pushed(database: postgres.Database) -> postgres.Database:
    push(database.dsn, schema)
    return database


def found(database: postgres.Database, **given: str) -> set[tuple[str, str, str]]:
    """What doctor finds, without what the test server's own settings are worth."""
    settings = {"max_slot_wal_keep_size", "fsync"}
    return {(f.level, f.object, f.finding) for f in examine(database.dsn, **given) if f.object not in settings}


def test_fresh_push_has_nothing_wrong(pushed: postgres.Database) -> None:
    assert found(pushed, listener_url=pushed.dsn_as(names.LISTENER)) == set()


def test_database_without_pgsync_is_told_how_to_begin(database: postgres.Database) -> None:
    assert found(database) == {("error", database.name, "pgsync is not installed here")}


BROKEN = {
    "row security": (
        "ALTER TABLE tasks DISABLE ROW LEVEL SECURITY",
        {
            (
                "error",
                "public.tasks",
                "row security is off: whoever reads through a gateway sees every organization's rows",
            ),
            ("warning", "row security public.tasks", "is not as the last push left it"),
        },
    ),
    "policy": (
        "DROP POLICY pgsync_update ON tasks",
        {
            ("error", "public.tasks", "policy pgsync_update is gone"),
            ("warning", "row security public.tasks", "is not as the last push left it"),
        },
    ),
    "policy made wider": (
        "ALTER POLICY pgsync_select ON tasks USING (true)",
        {("warning", "row security public.tasks", "is not as the last push left it")},
    ),
    "trigger": (
        "ALTER TABLE tasks DISABLE TRIGGER pgsync_90_record",
        {
            ("error", "public.tasks", "trigger pgsync_90_record is disabled or does not always fire"),
            ("warning", "triggers public.tasks", "is not as the last push left it"),
        },
    ),
    "publication": (
        "ALTER PUBLICATION pgsync DROP TABLE tasks",
        {
            ("error", "public.tasks", "is not in the publication pgsync: nobody hears of its changes"),
            ("warning", "replication public.tasks", "is not as the last push left it"),
        },
    ),
    "foreign table in the publication": (
        "CREATE TABLE other (id int PRIMARY KEY); ALTER PUBLICATION pgsync ADD TABLE other",
        {
            (
                "notice",
                "public.other",
                "is in the publication pgsync and belongs to no model: its changes are sent to the gateways,"
                " which drop them",
            )
        },
    ),
    "publication's kinds": (
        "ALTER PUBLICATION pgsync SET (publish = 'insert')",
        {
            (
                "error",
                "publication pgsync",
                "does not pass on every kind of change, or not through the root of partitioned tables",
            )
        },
    ),
    "replica identity": (
        "ALTER TABLE tasks REPLICA IDENTITY NOTHING",
        {
            ("error", "public.tasks", "has no replica identity: updates and deletes of it fail"),
            ("warning", "replication public.tasks", "is not as the last push left it"),
        },
    ),
    "function": (
        "CREATE OR REPLACE FUNCTION pgsync_private.check_id(p_id text) RETURNS boolean"
        " LANGUAGE sql IMMUTABLE RETURN true",
        {("warning", "function pgsync_private.check_id", "is not as the last push left it")},
    ),
    "function's rights": (
        "GRANT EXECUTE ON FUNCTION pgsync.create_credential_v1(jsonb) TO PUBLIC",
        {("warning", "function pgsync.create_credential_v1", "is not as the last push left it")},
    ),
    "grant": (
        "GRANT UPDATE ON tasks TO pgsync_gateway",
        {("warning", "grants public.tasks", "is not as the last push left it")},
    ),
    "invalid index": (
        "CREATE INDEX odd ON tasks (title); UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'odd'::regclass",
        {("warning", "public.odd", "is invalid: an index build did not end")},
    ),
    "partitions": (
        "DO $$ DECLARE n text; BEGIN FOR n IN SELECT relname FROM pg_class WHERE relname ~ '^position_[0-9]{8}$' LOOP"
        " EXECUTE 'DROP TABLE pgsync_private.' || n; END LOOP; END $$",
        {
            (
                "warning",
                "pgsync_private.position",
                "has no partition for today: nothing has maintained it (a gateway does every hour)",
            )
        },
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_was_broken_is_found_and_a_push_puts_back_what_pgsync_had_made(
    pushed: postgres.Database, what: str
) -> None:
    statement, expected = BROKEN[what]
    pushed.execute(statement)
    assert found(pushed) == expected
    if any(finding.endswith("is not as the last push left it") for _, _, finding in expected):
        push(pushed.dsn, schema)
        assert found(pushed) == set()


def test_table_that_is_gone_is_found(pushed: postgres.Database) -> None:
    pushed.execute("DROP TABLE comments")
    assert ("error", "public.comments", "the table of model comments does not exist") in found(pushed)


def test_memberships_that_clients_may_write_are_found(database: postgres.Database) -> None:
    class Person(Model):
        name: str

    class Team(Model, scope=True):
        name: str

    class Member(Model, grants=("person", "team")):
        person_id: Ref[Person] = Field(fk=False)
        team_id: Ref[Team] = Field(fk=False)

    push(database.dsn, Schema(Person, Team, Member))
    assert ("warning", "public.members", "rows grant groups of the kind team, and clients may write them") in found(
        database
    )

    class Kept(Model, key="members", table="members", typename="Member", grants=("person", "team"), mutable=False):
        person_id: Ref[Person] = Field(fk=False)
        team_id: Ref[Team] = Field(fk=False)

    push(database.dsn, Schema(Person, Team, Kept), force=True)
    assert found(database) == set()


def test_slot_that_nobody_reads_is_found_with_what_it_keeps(pushed: postgres.Database) -> None:
    slot = f"pgsync_{pushed.name}"
    pushed.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [slot])
    try:
        ((level, name, finding),) = found(pushed)
        assert (level, name) == ("warning", f"slot {slot}")
        assert finding.startswith("no gateway reads it, and it keeps ")
    finally:
        pushed.execute("SELECT pg_drop_replication_slot(%s)", [slot])


def test_listener_whose_notifications_go_elsewhere_is_found(pushed: postgres.Database) -> None:
    elsewhere = pushed.server.create_database()
    try:
        ((level, name, finding),) = found(pushed, listener_url=elsewhere.dsn)
        assert (level, name) == ("error", "listener")
        assert finding.startswith("a notification does not arrive")
    finally:
        elsewhere.drop()


@pytest.fixture
def roles(pushed: postgres.Database) -> Iterator[postgres.Database]:
    """Roles are the cluster's: what a test does to them is undone."""
    yield pushed
    with psycopg.connect(pushed.dsn, autocommit=True) as admin:
        admin.execute("ALTER ROLE pgsync_owner NOLOGIN; ALTER ROLE pgsync_gateway NOBYPASSRLS")


def test_role_with_more_than_it_should_have_is_found(roles: postgres.Database) -> None:
    roles.execute("ALTER ROLE pgsync_owner LOGIN; ALTER ROLE pgsync_gateway BYPASSRLS")
    assert found(roles) == {
        ("error", "role pgsync_gateway", "is a superuser or bypasses row security: no rule binds it"),
        ("warning", "role pgsync_owner", "may log in; nobody should act as it"),
    }


def test_json_has_every_finding_and_the_exit_code_is_the_worst(pushed: postgres.Database) -> None:
    pushed.execute("ALTER TABLE tasks DISABLE ROW LEVEL SECURITY")
    told = CliRunner().invoke(command, ["--database-url", pushed.dsn, "--json"])
    findings = [Finding(**each) for each in json.loads(told.stdout)]
    assert told.exit_code == 5
    assert findings == examine(pushed.dsn)
    assert [f.level for f in findings] == sorted((f.level for f in findings), key=lambda level: -LEVELS.index(level))


def test_every_check_gives_one_finding_per_row(pushed: postgres.Database) -> None:
    with psycopg.connect(pushed.dsn) as connection:
        for path in sqlfiles.names("checks"):
            cursor = connection.execute(sqlfiles.read(path).encode())
            assert cursor.description is not None
            assert [c.name for c in cursor.description] == ["level", "object", "finding", "remedy"], path
