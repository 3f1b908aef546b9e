"""The feed against a real server: the same sync ids for everybody, whatever is killed, lost or late."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest

from pgsync.push import install, push
from pgsync.schema import Model, Schema
from pgsync.stream import feed
from pgsync.stream.connect import PublicationMissingError
from pgsync.stream.listener import Listener
from pgsync.stream.number import NumberLineError
from pgsync.stream.ring import Fallen
from pgsync.stream.timeline import Snapshot
from tests.integration.stream_support import (
    LISTENER,
    WAIT_SECONDS,
    Recorded,
    kill,
    recorded,
    running,
    start_feed,
    stored_head,
    terminate,
    until,
)
from tests.postgres import Database

ROOT = Path(__file__).resolve().parents[2]


class Task(Model):
    title: str = ""


class Note(Model):
    body: str = ""


TASKS = Schema(Task)
TASKS_AND_NOTES = Schema(Task, Note)


GATE = 7_236_151  # an advisory lock that nobody else uses


@pytest.fixture
def pushed(database: Database) -> Database:
    push(database.dsn, TASKS)
    return database


def insert(database: Database, first: int, last: int, *, table: str = "tasks") -> None:
    """One transaction with the rows t<first>..t<last>."""
    database.execute(
        f"INSERT INTO {table} (id, organization_id) SELECT 't' || i, 'o1' FROM generate_series(%s::int, %s) AS i",
        (first, last),
    )


def insert_beyond_the_log(database: Database) -> None:
    """A row of 136 MB, little of which is left when it is compressed, whose text has more than 1 GB."""
    bits = " || ".join(["B'0'::bit(83886080)::varbit"] * 13)
    database.execute("ALTER TABLE tasks ADD COLUMN huge bit varying")
    database.execute(f"INSERT INTO tasks (id, organization_id, huge) VALUES ('huge', 'o1', {bits})")


def many_commits(database: Database, first: int, last: int, *, gate_at: int = 0) -> subprocess.Popen[bytes]:
    """A process that inserts the rows one by one, each in a transaction of its own.

    Before row `gate_at` it waits while somebody holds the advisory lock GATE.
    """
    block = (
        f"DO $$ BEGIN FOR i IN {first}..{last} LOOP"
        f" IF i = {gate_at} THEN PERFORM pg_advisory_lock_shared({GATE}); END IF;"
        " INSERT INTO tasks (id, organization_id) VALUES ('t' || i, 'o1'); COMMIT; END LOOP; END $$"
    )
    program = f"import psycopg; psycopg.connect({database.dsn!r}, autocommit=True).execute({block!r})"
    return subprocess.Popen([sys.executable, "-c", program])


def drop_used_slot(database: Database, slot: str) -> None:
    """Takes the slot away from whoever reads from it."""
    with database.connect() as connection:
        while True:  # the feed may be faster to come back than we are to drop its slot
            terminate(database, f"pgsync stream {slot}")
            try:
                connection.execute("SELECT pg_drop_replication_slot(%s)", (slot,))
            except psycopg.errors.ObjectInUse:
                continue
            return


async def test_direct_write_is_attributed_to_its_role_and_sampled(pushed: Database) -> None:
    async with running(pushed, "a") as a:
        pushed.execute("INSERT INTO tasks (id, organization_id, title) VALUES ('t1', 'o1', 'x')")
        await a.has(1)
        (change,) = a.transactions[0].changes
        assert (change.action, change.row_id, change.organization, change.groups) == ("I", "t1", "o1", ("org:o1",))
        assert change.origin.actor == ("system", "postgres")
        assert orjson.loads(change.data or b"")["title"] == "x"
        assert a.transactions[0].snapshot is not None
        assert a.feed.head == change.sync_id


async def test_commit_is_confirmed_with_its_last_sync_id(pushed: Database) -> None:
    identity = {
        "organizationId": "o1",
        "participantKind": "user",
        "participantId": "u1",
        "syncGroups": ["org:o1", "user:u1"],
        "operations": [],
        "capabilityId": "cap_1",
        "onBehalfOf": None,
    }
    request = {
        "route": "commits",
        "operations": [
            {"action": "create", "model": "tasks", "id": f"t{i}", "data": {"title": "x"}, "transactionId": f"tx{i}"}
            for i in range(3)
        ],
    }
    async with running(pushed, "a") as a:
        with pushed.connect("pgsync_gateway") as connection:
            row = connection.execute(
                "SELECT pgsync.commit_v1(%s, 'key-1', %s, NULL)",
                (orjson.dumps(identity).decode(), orjson.dumps(request).decode()),
            ).fetchone()
        assert row is not None
        outcome = row[0]
        assert outcome["outcome"] == "committed", outcome
        last_sync_id = await a.feed.confirmed(outcome["serverTxId"], WAIT_SECONDS)
        changes = a.transactions[0].changes
        assert last_sync_id == changes[-1].sync_id
        assert await a.feed.confirmed(outcome["serverTxId"], 0) == last_sync_id
        assert [c.transaction_id for c in changes] == ["tx0", "tx1", "tx2"]
        assert {(c.origin.actor, c.origin.capability_id, c.origin.client_tx_id) for c in changes} == {
            (("user", "u1"), "cap_1", "key-1")
        }


async def test_commit_that_never_comes_is_not_confirmed(pushed: Database) -> None:
    async with running(pushed, "a") as a:
        assert await a.feed.confirmed("1-0", 0.01) is None
    assert await a.feed.confirmed("1-0", WAIT_SECONDS) is None, "nobody waits for a stream that is down"


async def test_two_gateways_give_every_change_the_same_sync_id(pushed: Database) -> None:
    async with running(pushed, "a") as a:
        insert(pushed, 1, 10)
        writer = many_commits(pushed, 11, 1000)
        async with running(pushed, "b") as b:  # in the middle of it
            await asyncio.to_thread(writer.wait)
            insert(pushed, 1001, 1010)
            await a.has(1010)
            await until(lambda: b.changes[-1:] == a.changes[-1:], "the second gateway")
            assert [sync_id for sync_id, *_ in a.changes] == list(range(a.changes[0][0], a.changes[0][0] + 1010))
            assert b.changes == a.changes[-len(b.changes) :]
            assert a.feed.epoch == b.feed.epoch


async def test_two_newcomers_on_a_fresh_database_agree(pushed: Database) -> None:
    newcomers = [recorded(pushed, name) for name in "abc"]
    writer = many_commits(pushed, 1, 300)
    async with asyncio.timeout(WAIT_SECONDS):
        await asyncio.gather(*(newcomer.feed.start() for newcomer in newcomers))
    try:
        await asyncio.to_thread(writer.wait)
        insert(pushed, 1000, 1000)
        for newcomer in newcomers:
            await until(lambda n=newcomer: n.changes[-1:] and n.changes[-1][3] == "t1000", "the last row")  # type: ignore[misc]
        longest = max((n.changes for n in newcomers), key=len)
        for newcomer in newcomers:
            assert newcomer.changes == longest[-len(newcomer.changes) :]
    finally:
        for newcomer in newcomers:
            await newcomer.feed.stop()


async def test_restarted_gateway_gives_the_same_ids_again(pushed: Database) -> None:
    async with running(pushed, "a") as before:
        insert(pushed, 1, 5)
        await before.has(5)
    insert(pushed, 6, 7)
    async with running(pushed, "a") as after:
        assert after.changes[:5] == before.changes
        assert [row for _, _, _, row in after.changes] == [f"t{i}" for i in range(1, 8)]
        assert after.feed.epoch == before.feed.epoch


async def test_acknowledged_changes_do_not_come_again(pushed: Database) -> None:
    async with running(pushed, "a", ring_bytes=1) as before:  # a ring holds one transaction at least
        insert(pushed, 1, 5)
        await before.has(5)
        await until(lambda: stored_head(pushed) == before.feed.head, "a checkpoint")
        insert(pushed, 6, 6)
        await before.has(6)
    async with running(pushed, "a") as after:
        insert(pushed, 7, 7)
        await after.has(2)
        assert [row for _, _, _, row in after.changes] == ["t6", "t7"]
        assert after.changes[0] == before.changes[-1]


async def _kill_and_restart(pushed: Database, path: Path, ring_bytes: int) -> None:
    path.touch()

    def rows() -> list[tuple[int, str]]:
        complete = path.read_text().rpartition("\n")[0].splitlines()
        return [(int(sync_id), row) for sync_id, row in (line.split(" ") for line in complete)]

    async with running(pushed, "witness") as witness:
        first = start_feed(pushed, path, ring_bytes)
        with pushed.connect() as gate:  # so that the kill comes in the middle however fast the commits are
            gate.execute("SELECT pg_advisory_lock(%s)", (GATE,))
            try:
                assert first.stdout is not None
                assert await asyncio.to_thread(first.stdout.readline) == "caught up\n"
                writer = many_commits(pushed, 1, 10_000, gate_at=7001)
                await until(lambda: len(rows()) > 2000, "the middle of the commits")
            finally:
                kill(first)
        before = rows()
        assert len(before) <= 7000
        path.write_text("")
        second = start_feed(pushed, path, ring_bytes)
        try:
            await asyncio.to_thread(writer.wait)
            await witness.has(10_000)
            expected = [(sync_id, row) for sync_id, _, _, row in witness.changes]
            await until(lambda: rows()[-1:] == expected[-1:], "the restarted gateway")
        finally:
            kill(second)
        after = rows()
        assert before == expected[: len(before)]
        assert after == expected[-len(after) :], "the same ids again, none twice"
        assert len(before) + len(after) >= 10_000, "none missing"
        assert [row for _, row in expected] == [f"t{i}" for i in range(1, 10_001)]


async def test_killed_gateway_gives_the_same_ids_again(pushed: Database, tmp_path: Path) -> None:
    await _kill_and_restart(pushed, tmp_path / "handed-on", ring_bytes=1 << 28)


async def test_killed_gateway_with_a_short_window_misses_nothing(pushed: Database, tmp_path: Path) -> None:
    await _kill_and_restart(pushed, tmp_path / "handed-on", ring_bytes=1 << 20)


@pytest.mark.parametrize("lost", ["stream", "listener"])
async def test_lost_connection_is_found_again_without_gap_or_repetition(pushed: Database, lost: str) -> None:
    async with running(pushed, "a") as a:
        insert(pushed, 1, 3)
        await a.has(3)
        terminate(pushed, f"pgsync {lost} pgsync_a")
        insert(pushed, 4, 5)
        await a.has(5)
        await until(lambda: a.feed.is_connected, "the connection")
        insert(pushed, 6, 6)
        await a.has(6)
        assert [row for _, _, _, row in a.changes] == [f"t{i}" for i in range(1, 7)]
        assert a.restarts == 1
        assert [sync_id for sync_id, *_ in a.changes] == list(range(a.changes[0][0], a.changes[0][0] + 6))


async def test_lost_slot_of_the_only_gateway_begins_a_line_above(pushed: Database) -> None:
    async with running(pushed, "a") as before:
        insert(pushed, 1, 5)
        await before.has(5)
    pushed.execute("SELECT pg_drop_replication_slot('pgsync_a')")
    insert(pushed, 6, 6)
    async with running(pushed, "a") as after:
        insert(pushed, 7, 7)
        await after.has(1)
        assert after.changes[0][3] == "t7"
        assert after.changes[0][0] > before.changes[-1][0] + 1
        assert after.feed.epoch != before.feed.epoch


async def test_transaction_that_is_open_when_a_line_begins_keeps_nobody_from_reading(
    pushed: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged_xid = Listener.logged_xid
    opened: list[psycopg.Connection[Any]] = []

    async def beside_another(self: Listener) -> int:
        opened.append(pushed.connect(autocommit=False))
        opened[-1].execute("INSERT INTO tasks (id, organization_id) VALUES ('late', 'o1')")
        return await logged_xid(self)

    monkeypatch.setattr(Listener, "logged_xid", beside_another)
    monkeypatch.setattr(feed, "VISIBLE_SECONDS", 1.0)

    def place() -> int | None:
        ((text,),) = pushed.execute("SELECT pg_current_snapshot()::text")
        return a.feed.timeline.find(Snapshot.parse(text))

    async with running(pushed, "a") as a:
        assert place() is None, "it might have committed before the line"
        await until(lambda: place() == a.feed.head, "reads have their place")
        (connection,) = opened
        connection.commit()
        connection.close()
        await a.has(1)
        await until(lambda: place() == a.feed.head, "reads have their place")


async def test_what_a_line_may_have_passed_over_is_not_forgotten_by_a_restart(
    pushed: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged_xid = Listener.logged_xid
    begun: list[str] = []

    async def beside_another(self: Listener) -> int:
        if not begun:  # it might as well be in the log by now, and wait for a standby
            begun.append(connection.execute("SELECT pg_current_xact_id()::text").fetchall()[0][0])
        return await logged_xid(self)

    def may_read(a: Recorded) -> bool:
        ((text,),) = pushed.execute("SELECT pg_current_snapshot()::text")
        assert begun[0] in text
        return a.feed.timeline.find(Snapshot.parse(text)) is not None

    monkeypatch.setattr(Listener, "logged_xid", beside_another)
    monkeypatch.setattr(feed, "VISIBLE_SECONDS", 3600.0)
    with pushed.connect(autocommit=False) as connection:
        async with running(pushed, "a") as a:
            insert(pushed, 1, 3)
            await a.has(3)
            newest = "SELECT xid::text FROM pgsync_private.position ORDER BY xid DESC LIMIT 1"
            await until(lambda: pushed.execute(newest) == [(str(a.transactions[-1].xid),)], "a checkpoint of them")
            assert not may_read(a)
        async with running(pushed, "a") as again:
            assert not may_read(again)
        monkeypatch.setattr(feed, "VISIBLE_SECONDS", 0.5)
        async with running(pushed, "a") as again:
            await until(lambda: may_read(again), "reads have their place")


async def test_lost_slot_beside_a_running_gateway_keeps_the_line(pushed: Database) -> None:
    async with running(pushed, "a") as a:
        async with running(pushed, "b"):
            insert(pushed, 1, 5)
        pushed.execute("SELECT pg_drop_replication_slot('pgsync_b')")
        insert(pushed, 6, 6)
        async with running(pushed, "b") as b:
            insert(pushed, 7, 7)
            await b.has(1)
            await a.has(7)
            assert b.changes == a.changes[-1:]
            assert a.feed.epoch == b.feed.epoch


async def test_row_that_the_server_cannot_send_stops_no_gateway_that_starts_before_it(pushed: Database) -> None:
    async with running(pushed, "a") as a:
        insert(pushed, 1, 2)
        await a.has(2)
    insert_beyond_the_log(pushed)
    async with running(pushed, "a") as a:
        insert(pushed, 3, 3)
        await until(lambda: a.changes[-1:] != [] and a.changes[-1][3] == "t3", "the row after it")


async def test_publication_that_was_made_anew_stops_the_stream_for_nobody(pushed: Database) -> None:
    async with running(pushed, "a") as a:
        insert(pushed, 1, 2)
        await a.has(2)
    pushed.execute("DROP PUBLICATION pgsync")
    insert(pushed, 3, 3)
    pushed.execute("CREATE PUBLICATION pgsync FOR TABLE tasks")
    async with running(pushed, "a") as a:
        insert(pushed, 4, 4)
        await until(lambda: a.changes[-1:] != [] and a.changes[-1][3] == "t4", "the row after it")


async def test_slot_lost_while_running_restarts_the_stream(pushed: Database) -> None:
    async with running(pushed, "a") as a:
        insert(pushed, 1, 5)
        await a.has(5)
        epoch = a.feed.epoch
        await asyncio.to_thread(drop_used_slot, pushed, "pgsync_a")
        await until(lambda: a.restarts == 2 and a.feed.is_connected, "the new slot")
        insert(pushed, 6, 6)
        await a.has(6)
        assert a.changes[-1][0] > a.changes[-2][0] + 1
        assert a.feed.epoch != epoch
        with pytest.raises(Fallen):
            a.feed.ring.locate(a.changes[-2][0])


async def test_gateway_that_comes_late_with_an_old_slot_joins_the_new_line(pushed: Database) -> None:
    async with running(pushed, "a") as old, running(pushed, "b"):
        insert(pushed, 1, 5)
        await old.has(5)
    pushed.execute("SELECT pg_drop_replication_slot('pgsync_b')")
    insert(pushed, 6, 6)
    async with running(pushed, "b") as b:  # nobody runs: a new line
        insert(pushed, 7, 7)
        await b.has(1)
        async with running(pushed, "a") as a:
            insert(pushed, 8, 8)
            await b.has(2)
            await until(lambda: a.changes[-2:] == b.changes, "the same ids")
            assert a.changes[:5] == old.changes
            assert a.restarts == 2
            assert a.feed.epoch == b.feed.epoch


async def test_schema_version_in_force_decides_what_counts(pushed: Database) -> None:
    async with running(pushed, "a") as a:
        insert(pushed, 1, 2)
        push(pushed.dsn, TASKS_AND_NOTES)
        insert(pushed, 1, 2, table="notes")
        insert(pushed, 3, 3)
        await a.has(5)
        assert a.feed.schema.version == 2
        expected = a.changes
        assert [(model, row) for _, _, model, row in expected] == [
            ("tasks", "t1"),
            ("tasks", "t2"),
            ("notes", "t1"),
            ("notes", "t2"),
            ("tasks", "t3"),
        ]
    push(pushed.dsn, TASKS, force=True)
    pushed.execute("UPDATE notes SET body = 'no longer a model'")
    async with running(pushed, "a") as again:
        assert again.feed.schema.version == 3
        insert(pushed, 4, 4)
        await again.has(6)
        assert again.changes[:5] == expected
        assert again.changes[5][1:] == ("I", "tasks", "t4")
        assert again.changes[5][0] == expected[4][0] + 1


async def test_stream_waits_for_the_first_schema(database: Database) -> None:
    install(database.dsn)
    async with running(database, "a") as a:
        assert a.feed.schema.version == 0
        push(database.dsn, TASKS)
        insert(database, 1, 1)
        await a.has(1)
        assert a.feed.schema.version == 1


async def test_truncated_table_counts_once(pushed: Database) -> None:
    async with running(pushed, "a") as a:
        insert(pushed, 1, 3)
        pushed.execute("TRUNCATE tasks")
        insert(pushed, 4, 4)
        await a.has(5)
        assert [change[1:] for change in a.changes[3:]] == [("T", "tasks", ""), ("I", "tasks", "t4")]
        assert a.transactions[1].changes[0].origin.actor == ("system", "postgres")


async def test_gateways_that_disagree_fail_loudly(pushed: Database) -> None:
    async with running(pushed, "a") as a:
        insert(pushed, 1, 1)
        await a.has(1)
        with pushed.connect(LISTENER) as connection:
            connection.execute("SELECT pgsync.anchor_v1('of a newcomer')")
        await until(lambda: stored_head(pushed) == a.feed.head, "the checkpoint of the anchor")
    pushed.execute("UPDATE pgsync_private.checkpoint SET sync_id = sync_id + 1 WHERE sync_id = %s", (a.feed.head,))
    again = recorded(pushed, "a")
    with pytest.raises(NumberLineError):
        await again.feed.start()
    assert not again.feed.is_connected
    with pytest.raises(NumberLineError):
        await again.feed.stop()


async def test_sample_follows_when_traffic_stops(pushed: Database) -> None:
    async with running(pushed, "a") as a:
        for i in range(1, 6):
            insert(pushed, i, i)
        await a.has(5)
        with pushed.connect() as connection:
            row = connection.execute("SELECT pg_current_snapshot()::text").fetchone()
        assert row is not None
        snapshot = Snapshot.parse(row[0])
        await until(lambda: a.feed.timeline.streamed_all(snapshot), "a sample after the last change")
        assert a.feed.timeline.position_at(snapshot) == a.feed.head


async def test_notices_reach_every_gateway_in_commit_order_and_count_nothing(pushed: Database) -> None:
    say = "SELECT pg_logical_emit_message(true, 'pgsync', (%s::jsonb || %s::jsonb)::text)"
    ours = json.dumps({"w": pushed.execute("SELECT pgsync_private.message_token()")[0][0]})
    async with running(pushed, "a") as a, running(pushed, "b") as b:
        heard: dict[str, list[tuple[str, object, int]]] = {"a": [], "b": []}
        a.feed.on_notice(lambda notice: heard["a"].append((notice.kind, notice.said.get("n"), a.feed.head)))
        b.feed.on_notice(lambda notice: heard["b"].append((notice.kind, notice.said.get("n"), b.feed.head)))
        start = a.feed.head
        pushed.execute(say, ('{"t":"k","n":1}', ours))  # a transaction without a change
        with pushed.connect() as connection, connection.transaction():
            connection.execute("INSERT INTO tasks (id, organization_id) VALUES ('t1', 'o1')")
            connection.execute(say, ('{"t":"p","n":2}', ours))
        with pushed.connect() as connection, connection.transaction(force_rollback=True):
            connection.execute(say, ('{"t":"p","n":3}', ours))
        pushed.execute("SELECT pg_logical_emit_message(false, 'pgsync', %s)", ('{"t":"p","n":4}',))
        pushed.execute("SELECT pg_logical_emit_message(true, 'other', %s)", ('{"t":"p","n":5}',))
        pushed.execute(say, ('{"t":"p","n":7}', '{"w":"guessed"}'))
        pushed.execute(say, ('{"t":"p","n":8}', "{}"))
        terminate(pushed, f"pgsync stream {a.feed.slot}")
        pushed.execute(say, ('{"t":"p","n":6}', ours))
        insert(pushed, 2, 2)
        await a.has(2)
        await b.has(2)
        wanted = [("k", 1, start), ("p", 2, start + 1), ("p", 6, start + 1)]
        assert heard == {"a": wanted, "b": wanted}
        assert a.changes == b.changes
        assert not any(transaction.notices for transaction in a.transactions)


async def test_database_without_an_install_is_refused(server_database: Database) -> None:
    feed = recorded(server_database, "a").feed
    with pytest.raises((psycopg.errors.InvalidSchemaName, PublicationMissingError)):
        await feed.start()


@pytest.fixture
def server_database(pushed: Database) -> Iterator[Database]:
    """A database without pgsync, on a server that has its roles."""
    created = pushed.server.create_database()
    yield created
    created.drop()


async def test_slot_that_a_crash_put_back_goes_on_at_the_next_checkpoint(pushed: Database) -> None:
    async with running(pushed, "a") as a:
        insert(pushed, 1, 5)
        await a.has(5)
        epoch = a.feed.epoch
    # as after a crash: where the slot is now, nothing was ever acknowledged
    pushed.execute(
        "DELETE FROM pgsync_private.checkpoint WHERE lsn ="
        " (SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = 'pgsync_a')"
    )
    async with running(pushed, "a") as again:
        insert(pushed, 6, 7)
        await again.has(2)
        assert again.feed.epoch == epoch
        assert [(sync_id, row) for sync_id, *_, row in again.changes][-2:] == [
            (a.changes[-1][0] + 1, "t6"),
            (a.changes[-1][0] + 2, "t7"),
        ]
