"""The replication connection: what a server refuses, and what it does when it is told to go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from pgsync.stream.connect import (
    ConnectionLostError,
    PublicationMissingError,
    Replication,
    SlotActiveError,
    SlotMissingError,
    format_lsn,
    parse_lsn,
)
from pgsync.stream.decode import Begin, Commit, Insert, LogicalMessage, Message, decode_message
from tests.integration.stream_support import WAIT_SECONDS
from tests.postgres import Database


@pytest.fixture
def published(database: Database) -> Database:
    database.execute("CREATE TABLE things (id int PRIMARY KEY, body text)")
    database.execute("CREATE PUBLICATION pgsync FOR TABLE things")
    return database


def slot_of(database: Database) -> str:
    return f"pgsync_{database.name}"


@pytest.fixture
async def replication(published: Database) -> AsyncIterator[Replication]:
    """A connection with a slot, streaming."""
    connection = await Replication.connect(published.dsn, application_name="test")
    await connection.create_slot(slot_of(published))
    await connection.start(slot_of(published), publication="pgsync")
    yield connection
    await connection.close()


async def read_until(replication: Replication, inserts: int) -> list[Message]:
    """Messages up to the commit after that many inserts."""
    messages: list[Message] = []
    count = 0
    async with asyncio.timeout(WAIT_SECONDS):  # the connection is of no use after this one anyway
        while count < inserts or not isinstance(messages[-1], Commit):
            for data in await replication.read():
                messages.append(decode_message(data))
                count += isinstance(messages[-1], Insert)
    return messages


@pytest.mark.parametrize(("text", "lsn"), [("0/0", 0), ("0/16B3748", 0x16B3748), ("A/FF", (10 << 32) + 255)])
def test_position_of_the_log_is_read_and_written_as_postgres_does(text: str, lsn: int) -> None:
    assert (parse_lsn(text), format_lsn(lsn)) == (lsn, text)


async def test_transactions_arrive_whole_with_messages(published: Database, replication: Replication) -> None:
    with published.connect(autocommit=False) as connection:
        connection.execute("SELECT pg_logical_emit_message(true, 'pgsync', 'hello')")
        connection.execute("INSERT INTO things VALUES (1, 'a'), (2, NULL)")
    begin, said, _, one, two, commit = await read_until(replication, 2)
    assert isinstance(begin, Begin)
    assert isinstance(commit, Commit)
    assert isinstance(said, LogicalMessage)
    assert said.content == b"hello"
    assert [m.new for m in (one, two) if isinstance(m, Insert)] == [(b"1", b"a"), (b"2", None)]
    assert begin.commit_lsn == commit.commit_lsn < commit.end_lsn


async def test_large_backlog_is_read_in_bulk(published: Database, replication: Replication) -> None:
    published.execute("INSERT INTO things SELECT i, repeat('x', 100) FROM generate_series(1, 50000) AS i")
    messages = await read_until(replication, 50_000)
    assert [m.new[0] for m in messages if isinstance(m, Insert)] == [str(i).encode() for i in range(1, 50_001)]


async def test_value_larger_than_any_buffer_arrives(published: Database, replication: Replication) -> None:
    published.execute("INSERT INTO things VALUES (1, repeat('x', 20000000))")
    (insert,) = (m for m in await read_until(replication, 1) if isinstance(m, Insert))
    assert insert.new[1] == b"x" * 20_000_000


async def test_position_moves_on_with_log_that_holds_nothing_for_us(
    published: Database, replication: Replication
) -> None:
    published.execute("CREATE TABLE others AS SELECT i FROM generate_series(1, 1000) AS i")
    ((lsn,),) = published.execute("SELECT pg_current_wal_insert_lsn()::text")
    async with asyncio.timeout(WAIT_SECONDS):
        while replication.sent_lsn < parse_lsn(lsn):
            messages = [decode_message(data) for data in await replication.read()]
            kinds = [type(message) for message in messages if not isinstance(message, LogicalMessage)]
            assert kinds in ([], [Begin, Commit])
            published.execute("SELECT pg_logical_emit_message(false, 'test', '')")  # log that may be sent to us


async def test_confirmed_transactions_are_not_sent_again(published: Database, replication: Replication) -> None:
    published.execute("INSERT INTO things VALUES (1, 'a')")
    commit = (await read_until(replication, 1))[-1]
    published.execute("INSERT INTO things VALUES (2, 'b')")
    await read_until(replication, 1)
    assert isinstance(commit, Commit)
    replication.confirm(commit.end_lsn)
    await replication.close()
    again = await Replication.connect(published.dsn, application_name="test")
    try:
        await again.start(slot_of(published), publication="pgsync")
        (insert,) = (m for m in await read_until(again, 1) if isinstance(m, Insert))
        assert insert.new[0] == b"2"
    finally:
        await again.close()


async def test_slot_in_use_is_refused(published: Database, replication: Replication) -> None:
    other = await Replication.connect(published.dsn, application_name="other")
    try:
        with pytest.raises(SlotActiveError) as caught:
            await other.start(slot_of(published), publication="pgsync")
        assert caught.value.hint
    finally:
        await other.close()


async def test_slot_is_free_as_soon_as_the_connection_is_closed(published: Database, replication: Replication) -> None:
    await replication.close()
    for _ in range(5):
        again = await Replication.connect(published.dsn, application_name="again")
        await again.start(slot_of(published), publication="pgsync")
        await again.close()


async def test_missing_slot_and_publication_are_told_apart(published: Database) -> None:
    connection = await Replication.connect(published.dsn, application_name="test")
    try:
        with pytest.raises(SlotMissingError):
            await connection.start("pgsync_nobody", publication="pgsync")
        with pytest.raises(PublicationMissingError) as caught:
            await connection.start("pgsync_nobody", publication="nobody")
        assert "pgsync push" in caught.value.hint
        await connection.drop_slot("pgsync_nobody")
    finally:
        await connection.close()


async def test_slot_survives_failover_where_the_server_can(published: Database, replication: Replication) -> None:
    if replication.server_version >= 170000:
        ((failover,),) = published.execute(
            "SELECT failover FROM pg_replication_slots WHERE slot_name = %s", (slot_of(published),)
        )
        assert failover


async def test_server_that_goes_away_ends_the_read(published: Database, replication: Replication) -> None:
    async def read_all() -> None:
        while True:
            await replication.read()

    reading = asyncio.create_task(read_all())
    terminated = False
    async with asyncio.timeout(WAIT_SECONDS):
        while not terminated:
            ((terminated,),) = published.execute(
                "SELECT COALESCE(bool_or(pg_terminate_backend(active_pid)), false) FROM pg_replication_slots"
                " WHERE slot_name = %s",
                (slot_of(published),),
            )
        with pytest.raises(ConnectionLostError):
            await reading


async def test_server_that_is_not_there_is_a_lost_connection() -> None:
    with pytest.raises(ConnectionLostError):
        await Replication.connect("host=/nowhere dbname=x", application_name="test")
