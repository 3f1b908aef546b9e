"""A push says itself, in its own transaction, which models have to be loaded anew: no gateway has to look."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from pgsync.compile import bundle_files, compile_schema
from pgsync.errors import PgsyncError
from pgsync.push import push
from pgsync.push.wishes import ModelRename, Wishes
from pgsync.schema import Model, Schema
from tests.postgres import Database
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


def told(database: Database) -> list[str]:
    """The models whose rows were to be loaded anew, in order, each as often as it was said."""
    query = "SELECT c.model FROM pgsync_private.change AS c WHERE c.op = 'T' ORDER BY c.seq"
    return [model for (model,) in database.execute(query)]


def test_pushes_one_after_another_are_all_told(database: Database) -> None:
    push(database.dsn, memos())
    assert told(database) == []
    for count, rule in enumerate((RULED, None, RULED), start=1):
        push(database.dsn, memos(rule))
        assert told(database) == ["memo"] * count


def test_bundle_tells_what_a_push_tells(database: Database) -> None:
    push(database.dsn, memos())
    script = bundle_files(compile_schema(memos(RULED).resolved), migrate=False)["push.sql"]
    psql(database, script)
    assert told(database) == ["memo"]
    psql(database, script)
    assert told(database) == ["memo"], "a second time"
    assert not push(database.dsn, memos(RULED)).changed


def test_what_was_done_by_hand_before_a_push_is_told_by_it(database: Database) -> None:
    push(database.dsn, memos())
    database.execute(
        "CREATE TABLE other (LIKE notes INCLUDING ALL); DROP TABLE notes; ALTER TABLE other RENAME TO notes"
    )
    push(database.dsn, memos(RULED))
    assert sorted(told(database)) == ["memo", "note"]


def test_push_that_fails_has_told_nothing(database: Database) -> None:
    """Here it fails at its very end."""
    push(database.dsn, memos())
    database.execute(
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;"
        "CREATE CONSTRAINT TRIGGER no AFTER INSERT ON pgsync_private.schema_version"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION no()"
    )
    before = dump(database, NUMBERS)
    with pytest.raises((PgsyncError, psycopg.Error)):
        push(database.dsn, memos(RULED))
    assert dump(database, NUMBERS) == before
    database.execute("DROP FUNCTION no() CASCADE")
    push(database.dsn, memos(RULED))
    assert told(database) == ["memo"]


def test_dry_run_tells_nothing(database: Database) -> None:
    push(database.dsn, memos())
    before = dump(database)
    assert push(database.dsn, memos(RULED), dry_run=True).changed
    assert dump(database) == before


def test_model_that_comes_back_has_its_rows_loaded_anew(database: Database) -> None:
    """What happened to them while there was no such model is not on the stream."""
    push(database.dsn, memos())
    push(database.dsn, notes(), force=True)
    push(database.dsn, memos())
    assert told(database) == [], "the stream does not know the model yet"
    look(database)
    look(database)
    assert told(database) == ["memo"]


def test_renamed_model_is_told_under_the_name_that_the_stream_knows(database: Database) -> None:
    push(database.dsn, memos())

    class Letter(Model, table="memos", rule=RULED):
        title: str
        secret: bool = False

    class Note(Model):
        text: str

    with database.connect() as connection:
        connection.execute("SELECT pg_create_logical_replication_slot('told', 'pgoutput')")
        push(database.dsn, Schema(Letter, Note), wishes=Wishes(renames=(ModelRename("memos", "letters"),)))
        query = (
            "SELECT data FROM pg_logical_slot_get_binary_changes('told', NULL, NULL,"
            " 'proto_version', '1', 'publication_names', 'pgsync', 'messages', 'true') WHERE get_byte(data, 0) = 77"
        )
        messages = [bytes(said) for (said,) in connection.execute(query).fetchall()]
        connection.execute("SELECT pg_drop_replication_slot('told')")
    assert told(database) == ["letter"]
    assert [said for said in messages if b'"models": ["memos"]' in said]


def test_look_waits_for_nobody(database: Database) -> None:
    push(database.dsn, memos())
    database.execute("ALTER TABLE memos ALTER COLUMN title TYPE varchar(90)")
    with database.connect(autocommit=False) as pushing:
        pushing.execute("SELECT pg_advisory_xact_lock(hashtextextended('pgsync tables', 0))")
        look(database)
        assert told(database) == []
    look(database)
    assert told(database) == ["memo"]


def look(database: Database) -> Any:
    """As a gateway does all the time."""
    return database.execute("SELECT pgsync.watch_tables_v1()")
