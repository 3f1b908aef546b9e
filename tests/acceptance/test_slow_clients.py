"""A client that stops reading costs the gateway its sockets' buffers and nobody else anything.

`PGSYNC_TEST_FLOW_MB` is how much flows past it: 24 here, many times what may be kept; 1,000 is the promise.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter

import aiohttp
import pytest

from pgsync.gateway import serve
from pgsync.gateway.socket import Socket as Served
from pgsync.stream.frames import PART_FRAME_BYTES
from pgsync.stream.route import SHARED_BATCHES_BYTES
from tests.acceptance.conftest import World, config_of
from tests.postgres import Database

FLOW_MB = int(os.environ.get("PGSYNC_TEST_FLOW_MB", "24"))
RING_BYTES = 4 << 20
BUFFER_BYTES = 1 << 20


def unsent_bytes(served: Served) -> int:
    """What the gateway keeps for a socket that does not take it."""
    request = served._response._req
    assert request is not None
    assert request.transport is not None
    return int(request.transport.get_write_buffer_size())


async def test_client_that_stops_reading_costs_its_buffers_and_nobody_else_anything(
    pushed: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[Served] = []
    run = Served.run

    async def remember(self: Served) -> None:
        served.append(self)
        await run(self)

    monkeypatch.setattr(Served, "run", remember)
    config = config_of(pushed, ring_bytes=RING_BYTES)
    async with serve(config) as gateway, aiohttp.ClientSession() as session:
        world = World(gateway, pushed, session)
        client, stranger = world.client(), world.client("globex")
        async with client.socket() as stuck, client.socket() as reader, stranger.socket() as other:
            await stuck.sync()
            await reader.sync()
            await other.sync()
            insert = (
                "INSERT INTO tasks (organization_id, id, title)"
                " SELECT %s, 'big' || i, '' FROM generate_series(1, 100) AS i"
            )
            pushed.execute(insert, ("acme",))
            await reader.deltas(100)

            def flow(number: int) -> None:
                """A transaction of one megabyte, and one of another organization."""
                update = "UPDATE tasks SET title = repeat(md5(id || %s), 320) WHERE organization_id = 'acme'"
                pushed.execute(update, (number,))
                pushed.execute(
                    "INSERT INTO tasks (organization_id, id, title) VALUES ('globex', %s, '')", (f"g{number}",)
                )

            slowest, most_unsent, most_held = 0.0, 0, 0
            for number in range(FLOW_MB):
                await asyncio.to_thread(flow, number)
                began = time.monotonic()
                assert (await other.deltas(1))[0]["modelId"] == f"g{number}"
                slowest = max(slowest, time.monotonic() - began)
                assert len(await reader.deltas(100)) == 100
                most_unsent = max(most_unsent, *(unsent_bytes(each) for each in served))
                most_held = max(most_held, gateway.feed.ring.size_bytes + gateway.feed.router.shared_bytes)
            assert most_unsent < BUFFER_BYTES
            assert most_held < RING_BYTES + SHARED_BATCHES_BYTES + (4 << 20)
            assert slowest < 2, "generous: this machine may be busy"
            while "requiresBootstrap" not in await stuck.wait_for("sync_response"):
                pass  # the end of a transaction that it had got whole
            pushed.execute(insert.replace("big", "last"), ("acme",))
            assert {delta["actionType"] for delta in await stuck.deltas(100)} == {"I"}


async def test_large_transaction_takes_nobody_elses_turn_on_the_event_loop(
    pushed: Database, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much waits, a socket is given a frame or two, and then everybody else has a turn."""
    turn, rows = 0, 10_000
    sent: Counter[int] = Counter()
    send = Served._send

    async def note(self: Served, frame: bytes) -> None:
        sent[turn] += len(frame)
        await send(self, frame)

    async def beat() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(Served, "_send", note)
    async with world.client().socket() as reader:
        await reader.sync()
        beating = asyncio.create_task(beat())
        await asyncio.to_thread(
            pushed.execute,
            "INSERT INTO tasks (organization_id, id, title)"
            " SELECT 'acme', 'big' || i, '' FROM generate_series(1, %s::int) AS i",
            (rows,),
        )
        deltas = 0
        while deltas < rows:
            deltas += len((await reader.wait_for("delta"))["deltas"])
        beating.cancel()
    assert sum(sent.values()) > 20 * PART_FRAME_BYTES
    assert max(sent.values()) < 2 * PART_FRAME_BYTES
