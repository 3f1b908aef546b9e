"""A transaction that is in the log, and that reads do not see yet: with synchronous replication this lasts.

Nothing of it is lost, repeated or overwritten, whenever a client comes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from tests import postgres
from tests.acceptance.conftest import Client, World, new_key, until

TASK = "/api/v1/models/tasks/t1"


@contextlib.asynccontextmanager
async def held_back(world: World, statement: str) -> AsyncIterator[asyncio.Event]:
    """Runs the statement in a transaction that is flushed and becomes visible only when the event is set."""
    database = world.database
    name = database.name

    def wait_for_standbys(names: str) -> None:
        database.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
        database.execute("SELECT pg_reload_conf()")

    def run() -> None:
        with database.connect() as connection:
            connection.execute("SET application_name = 'held back'; SET synchronous_commit = on")
            connection.execute(statement.encode())

    async def hangs() -> bool:
        waiting = "SELECT FROM pg_stat_activity WHERE application_name = 'held back' AND wait_event = 'SyncRep'"
        return bool(await asyncio.to_thread(database.execute, waiting))

    released = asyncio.Event()
    database.execute(f"ALTER DATABASE {name} SET synchronous_commit = local")
    wait_for_standbys("nobody")
    running: asyncio.Task[None] | None = None
    try:
        running = asyncio.create_task(asyncio.to_thread(run))
        await until(hangs, "the commit waits for its standby")
        yield released
    finally:
        wait_for_standbys("")
        if running is not None:
            await running
        database.execute("ALTER SYSTEM RESET synchronous_standby_names")
        database.execute("SELECT pg_reload_conf()")


@pytest.fixture(autouse=True)
def own_server(server: postgres.Server) -> None:
    if not server.is_ours:
        pytest.skip("changes settings of a whole server, which is somebody's")


async def release(world: World) -> None:
    """Lets the commit through, and waits until everybody sees it."""
    world.database.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
    world.database.execute("SELECT pg_reload_conf()")

    async def gone() -> bool:
        busy = "SELECT FROM pg_stat_activity WHERE application_name = 'held back' AND state = 'active'"
        return not await asyncio.to_thread(world.database.execute, busy)

    await until(gone, "the commit is through")


async def test_bootstrap_taken_meanwhile_gets_the_change_once(world: World, client: Client) -> None:
    await client.create("tasks", "t1", {"title": "old"})
    async with held_back(world, "UPDATE tasks SET title = 'new' WHERE id = 't1'"), client.socket() as early:
        await early.sync()
        async with client.socket() as late:
            await late.send("bootstrap_request", {})
            taken = await late.wait_for("bootstrap_response")
            assert [row["title"] for row in taken["models"]["Task"]] == ["old"]
            over_http = (await client.get("/api/sync/bootstrap")).json
            assert [row["title"] for row in over_http["models"]["Task"]] == ["old"]
            await release(world)
            await client.update("tasks", "t1", {"priority": 1})
            seen = await late.deltas(2)
            assert [(delta["data"].get("title"), delta["data"]["priority"]) for delta in seen] == [
                ("new", 0),
                ("new", 1),
            ]
            # And who takes the snapshot over HTTP continues from its position.
            async with client.socket() as third:
                answer = await third.sync(over_http["lastSyncId"])
                assert [delta["id"] for delta in answer["deltas"]] == [delta["id"] for delta in seen]
        assert await client.row("tasks", "t1") | {"title": "new", "priority": 1} == await client.row("tasks", "t1")


async def test_write_on_what_was_read_meanwhile_is_stale_afterwards(world: World, client: Client) -> None:
    await client.create("tasks", "t1", {"title": "old"})
    async with held_back(world, "UPDATE tasks SET title = 'new' WHERE id = 't1'"), client.socket() as socket:
        await socket.sync()

        async def streamed() -> bool:
            return int(await client.head()) >= 3

        await until(streamed, "the change is in the stream")
        read = (await client.get(TASK)).json
        assert read["data"]["title"] == "old"
        listed = (await client.get("/api/v1/models/tasks")).json
        assert [row["title"] for row in listed["data"]] == ["old"]
        await release(world)
        for stamp in (read["stamp"], listed["stamp"], listed["evidence"][0]["stamp"]):
            body = {"data": {"title": "mine"}, "readAt": stamp, "onStale": "reject"}
            refused = await client.call("PATCH", TASK, body, Idempotency_Key=new_key())
            assert (refused.status, refused.json["code"]) == (409, "stale_context")
        fresh = (await client.get(TASK)).json
        assert fresh["data"]["title"] == "new"
        body = {"data": {"title": "mine"}, "readAt": fresh["stamp"], "onStale": "reject"}
        assert (await client.call("PATCH", TASK, body, Idempotency_Key=new_key())).status == 200
