"""Uninstalling takes everything of ours and nothing of anybody else's."""

from __future__ import annotations

import psycopg
import pytest

from pgsync import sqlfiles
from pgsync.push import push
from pgsync.schema import Model, Schema
from tests.golden.cases import schema_of
from tests.postgres import Database, run_server
from tests.sql.conftest import World, ok
from tests.sql.dump import dump, psql

# What somebody had before pgsync came: each a table that a model is then put on.
BEFORE = """
CREATE TABLE plain (
  organization_id text, id text, title text, created_at timestamptz NOT NULL DEFAULT '2026-01-01',
  updated_at timestamptz NOT NULL DEFAULT '2026-01-01', created_by text, PRIMARY KEY (organization_id, id)
);
CREATE TABLE guarded (LIKE plain INCLUDING ALL);
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
CREATE POLICY theirs ON guarded FOR SELECT USING (title <> 'hidden');
CREATE TABLE logged_full (LIKE plain INCLUDING ALL);
ALTER TABLE logged_full REPLICA IDENTITY FULL;
CREATE TABLE logged_index (LIKE plain INCLUDING ALL);
CREATE UNIQUE INDEX by_id ON logged_index (id);
ALTER TABLE logged_index ALTER COLUMN id SET NOT NULL, REPLICA IDENTITY USING INDEX by_id;
CREATE TABLE logged_nothing (LIKE plain INCLUDING ALL);
ALTER TABLE logged_nothing REPLICA IDENTITY NOTHING;
CREATE FUNCTION theirs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER theirs BEFORE UPDATE ON plain FOR EACH ROW EXECUTE FUNCTION theirs();
CREATE PUBLICATION theirs FOR TABLE plain;
GRANT SELECT ON plain TO PUBLIC;
INSERT INTO plain VALUES ('acme', 'a', 'A'), ('globex', 'b', 'hidden');
INSERT INTO guarded SELECT * FROM plain;
"""


def schema() -> Schema:
    class Plain(Model, key="plain", rule="title <> 'x'"):  # a rule needs whole old rows in the log
        title: str | None = None

    class Guarded(Model, key="guarded"):
        title: str | None = None

    class LoggedFull(Model, key="logged_full"):
        title: str | None = None

    class LoggedIndex(Model, key="logged_index"):
        title: str | None = None

    class LoggedNothing(Model, key="logged_nothing"):
        title: str | None = None

    return Schema(Plain, Guarded, LoggedFull, LoggedIndex, LoggedNothing)


def uninstall(database: Database) -> None:
    psql(database, sqlfiles.read("uninstall.sql"))


def test_dump_before_install_and_after_uninstall_is_the_same(database: Database) -> None:
    database.execute(BEFORE)
    before = dump(database)
    push(database.dsn, schema())
    with database.connect() as connection:
        connection.execute("UPDATE plain SET title = title")
        identities = connection.execute(
            "SELECT relname, relreplident FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        ).fetchall()
    assert dict(identities) == {
        "plain": "f",
        "guarded": "d",
        "logged_full": "f",
        "logged_index": "d",
        "logged_nothing": "d",
    }
    uninstall(database)
    assert dump(database) == before


def test_uninstall_leaves_no_object_of_ours(wide: World) -> None:
    ok(wide.caller().create("workspaces", "w1", {"name": "x"}))
    wide.close()
    wide.sql("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", f"pgsync_{wide.database.name}")
    uninstall(wide.database)
    text = dump(wide.database)
    assert "pgsync" not in text
    assert "w1" in text, "rows of tables that a push made stay"
    assert wide.sql("SELECT FROM pg_replication_slots WHERE database = current_database()") == []
    uninstall(wide.database)  # a second time there is nothing to do


def test_uninstall_then_push_begins_again(tasks: World) -> None:
    ok(tasks.caller().create("projects", "p1", {"name": "x"}))
    tasks.close()
    uninstall(tasks.database)
    push(tasks.database.dsn, schema_of("tasks"))
    assert tasks.caller().read("SELECT id FROM projects") == ["p1"]


def test_uninstall_is_refused_while_a_gateway_reads(tasks: World) -> None:
    slot = f"pgsync_{tasks.database.name}"
    tasks.sql("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", slot)
    listener = psycopg.connect(tasks.database.dsn_as("pgsync_listener") + " replication=database", autocommit=True)
    try:
        command = f"START_REPLICATION SLOT {slot} LOGICAL 0/0 (proto_version '1', publication_names 'pgsync')"
        result = listener.pgconn.exec_(command.encode())
        assert result.status == psycopg.pq.ExecStatus.COPY_BOTH
        with pytest.raises(psycopg.errors.ObjectInUse):
            tasks.sql(sqlfiles.read("uninstall.sql"))
    finally:
        listener.close()
    assert tasks.sql("SELECT pgsync.schema_v1() IS NOT NULL") == [True]


def test_uninstall_is_refused_while_objects_of_others_need_ours(tasks: World) -> None:
    tasks.sql("CREATE TABLE theirs (o text); ALTER TABLE theirs ENABLE ROW LEVEL SECURITY")
    tasks.sql("CREATE POLICY theirs ON theirs USING (o = pgsync.organization_id())")
    with pytest.raises(psycopg.errors.DependentObjectsStillExist, match=r"pgsync\.organization_id"):
        tasks.sql(sqlfiles.read("uninstall.sql"))
    assert tasks.sql("SELECT count(*) FROM pg_policy WHERE polname = 'theirs'") == [1]


def test_row_security_stays_on_where_somebody_made_policies_since(tasks: World) -> None:
    tasks.sql("CREATE POLICY theirs ON projects USING (name <> 'secret')")
    uninstall(tasks.database)
    assert tasks.sql("SELECT relrowsecurity FROM pg_class WHERE oid = 'projects'::regclass") == [True]
    assert tasks.sql("SELECT relrowsecurity FROM pg_class WHERE oid = 'tasks'::regclass") == [False]


def test_roles_stay_while_another_database_uses_them_and_go_with_the_last() -> None:
    with run_server() as server:
        first, second = server.create_database(), server.create_database()
        roles = "SELECT rolname FROM pg_roles WHERE rolname LIKE 'pgsync\\_%' ORDER BY 1"
        for each in (first, second):
            push(each.dsn, schema())
        assert len(first.execute(roles)) == 4
        uninstall(first)
        assert len(first.execute(roles)) == 4
        uninstall(second)
        assert first.execute(roles) == []
