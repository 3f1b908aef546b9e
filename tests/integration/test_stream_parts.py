"""A transaction larger than any buffer: every change once, in order, with one end, whatever is lost in the middle.

`PGSYNC_TEST_HUGE_ROWS` is how many rows it has: 20,000 here, which is several parts; 1,000,000 is the promise.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import orjson
import pytest

from pgsync.push import push
from pgsync.schema import Model, Schema
from pgsync.stream.group import PART_CHANGES
from pgsync.stream.ring import Fallen, Held
from tests.integration.stream_support import Viewer, kill, recorded, running, start_feed, stored_head, terminate, until
from tests.postgres import Database

ROWS = int(os.environ.get("PGSYNC_TEST_HUGE_ROWS", "20000"))


class Task(Model):
    title: str = ""


@pytest.fixture
def pushed(database: Database) -> Database:
    push(database.dsn, Schema(Task))
    return database


def insert_huge(database: Database, organization: str = "o1", rows: int = ROWS) -> None:
    """One transaction with the rows t1..t<rows>, and before its end one of another organization."""
    with database.connect() as connection, connection.transaction():
        connection.execute(
            "INSERT INTO tasks (organization_id, id) SELECT %s, 't' || i FROM generate_series(1, %s::int) AS i",
            (organization, rows),
        )
        connection.execute("INSERT INTO tasks (organization_id, id) VALUES ('small', 't')")


async def test_parts_are_followed_by_one_end_for_everybody(pushed: Database) -> None:
    async with running(pushed, "a") as a, running(pushed, "b") as b:
        viewer, small = Viewer(a.feed, "o1"), Viewer(a.feed, "small")
        start = a.feed.head
        heads: set[int] = set()
        wake = a.feed.ring.listener

        def watch(held: Held) -> None:
            assert wake is not None
            wake(held)
            heads.add(viewer.session.position)
            heads.add(a.feed.head)
            viewer.read()

        a.feed.ring.listener = watch
        insert_huge(pushed)
        pushed.execute("INSERT INTO tasks (organization_id, id) VALUES ('o1', 'after')")
        await viewer.sees(pushed)
        await small.sees(pushed)
        assert len(a.transactions) > ROWS // PART_CHANGES
        assert [part.is_last for part in a.transactions].count(True) == 2
        assert heads == {start, start + ROWS + 1, start + ROWS + 2}, "nobody stands inside of it"
        assert a.feed.timeline.evidence(start + 10).covers(a.transactions[0].xid) is False
        assert viewer.bootstraps == small.bootstraps == 0
        assert start + ROWS + 1 in viewer.ends
        await b.has(ROWS + 2)
        assert a.changes == b.changes
        await until(lambda: stored_head(pushed) == start + ROWS + 2, "a checkpoint after it")
        heads_of = pushed.execute("SELECT DISTINCT sync_id FROM pgsync_private.checkpoint WHERE sync_id > %s", (start,))
        assert {head for (head,) in heads_of} <= {start + ROWS + 1, start + ROWS + 2}


async def test_connection_lost_in_the_middle_goes_on_where_it_was(pushed: Database) -> None:
    async with running(pushed, "a") as a:
        viewer = Viewer(a.feed, "o1")
        wake = a.feed.ring.listener
        lost: list[int] = []

        def watch(held: Held) -> None:
            assert wake is not None
            wake(held)
            viewer.read()
            if not held.transaction.is_last and len(lost) < 2:
                lost.append(held.transaction.last_sync_id)
                terminate(pushed, f"pgsync stream {a.feed.slot}")

        a.feed.ring.listener = watch
        insert_huge(pushed)
        await viewer.sees(pushed)
        assert len(lost) == 2
        assert a.restarts == 1
        assert [sync_id for sync_id, *_ in a.changes] == list(range(a.changes[0][0], a.feed.head + 1))
        assert len(viewer.deltas) == ROWS, "nothing twice"
        assert viewer.session.position == a.feed.head


async def test_gateway_killed_in_the_middle_gives_the_same_ids_again(pushed: Database, tmp_path: Path) -> None:
    async with running(pushed, "killed"):
        pass
    first, second = tmp_path / "first", tmp_path / "second"
    process = start_feed(pushed, first, 1 << 28)
    assert process.stdout is not None
    process.stdout.readline()
    insert_huge(pushed)
    await until(lambda: first.exists() and first.stat().st_size > 0, "the first part")
    kill(process)
    process = start_feed(pushed, second, 1 << 28)
    try:
        await until(lambda: second.exists() and second.read_bytes().count(b"\n") == ROWS + 1, "the whole transaction")
    finally:
        kill(process)
    again = second.read_text().splitlines()
    assert len(set(again)) == ROWS + 1
    assert first.read_text().splitlines()[:-1] == again[: first.read_text().count("\n")][:-1]


async def test_larger_than_the_ring_harms_only_who_does_not_read_along(pushed: Database) -> None:
    async with running(pushed, "a", ring_bytes=4 << 20) as a:
        reads, sleeps, other = Viewer(a.feed, "o1"), Viewer(a.feed, "o1"), Viewer(a.feed, "small")
        wake = a.feed.ring.listener
        largest = 0
        late: list[Viewer] = []

        def watch(held: Held) -> None:
            nonlocal largest
            assert wake is not None
            wake(held)
            reads.read()
            largest = max(largest, a.feed.ring.size_bytes)
            if not a.feed.ring.holds_head and not late:
                late.append(Viewer(a.feed, "o1"))

        a.feed.ring.listener = watch
        insert_huge(pushed)
        await reads.sees(pushed)
        await other.sees(pushed)
        assert largest < 8 << 20
        assert (reads.bootstraps, len(reads.deltas)) == (0, ROWS)
        with pytest.raises(Fallen):
            sleeps.read()
        (came,) = late
        assert came.session.starts_after > reads.deltas[0]["id"], "who comes in the middle has not got all of it"
        with pytest.raises(Fallen):
            came.session.start_after(reads.deltas[0]["id"] - 1)
        for viewer in (sleeps, came):
            viewer.session.start_at_head()
            viewer.load(pushed)
        pushed.execute("UPDATE tasks SET title = 'after' WHERE id = 't7'")
        for viewer in (reads, sleeps, came):
            await viewer.sees(pushed)


async def test_who_reads_along_is_not_outrun_by_the_stream(pushed: Database) -> None:
    """Frames take longer to make than the log to read: as equals on the event loop, one would fall off the ring."""
    async with running(pushed, "a", ring_bytes=4 << 20) as a:
        viewer = Viewer(a.feed, "o1")

        async def follow() -> None:
            while await viewer.session.ready():
                viewer.take()
                if viewer.session.is_behind:
                    await a.feed.turns.between_frames()

        following = asyncio.create_task(follow())
        await asyncio.to_thread(insert_huge, pushed)
        await until(lambda: following.done() or len(viewer.deltas) == ROWS, "all deltas")
        assert not following.done(), following.exception()
        following.cancel()
        assert viewer.bootstraps == 0


async def test_stream_of_others_goes_on_while_it_passes(pushed: Database) -> None:
    """The event loop is given back every few milliseconds."""
    async with running(pushed, "a") as a:
        viewer = Viewer(a.feed, "o1")
        waits: list[float] = []

        async def beat() -> None:
            while True:
                before = time.monotonic()
                await asyncio.sleep(0)
                waits.append(time.monotonic() - before)

        beating = asyncio.create_task(beat())
        await asyncio.to_thread(insert_huge, pushed)
        await a.has(ROWS + 1)
        beating.cancel()
        assert len(waits) > ROWS // 200
        assert sorted(waits)[len(waits) * 99 // 100] < 0.1, "generous: this machine may be busy"
        await viewer.sees(pushed)


async def test_cursor_from_the_middle_leads_back_to_the_beginning(pushed: Database) -> None:
    feed = recorded(pushed, "a")
    await feed.feed.start()
    viewer = Viewer(feed.feed, "o1")
    before = viewer.session.cursor()
    insert_huge(pushed)
    await feed.has(PART_CHANGES)
    frames = viewer.session.take(100_000)
    assert viewer.session.is_inside
    assert viewer.session.cursor() == before
    assert viewer.session.ends == [None] * len(frames)
    await feed.feed.stop()

    again = recorded(pushed, "a")
    await again.feed.start()
    resumed = Viewer(again.feed, "o1")
    resumed.session.start_after(viewer.session.position)
    await resumed.sees(pushed)
    assert resumed.deltas[0]["id"] == orjson.loads(frames[0])["payload"]["deltas"][0]["id"]
    await again.feed.stop()
