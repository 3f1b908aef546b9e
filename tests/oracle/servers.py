"""The real parts, each in a process of its own, and what can happen to them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp
import psycopg

from pgsync import names
from tests import postgres

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 20.0
_PGSYNC: Final = (sys.executable, "-c", "from pgsync.cli import main; main()")
SETTINGS: Final = {
    **postgres.SETTINGS,
    "max_prepared_transactions": "20",
    "wal_sender_timeout": "60s",
    # Small, so that a slot can be lost within a second.
    "min_wal_size": "32MB",
}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(slots=True)
class Gateway:
    """`pgsync serve` in a process of its own, with a slot named after its deployment."""

    database: postgres.Database
    deployment: str
    log: Path
    settings: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def slot(self) -> str:
        return names.slot_name(self.deployment)

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Starts the process; `ready` waits until it serves."""
        settings = {
            "database-url": self.database.dsn_as(names.GATEWAY),
            "listener-url": self.database.dsn_as(names.LISTENER),
            "port": str(self.port),
            "deployment": self.deployment,
            "log-format": "json",
            **self.settings,
        }
        arguments = [part for name, value in settings.items() for part in (f"--{name}", value)]
        with self.log.open("ab") as out:
            self.process = subprocess.Popen([*_PGSYNC, "serve", *arguments], stdout=out, stderr=out, env=os.environ)

    async def ready(self, session: aiohttp.ClientSession) -> None:
        """Waits until it serves and has caught up with the log."""
        async with asyncio.timeout(START_SECONDS):
            while True:
                if not self.is_running:
                    raise AssertionError(f"the gateway {self.deployment} ended:\n{self.tail()}")
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with session.get(f"{self.url}/api/health", timeout=aiohttp.ClientTimeout(5)) as response:
                        if response.status == 200 and (await response.json())["stream"]["connected"]:
                            return
                await asyncio.sleep(0.02)

    def kill(self) -> None:
        """Without a word."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(STOP_SECONDS)
            self.process = None

    async def stop(self) -> None:
        """As an operator does."""
        if self.process is not None:
            self.process.terminate()
            try:
                await asyncio.to_thread(self.process.wait, STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"the gateway {self.deployment} does not stop:\n{self.tail()}") from None
            self.process = None

    def tail(self) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-25:])


def terminate_streams(database: postgres.Database) -> int:
    """Ends every walsender of the database, as an administrator may; how many there were."""
    (row,) = database.execute(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_replication"
        " JOIN pg_replication_slots ON active_pid = pid WHERE database = current_database()"
    )
    return int(row[0])


async def invalidate_slots(database: postgres.Database, kept: str, poll: Callable[[], None]) -> int:
    """Has the server give up all slots of the database that lag, by `max_slot_wal_keep_size`, but not `kept`, which
    `poll` reads to the end; how many were lost.
    """
    behind = (
        "SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s"
        " AND pg_walfile_name(restart_lsn) < pg_walfile_name(pg_current_wal_lsn())"
    )
    lost = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database() AND wal_status = 'lost'"
    with database.connect() as connection:
        before = connection.execute(lost).fetchone()
        connection.execute("SELECT pg_logical_emit_message(true, 'oracle', 'a new segment'), pg_switch_wal()")
        async with asyncio.timeout(STOP_SECONDS):
            while True:
                connection.execute("CHECKPOINT")
                poll()
                found = connection.execute(behind, [kept]).fetchone()
                if found == (0,):
                    break
        connection.execute("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
        try:
            connection.execute("SELECT pg_reload_conf()")
            async with asyncio.timeout(STOP_SECONDS):
                while connection.execute("SHOW max_slot_wal_keep_size").fetchone() != ("1MB",):
                    await asyncio.sleep(0.01)
            connection.execute("CHECKPOINT")
        finally:
            connection.execute("ALTER SYSTEM RESET max_slot_wal_keep_size")
            connection.execute("SELECT pg_reload_conf()")
        after = connection.execute(lost).fetchone()
        assert before is not None
        assert after is not None
        return int(after[0]) - int(before[0])


async def drop_slot(database: postgres.Database, slot: str) -> bool:
    """Drops a slot under its reader; False when there is none, or when it cannot be had."""
    with database.connect() as connection:
        async with asyncio.timeout(STOP_SECONDS):
            while True:
                found = connection.execute(
                    "SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s", [slot]
                ).fetchone()
                if found is None:
                    return False
                if found[0] is not None:
                    connection.execute("SELECT pg_terminate_backend(%s)", [found[0]])
                with contextlib.suppress(psycopg.errors.ObjectInUse):
                    connection.execute("SELECT pg_drop_replication_slot(%s)", [slot])
                    return True
                await asyncio.sleep(0.005)
