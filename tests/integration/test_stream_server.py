"""The feed and a server that fails it: crashes, log that was removed, settings that do not suffice.

Each test has a server of its own, made from the programs of the run's server.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgsync.dev.embedded import EmbeddedPostgres, bundled_bin_dir
from pgsync.push import push
from pgsync.schema import Model, Schema
from pgsync.stream.connect import Replication, WalLevelError
from tests.integration.stream_support import recorded, running, until
from tests.postgres import Database, Server


class Task(Model):
    title: str = ""


TASKS = Schema(Task)


@contextlib.contextmanager
def server_of_its_own(server: Server, **settings: str) -> Iterator[tuple[EmbeddedPostgres, Database]]:
    home = Path(tempfile.mkdtemp(prefix="pgsync-test-", dir="/tmp"))
    home.chmod(0o755)
    postgres = EmbeddedPostgres(home / "data", server.bin_dir or bundled_bin_dir(), settings=settings)
    try:
        postgres.start()
        own = Server("own", server.version, postgres.dsn(), postgres.bin_dir, trusts_roles=True)
        yield postgres, Database(server=own, name="postgres")
    finally:
        postgres.stop(immediately=True)
        shutil.rmtree(home, ignore_errors=True)


def insert(database: Database, first: int, last: int) -> None:
    for i in range(first, last + 1):
        database.execute("INSERT INTO tasks (id, organization_id) VALUES (%s, 'o1')", (f"t{i}",))


async def test_feed_outlives_a_crash_of_the_server(server: Server) -> None:
    with server_of_its_own(server) as (postgres, database):
        push(database.dsn, TASKS)
        async with running(database, "a") as a:
            insert(database, 1, 5)
            await a.has(5)
            await asyncio.to_thread(postgres.stop, immediately=True)
            await until(lambda: not a.feed.is_connected, "the feed to notice")
            assert await a.feed.confirmed("1-0", 10) is None
            await asyncio.to_thread(postgres.start)
            insert(database, 6, 8)
            await a.has(8)
            await until(lambda: a.feed.is_connected, "the feed to be back")
            assert [row for *_, row in a.changes] == [f"t{i}" for i in range(1, 9)]
            assert [sync_id for sync_id, *_ in a.changes] == list(range(a.changes[0][0], a.changes[0][0] + 8))
            assert a.restarts == 1
        async with running(database, "a") as again:
            assert again.changes == a.changes


async def test_slot_whose_log_was_removed_is_made_anew(server: Server) -> None:
    limits = {"max_slot_wal_keep_size": "1MB", "max_wal_size": "32MB", "min_wal_size": "32MB"}
    with server_of_its_own(server, **limits) as (_, database):
        push(database.dsn, TASKS)
        async with running(database, "a") as before:
            insert(database, 1, 5)
            await before.has(5)
        for _ in range(4):
            database.execute("SELECT pg_logical_emit_message(false, 'test', repeat('x', 20000000))")
            database.execute("SELECT pg_switch_wal()")
            database.execute("CHECKPOINT")
        assert database.execute("SELECT wal_status FROM pg_replication_slots") == [("lost",)]
        async with running(database, "a") as after:
            insert(database, 6, 6)
            await after.has(1)
            assert [row for *_, row in after.changes] == ["t6"]
            assert after.changes[0][0] > before.changes[-1][0] + 1
            assert after.feed.epoch != before.feed.epoch


async def test_server_without_logical_decoding_is_refused_with_the_remedy(server: Server) -> None:
    with server_of_its_own(server, wal_level="replica") as (_, database):
        push(database.dsn, TASKS)
        with pytest.raises(WalLevelError) as caught:
            await recorded(database, "a").feed.start()
        assert "wal_level" in caught.value.hint
        replication = await Replication.connect(database.dsn, application_name="test")
        try:
            with pytest.raises(WalLevelError):
                await replication.create_slot("pgsync_a")
        finally:
            await replication.close()
