"""The stream goes on after a failover: from PostgreSQL 17 on a standby has a copy of the slot, and of the numbers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgsync.dev.embedded import EmbeddedPostgres, program_version
from pgsync.push import push
from pgsync.schema import Model, Schema
from tests.integration.stream_support import LISTENER, running, until
from tests.postgres import Database, Server, own_server, server_home


class Task(Model):
    title: str = ""


@contextlib.contextmanager
def standby_of(primary: EmbeddedPostgres, data_dir: Path) -> Iterator[Server]:
    """A copy that follows, with the copies of slots that are to outlive a failover."""
    given = conninfo_to_dict(primary.dsn())
    address = ("-h", str(given["host"]), "-p", str(given["port"]), "-U", str(given["user"]))
    data_dir.mkdir(mode=0o700)
    primary._account.own(data_dir)
    said = primary._account.run(
        primary.bin_dir / "pg_basebackup", *address, "-D", data_dir, "-C", "-S", "standby", "-c", "fast", "-X", "stream"
    )
    assert said.returncode == 0, said.stderr
    for copied in data_dir.glob(".s.PGSQL.*"):  # the socket's lock file is in the data directory
        copied.unlink()
    signal = data_dir / "standby.signal"
    signal.touch()
    primary._account.own(signal)
    settings = {
        "primary_conninfo": make_conninfo(primary.dsn()),
        "primary_slot_name": "standby",
        "hot_standby_feedback": "on",
        "sync_replication_slots": "on",
    }
    standby = EmbeddedPostgres(data_dir, primary.bin_dir, settings=settings)
    try:
        standby.start()
        yield Server("standby", program_version(primary.bin_dir), standby.dsn(), standby.bin_dir, trusts_roles=True)
    finally:
        standby.stop(immediately=True)


async def test_stream_goes_on_at_the_standby_with_the_same_number_line(server: Server) -> None:
    if server.major < 17:
        return  # no slot outlives a failover there: everybody bootstraps, as after any lost slot
    with server_home() as home, own_server(server) as (primary, first):
        before = Database(first, "postgres")
        push(before.dsn, Schema(Task))
        with standby_of(primary, home / "standby") as second:
            await fail_over(primary, before, Database(second, "postgres"))


async def fail_over(primary: EmbeddedPostgres, before: Database, after: Database) -> None:
    hosts = [conninfo_to_dict(database.dsn) for database in (before, after)]
    both = make_conninfo(
        before.dsn_as(LISTENER),
        host=",".join(str(host["host"]) for host in hosts),
        port=",".join(str(host["port"]) for host in hosts),
        target_session_attrs="read-write",
    )
    async with running(before, "a", conninfo=both, ring_bytes=1) as a:
        written = 0
        copied = "SELECT synced AND NOT temporary AND invalidation_reason IS NULL FROM pg_replication_slots"

        def is_copied() -> bool:
            nonlocal written
            written += 1  # the copy is good once the slot has moved past where the standby was
            before.execute("INSERT INTO tasks (id, organization_id) VALUES (%s, 'o1')", (f"t{written}",))
            before.execute("SELECT pg_log_standby_snapshot()")
            return after.execute(copied) == [(True,)]

        await until(is_copied, "the copy of the slot")
        await a.has(written)
        head = "SELECT sync_id FROM pgsync_private.checkpoint ORDER BY lsn DESC LIMIT 1"
        await until(lambda: after.execute(head) == [(a.feed.head,)], "the standby to have everything")
        epoch, seen = a.feed.epoch, list(a.changes)

        await asyncio.to_thread(primary.stop, immediately=True)
        after.execute("SELECT pg_promote()")
        await until(lambda: a.restarts == 2 and a.feed.is_connected, "the new primary")
        after.execute("INSERT INTO tasks (id, organization_id) VALUES ('after', 'o1')")
        await until(lambda: a.changes[-1][3] == "after", "a change of the new primary")
        assert a.feed.epoch == epoch
        assert a.changes[-1][0] == seen[-1][0] + 1
        repeated = a.changes[len(seen) : -1]
        assert repeated == seen[len(seen) - len(repeated) :]
