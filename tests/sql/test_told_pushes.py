"""A push says itself, in its own transaction, which models have to be loaded anew: no gateway has to look."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from pgsync.compile import bundle_files, compile_schema
from pgsync.errors import PgsyncError
from pgsync.push import push
from pgsync.push.wishes import ModelRename, Wishes
from pgsync.schema import Model, Schema
from tests.postgres import Database, Server
from tests.sql.dump import dump, psql


def memos(rule: str | None = None) -> Schema:
    class Memo(Model, rule=rule):
        title: str
        secret: bool = False

    class Note(Model):
        text: str

    return Schema(Memo, Note)


def notes() -> Schema:
    class Note(Model):
        text: str

    return Schema(Note)


RULED = "NOT secret"
NUMBERS = "--exclude-table-data=pgsync_private.change_seq_seq"  # which are not given back


@pytest.fixture(scope="module")
def template(server: Server) -> Iterator[Database]:
    with server.lend() as prepared:
        push(prepared.dsn, memos())
        yield prepared


@pytest.fixture
def pushed(server: Server, template: Database) -> Iterator[Database]:
    """A database of this test's own with memos and notes, which no gateway has ever looked at."""
    with server.lend(template=template) as copied:
        yield copied


def told(database: Database) -> list[str]:
    """The models whose rows were to be loaded anew, in order, each as often as it was said."""
    query = "SELECT c.model FROM pgsync_private.change AS c WHERE c.op = 'T' ORDER BY c.seq"
    return [model for (model,) in database.execute(query)]


def test_pushes_one_after_another_are_all_told(pushed: Database) -> None:
    assert told(pushed) == []
    for count, rule in enumerate((RULED, None, RULED), start=1):
        push(pushed.dsn, memos(rule))
        assert told(pushed) == ["memo"] * count


def test_bundle_tells_what_a_push_tells(pushed: Database) -> None:
    script = bundle_files(compile_schema(memos(RULED).resolved), migrate=False)["push.sql"]
    psql(pushed, script)
    assert told(pushed) == ["memo"]
    psql(pushed, script)
    assert told(pushed) == ["memo"], "a second time"
    assert not push(pushed.dsn, memos(RULED)).changed


def test_what_was_done_by_hand_before_a_push_is_told_by_it(pushed: Database) -> None:
    pushed.execute("CREATE TABLE other (LIKE notes INCLUDING ALL); DROP TABLE notes; ALTER TABLE other RENAME TO notes")
    push(pushed.dsn, memos(RULED))
    assert sorted(told(pushed)) == ["memo", "note"]


def test_push_that_fails_has_told_nothing(pushed: Database) -> None:
    """Here it fails at its very end."""
    pushed.execute(
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;"
        "CREATE CONSTRAINT TRIGGER no AFTER INSERT ON pgsync_private.schema_version"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION no()"
    )
    before = dump(pushed, NUMBERS)
    with pytest.raises((PgsyncError, psycopg.Error)):
        push(pushed.dsn, memos(RULED))
    assert dump(pushed, NUMBERS) == before
    pushed.execute("DROP FUNCTION no() CASCADE")
    push(pushed.dsn, memos(RULED))
    assert told(pushed) == ["memo"]


def test_dry_run_tells_nothing(pushed: Database) -> None:
    before = dump(pushed)
    assert push(pushed.dsn, memos(RULED), dry_run=True).changed
    assert dump(pushed) == before


def test_model_that_comes_back_has_its_rows_loaded_anew(pushed: Database) -> None:
    """What happened to them while there was no such model is not on the stream."""
    push(pushed.dsn, notes(), force=True)
    push(pushed.dsn, memos())
    assert told(pushed) == [], "the stream does not know the model yet"
    look(pushed)
    look(pushed)
    assert told(pushed) == ["memo"]


def test_renamed_model_is_told_under_the_name_that_the_stream_knows(pushed: Database) -> None:
    class Letter(Model, table="memos", rule=RULED):
        title: str
        secret: bool = False

    class Note(Model):
        text: str

    with pushed.connect() as connection:
        connection.execute("SELECT pg_create_logical_replication_slot('told', 'pgoutput')")
        push(pushed.dsn, Schema(Letter, Note), wishes=Wishes(renames=(ModelRename("memos", "letters"),)))
        query = (
            "SELECT data FROM pg_logical_slot_get_binary_changes('told', NULL, NULL,"
            " 'proto_version', '1', 'publication_names', 'pgsync', 'messages', 'true') WHERE get_byte(data, 0) = 77"
        )
        messages = [bytes(said) for (said,) in connection.execute(query).fetchall()]
        connection.execute("SELECT pg_drop_replication_slot('told')")
    assert told(pushed) == ["letter"]
    assert [said for said in messages if b'"models": ["memos"]' in said]


def test_look_waits_for_nobody(pushed: Database) -> None:
    pushed.execute("ALTER TABLE memos ALTER COLUMN title TYPE varchar(90)")
    with pushed.connect(autocommit=False) as pushing:
        pushing.execute("SELECT pg_advisory_xact_lock(hashtextextended('pgsync tables', 0))")
        look(pushed)
        assert told(pushed) == []
    look(pushed)
    assert told(pushed) == ["memo"]


WIDER = (
    ("character varying(4)", "character varying(5)"),
    ("character varying(4)", "text"),
    ("text", "character varying"),
    ("smallint", "bigint"),
    ("integer", "bigint"),
    ("numeric(5,2)", "numeric(7,2)"),
    ("numeric(5,2)", "numeric"),
)


def test_wider_is_what_takes_every_value_as_it_is(pushed: Database) -> None:
    query = "SELECT pgsync_private.is_wider(%s, %s)"
    for before, now in WIDER:
        assert pushed.execute(query, (before, now)) == [(True,)], (before, now)
        assert pushed.execute(query, (now, before)) == [(before == "text",)], (now, before)
    for before, now in (("numeric(5,2)", "numeric(7,3)"), ("text", "integer"), ("text[]", "text"), ("integer", "text")):
        assert pushed.execute(query, (before, now)) == [(False,)], (before, now)


def look(database: Database) -> Any:
    """As a gateway does all the time."""
    return database.execute("SELECT pgsync.watch_tables_v1()")
