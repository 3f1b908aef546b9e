"""The feed and a server that fails it: crashes, log that was removed, settings that do not suffice.

Each test has a server of its own, made from the programs of the run's server.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import signal
from collections.abc import Iterator

import orjson
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgsync import log
from pgsync.dev.embedded import EmbeddedPostgres
from pgsync.push import push
from pgsync.schema import Model, Schema
from pgsync.stream import source
from pgsync.stream.connect import (
    LoginRefusedError,
    Replication,
    ReplicationRightError,
    ServerFullError,
    SynchronousStandbyError,
    WalLevelError,
)
from pgsync.stream.listener import Listener
from pgsync.stream.ring import Fallen
from pgsync.stream.source import application_name
from pgsync.stream.timeline import Snapshot
from tests.integration.stream_support import LISTENER, Viewer, recorded, running, until
from tests.postgres import Database, Server, own_server


class Task(Model):
    title: str = ""


TASKS = Schema(Task)


@contextlib.contextmanager
def server_of_its_own(server: Server, **settings: str) -> Iterator[tuple[EmbeddedPostgres, Database]]:
    with own_server(server, **settings) as (postgres, own):
        yield postgres, Database(server=own, name="postgres")


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


async def test_prepared_and_large_transactions_arrive_when_they_are_committed(server: Server) -> None:
    # An impatient server: it has to be answered in the middle of the large one.
    with server_of_its_own(server, max_prepared_transactions="4", wal_sender_timeout="500ms") as (_, database):
        push(database.dsn, TASKS)
        async with running(database, "a") as a:
            viewer = Viewer(a.feed)
            with database.connect(autocommit=False) as connection:
                connection.execute("INSERT INTO tasks (id, organization_id) VALUES ('kept', 'o1')")
                connection.execute("SAVEPOINT s; INSERT INTO tasks (id, organization_id) VALUES ('sub', 'o1')")
                connection.execute("PREPARE TRANSACTION 'kept'")
            with database.connect(autocommit=False) as connection:
                connection.execute("INSERT INTO tasks (id, organization_id) VALUES ('gone', 'o1')")
                connection.execute("PREPARE TRANSACTION 'gone'")
            insert(database, 1, 1)
            await a.has(1)
            with database.connect() as other:
                row = other.execute("SELECT pg_current_snapshot()::text").fetchone()
            assert row is not None
            before = Snapshot.parse(row[0])
            database.execute("COMMIT PREPARED 'kept'")
            database.execute("ROLLBACK PREPARED 'gone'")
            insert(database, 2, 2)
            await viewer.sees(database)
            assert [change[3] for change in a.changes] == ["t1", "kept", "sub", "t2"]
            assert not before.sees(a.transactions[1].xid), "it was prepared, not yet there"
            late = Viewer(a.feed)
            late.session.start_from_snapshot(before)
            late.read()
            assert [delta["modelId"] for delta in late.deltas] == ["kept", "sub", "t2"]

            with database.connect(autocommit=False) as connection:
                rows = "SELECT 'r' || i, 'o1' FROM generate_series(1, 20000) AS i"
                connection.execute(f"INSERT INTO tasks (id, organization_id) {rows}".encode())
                connection.execute("PREPARE TRANSACTION 'large'")
            database.execute("COMMIT PREPARED 'large'")
            await viewer.sees(database)
            assert a.restarts == 1
            assert [change[0] for change in a.changes] == list(range(a.changes[0][0], a.feed.head + 1))


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


SMALL = {"max_slot_wal_keep_size": "1MB", "max_wal_size": "32MB", "min_wal_size": "32MB"}


def write_log(database: Database, times: int, *, size_bytes: int = 20_000_000) -> None:
    """So much log each time, up to the end of a segment, and a checkpoint, which removes what no slot may keep."""
    for _ in range(times):
        database.execute("SELECT pg_logical_emit_message(false, 'test', repeat('x', %s))", (size_bytes,))
        database.execute("SELECT pg_switch_wal()")
        database.execute("CHECKPOINT")


async def test_slot_invalidated_under_a_connected_gateway_is_made_anew_in_seconds(server: Server) -> None:
    with server_of_its_own(server, **SMALL) as (_, database):
        push(database.dsn, TASKS)
        async with running(database, "a") as a:
            insert(database, 1, 5)
            await a.has(5)
            epoch = a.feed.epoch
            with database.connect(autocommit=False) as connection:  # no slot gets past a transaction that is open
                connection.execute("INSERT INTO tasks (id, organization_id) VALUES ('open', 'o1')")
                await asyncio.to_thread(write_log, database, 4)
            await until(lambda: a.restarts == 2 and a.feed.is_connected, "another slot")
            insert(database, 6, 6)
            await a.has(6)
            assert a.changes[-1][3] == "t6"
            assert a.changes[-1][0] > a.changes[-2][0] + 1
            assert a.feed.epoch != epoch
            with pytest.raises(Fallen):
                a.feed.ring.locate(a.changes[4][0])


async def test_gateway_that_keeps_up_never_loses_its_slot_to_what_its_ring_holds(server: Server) -> None:
    limits = SMALL | {"max_slot_wal_keep_size": "64MB"}
    with server_of_its_own(server, **limits) as (_, database):
        push(database.dsn, TASKS)
        async with running(database, "a", ring_seconds=3600) as a:
            room = "SELECT safe_wal_size > 20000000 FROM pg_replication_slots"  # for the next segment
            for i in range(1, 13):
                insert(database, i, i)
                await a.has(i)
                await asyncio.to_thread(write_log, database, 1, size_bytes=5_000_000)
                await until(lambda: database.execute(room) == [(True,)], "the slot to be moved on")
            assert a.restarts == 1
            assert database.execute("SELECT wal_status <> 'lost' FROM pg_replication_slots") == [(True,)]
            assert [row for *_, row in a.changes] == [f"t{i}" for i in range(1, 13)]
            a.feed.ring.locate(a.changes[0][0])


async def test_what_keeps_a_gateway_from_the_log_is_told_with_its_remedy(server: Server) -> None:
    with server_of_its_own(server, max_wal_senders="1", max_replication_slots="1") as (_, database):
        push(database.dsn, TASKS)

        unknown = recorded(database, "a")
        unknown.feed._conninfo = make_conninfo(database.dsn, user="nobody")
        with pytest.raises(LoginRefusedError, match="nobody") as login:
            await unknown.feed.start()
        assert "pg_hba.conf" in login.value.hint

        database.execute(f"ALTER ROLE {LISTENER} NOREPLICATION")
        with pytest.raises(ReplicationRightError) as right:
            await recorded(database, "a").feed.start()
        assert f"ALTER ROLE {LISTENER} REPLICATION" in right.value.hint
        database.execute(f"ALTER ROLE {LISTENER} REPLICATION")

        other = await Replication.connect(database.dsn, application_name="another")
        try:
            with pytest.raises(ServerFullError) as senders:
                await recorded(database, "a").feed.start()
            assert "max_wal_senders" in senders.value.hint
        finally:
            await other.close()

        database.execute("SELECT pg_create_logical_replication_slot('another', 'pgoutput')")
        with pytest.raises(ServerFullError) as slots:
            await recorded(database, "a").feed.start()
        assert "max_replication_slots" in slots.value.hint
        database.execute("SELECT pg_drop_replication_slot('another')")

        for names in ("*", f'FIRST 1 (standby, "{application_name("pgsync_a")}")'):
            database.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
            database.execute("SELECT pg_reload_conf()")
            await until(
                lambda names=names: database.execute("SHOW synchronous_standby_names") == [(names,)],  # type: ignore[misc]
                "the setting",
            )
            with pytest.raises(SynchronousStandbyError) as waited:
                await recorded(database, "a").feed.start()
            assert "synchronous_standby_names" in waited.value.hint
        database.execute("ALTER SYSTEM RESET synchronous_standby_names")
        database.execute("SELECT pg_reload_conf()")
        await until(lambda: database.execute("SHOW synchronous_standby_names") == [("",)], "the setting")

        async with running(database, "a") as a:  # nothing was left behind that would be in the way
            insert(database, 1, 1)
            await a.has(1)


async def test_crash_does_not_take_back_the_id_that_a_number_line_begins_with(server: Server) -> None:
    """Else a transaction that gets it again, and stays open, would make every read look older than the line."""
    with server_of_its_own(server, synchronous_commit="off") as (_, database):
        push(database.dsn, TASKS)
        async with await Listener.connect(make_conninfo(database.dsn, user=LISTENER), application_name="x") as listener:
            ((writer,),) = database.execute("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'")
            os.kill(writer, signal.SIGSTOP)  # so that the log is on disk only as far as somebody has waited for it
            horizon = await listener.logged_xid()
            os.kill(writer, signal.SIGKILL)  # at which the server ends everything and begins again

        def later() -> int:
            with contextlib.suppress(psycopg.OperationalError):
                ((xid,),) = database.execute("SELECT pg_current_xact_id()::text::bigint")
                return int(xid)
            return 0

        await until(lambda: later() > 0, "the server to be back")
        assert later() > horizon + 1


async def test_running_gateway_leaves_a_server_that_begins_to_wait_for_it(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "WATCH_SECONDS", 0.1)
    with server_of_its_own(server) as (_, database):
        push(database.dsn, TASKS)
        out = io.StringIO()
        async with running(database, "a") as a:
            insert(database, 1, 1)
            await a.has(1)
            log.configure(format="json", stream=out)
            database.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            database.execute("SELECT pg_reload_conf()")
            await until(lambda: not a.feed.is_connected, "the gateway leaves the stream")
            senders = "SELECT count(*) FROM pg_stat_replication"
            await until(lambda: database.execute(senders) == [(0,)], "nobody is waited for")
            (said,) = {
                event["error"] for line in out.getvalue().splitlines() if "meaning" in (event := orjson.loads(line))
            }
            assert said == "SynchronousStandbyError"
            database.execute("ALTER SYSTEM RESET synchronous_standby_names")
            database.execute("SELECT pg_reload_conf()")
            insert(database, 2, 2)
            await a.has(2)


async def test_limits_of_the_slot_are_told_at_the_start(server: Server) -> None:
    settings = SMALL | ({"idle_replication_slot_timeout": "1d"} if server.major >= 18 else {})
    with server_of_its_own(server, **settings) as (_, database):
        push(database.dsn, TASKS)
        out = io.StringIO()
        log.configure(format="json", stream=out)
        try:
            async with running(database, "a", failover=False) as a:
                await until(lambda: a.feed.slot_state is not None, "the state of the slot")
                assert a.feed.slot_state is not None
                assert a.feed.slot_state.failover is (False if server.major >= 17 else None)
            async with running(database, "a") as a:
                await until(lambda: a.feed.slot_state is not None, "the state of the slot")
                assert a.feed.slot_state is not None
                assert a.feed.slot_state.failover is (True if server.major >= 17 else None)
        finally:
            log.configure(level="error")
        told = [line for line in map(orjson.loads, out.getvalue().splitlines()) if line["event"] == "slot_limits"]
        assert [line["keep_bytes"] for line in told] == [1 << 20] * 2
        assert {line["idle_seconds"] for line in told} == {86400 if server.major >= 18 else None}
        assert "every client bootstraps" in told[0]["meaning"]
