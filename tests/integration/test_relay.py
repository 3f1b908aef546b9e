"""One process reads the slot for several feeds: the same sync ids for all, whoever comes, goes, or does not read."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from pgsync.names import PUBLICATION
from pgsync.push import push
from pgsync.schema import Model, Schema
from pgsync.stream.relay import Relay, RelaySource
from tests.integration.stream_support import LISTENER, WAIT_SECONDS, Recorded, recorded, terminate, until
from tests.integration.test_stream_feed import drop_used_slot, insert, insert_beyond_the_log, many_commits
from tests.postgres import Database


class Task(Model):
    title: str = ""


@pytest.fixture
def pushed(database: Database) -> Database:
    push(database.dsn, Schema(Task))
    return database


@dataclass
class Relayed:
    """A relay, and feeds of its workers."""

    database: Database
    relay: Relay
    stuck: list[int] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def worker(self, number: int, **options: float) -> AsyncIterator[Recorded]:
        """A feed that has caught up."""
        connect = partial(RelaySource.connect, str(self.relay.path), number)
        result = recorded(self.database, "a", connect=connect, **options)  # type: ignore[arg-type]
        async with asyncio.timeout(WAIT_SECONDS):
            await result.feed.start()
        try:
            yield result
        finally:
            await result.feed.stop()
            self.relay.release(number)


@contextlib.asynccontextmanager
async def relaying(
    database: Database, *, max_bytes: int = 1 << 26, stuck_seconds: float = 60
) -> AsyncIterator[Relayed]:
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        stuck: list[int] = []
        relay = Relay(
            database.dsn_as(LISTENER),
            deployment="a",
            path=Path(directory) / "relay",
            workers=2,
            max_bytes=max_bytes,
            on_stuck=stuck.append,
            publication=PUBLICATION,
            stuck_seconds=stuck_seconds,
        )
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await relay.start()
            yield Relayed(database, relay, stuck)
        finally:
            await relay.stop()


def last(worker: Recorded) -> str:
    """The row of its last change."""
    return worker.changes[-1][3] if worker.changes else ""


async def test_workers_of_one_slot_give_every_change_the_same_sync_id(pushed: Database) -> None:
    async with relaying(pushed) as relayed:
        writer = many_commits(pushed, 1, 500)
        async with relayed.worker(1) as a, relayed.worker(2) as b:
            await asyncio.to_thread(writer.wait)
            insert(pushed, 501, 600)
            await until(lambda: last(a) == "t600", "the last change")
            await until(lambda: b.changes[-1:] == a.changes[-1:], "the other worker")
            longest = max(a.changes, b.changes, key=len)
            for worker in (a, b):
                assert worker.changes == longest[-len(worker.changes) :]
            assert [row for *_, row in longest] == [f"t{i}" for i in range(601 - len(longest), 601)]
            assert a.feed.epoch == b.feed.epoch
            assert pushed.execute("SELECT count(*) FROM pg_replication_slots WHERE database = current_database()") == [
                (1,)
            ]


async def test_worker_that_comes_back_refills_its_ring_and_nobody_notices(pushed: Database) -> None:
    async with relaying(pushed) as relayed, relayed.worker(1) as a:
        async with relayed.worker(2) as before:
            for i in range(1, 6):
                insert(pushed, i, i)
            await a.has(5)
            await before.has(5)
        for i in range(6, 9):
            insert(pushed, i, i)
        async with relayed.worker(2) as after:
            insert(pushed, 9, 9)
            await a.has(9)
            await after.has(9)
            assert after.changes == a.changes
            assert before.changes == a.changes[:5]
            assert (a.restarts, after.restarts) == (1, 1)
            assert a.feed.epoch == after.feed.epoch


async def test_lost_connection_of_the_relay_is_found_again_without_gap_or_repetition(pushed: Database) -> None:
    async with relaying(pushed) as relayed, relayed.worker(1) as a, relayed.worker(2) as b:
        insert(pushed, 1, 3)
        await a.has(3)
        writer = many_commits(pushed, 4, 400)
        await a.has(50)
        terminate(pushed, "pgsync stream pgsync_a")
        await a.has(100)
        terminate(pushed, "pgsync relay pgsync_a")
        await asyncio.to_thread(writer.wait)
        for worker in (a, b):
            await worker.has(400)
            assert [row for *_, row in worker.changes] == [f"t{i}" for i in range(1, 401)]
            assert worker.restarts == 1
        assert a.changes == b.changes


async def test_slot_lost_under_the_workers_is_made_anew_and_they_agree_again(pushed: Database) -> None:
    async with relaying(pushed) as relayed, relayed.worker(1) as a, relayed.worker(2) as b:
        insert(pushed, 1, 3)
        await a.has(3)
        await b.has(3)
        epoch = a.feed.epoch
        await asyncio.to_thread(drop_used_slot, pushed, "pgsync_a")
        await until(lambda: a.feed.is_connected and b.feed.is_connected and a.restarts > 1 and b.restarts > 1, "both")
        insert(pushed, 4, 4)
        await a.has(4)
        await b.has(4)
        assert a.changes == b.changes
        assert a.changes[-1][0] > a.changes[-2][0] + 1
        assert a.feed.epoch == b.feed.epoch != epoch


async def test_row_that_the_server_cannot_send_stops_the_workers_not_for_long(pushed: Database) -> None:
    async with relaying(pushed) as relayed, relayed.worker(1) as a, relayed.worker(2) as b:
        insert(pushed, 1, 3)
        await a.has(3)
        await b.has(3)
        epoch = a.feed.epoch
        insert_beyond_the_log(pushed)
        await until(lambda: a.feed.is_connected and b.feed.is_connected and a.restarts > 1 and b.restarts > 1, "both")
        insert(pushed, 4, 4)
        await until(lambda: last(a) == last(b) == "t4", "the row after it")
        assert a.changes[-1] == b.changes[-1]
        assert a.changes[-1][0] > a.changes[-2][0] + 1
        assert a.feed.epoch == b.feed.epoch != epoch


async def test_slot_is_confirmed_as_far_as_the_slowest_worker(pushed: Database) -> None:
    confirmed = "SELECT confirmed_flush_lsn - '0/0' FROM pg_replication_slots WHERE database = current_database()"
    async with relaying(pushed) as relayed, relayed.worker(1, ring_bytes=1) as a:
        async with relayed.worker(2) as b:  # whose ring keeps everything
            ((before,),) = pushed.execute("SELECT pg_current_wal_lsn() - '0/0'")
            for i in range(1, 6):
                insert(pushed, i, i)
            await a.has(5)
            await b.has(5)
            stored = "SELECT count(*) FROM pgsync_private.checkpoint WHERE sync_id = %s"
            head = a.feed.head
            await until(lambda: pushed.execute(stored, [head]) != [(0,)], "a checkpoint")
            ((now,),) = pushed.execute(confirmed)
            assert now <= before
        rows = count(6)

        def has_moved() -> bool:
            insert(pushed, row := next(rows), row)  # a ring holds the newest, and a checkpoint comes now and then
            ((now,),) = pushed.execute(confirmed)
            return bool(now > before)

        await until(has_moved, "the confirmation of the one that is left")


async def test_worker_that_reads_nothing_is_given_up_and_the_others_go_on(pushed: Database) -> None:
    async with relaying(pushed, max_bytes=1 << 20, stuck_seconds=0.5) as relayed, relayed.worker(1) as a:
        deaf = await RelaySource.connect(str(relayed.relay.path), 2, None)  # type: ignore[arg-type]
        try:
            opened = await deaf.open()
            await deaf.start(opened.lsn)
            for i in range(1, 16):
                pushed.execute(
                    "INSERT INTO tasks (id, organization_id, title) VALUES (%s, 'o1', repeat('x', 1000000))", [f"t{i}"]
                )
            await a.has(15)
            assert relayed.stuck == [2]
            assert relayed.relay._backlog.size_bytes < 4 << 20
        finally:
            await deaf.close()
        assert a.restarts == 1


async def test_worker_that_starts_when_the_backlog_begins_later_counts_the_same(pushed: Database) -> None:
    async with relaying(pushed, max_bytes=1 << 16) as relayed, relayed.worker(1) as a:
        for first in range(0, 3000, 300):
            insert(pushed, first + 1, first + 300)
            await a.has(first + 300)
        async with relayed.worker(2) as b:
            insert(pushed, 3001, 3001)
            await until(lambda: last(b) == "t3001", "the last change")
            await a.has(3001)
            assert b.changes == a.changes[-len(b.changes) :]
            assert len(b.changes) < 3001
            assert b.feed.epoch == a.feed.epoch
            assert (a.restarts, b.restarts) == (1, 1)


async def test_log_is_read_again_when_nobody_can_count_from_where_it_is_held(pushed: Database) -> None:
    async with relaying(pushed, max_bytes=1 << 16) as relayed:
        async with relayed.worker(1) as a:
            for first in range(0, 1500, 300):
                insert(pushed, first + 1, first + 300)
                await a.has(first + 300)
        # as if it had been killed before it could store any of them
        pushed.execute(
            "DELETE FROM pgsync_private.checkpoint WHERE lsn > (SELECT confirmed_flush_lsn FROM pg_replication_slots"
            " WHERE database = current_database())"
        )
        assert relayed.relay._backlog.tail_lsn > relayed.relay._acknowledged_lsn
        async with relayed.worker(1) as again:
            assert again.changes == a.changes


async def test_value_larger_than_the_backlog_may_be_goes_through(pushed: Database) -> None:
    async with relaying(pushed, max_bytes=1 << 16) as relayed, relayed.worker(1) as a, relayed.worker(2) as b:
        for i in range(1, 4):
            pushed.execute(
                "INSERT INTO tasks (id, organization_id, title) VALUES (%s, 'o1', repeat('x', 3000000))", [f"t{i}"]
            )
        for worker in (a, b):
            await worker.has(3)
            found = [len(change.data or b"") > 3_000_000 for t in worker.transactions for change in t.changes]
            assert found == [True] * 3
