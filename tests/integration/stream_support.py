"""What the stream tests share: a small schema, a feed that records what it hands on, and waiting with a limit."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import psycopg
from psycopg import sql

from pgsync.expression import Reader
from pgsync.models import Model
from pgsync.stream.connect import with_settings
from pgsync.stream.feed import Feed
from pgsync.stream.ring import Held
from pgsync.stream.session import Session
from pgsync.stream.source import Connect
from pgsync.stream.transaction import Transaction
from pgsync.values import row_encoder
from tests.postgres import Database

ROOT = Path(__file__).resolve().parents[2]
WAIT_SECONDS = 15.0
LISTENER = "pgsync_listener"


async def until(condition: Callable[[], bool], what: str) -> None:
    """Waits until the condition holds; fails after WAIT_SECONDS saying what was waited for."""
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while not condition():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"waited {WAIT_SECONDS:.0f} seconds for {what}") from None


def stored_head(database: Database) -> int:
    """The sync id of the newest checkpoint."""
    ((sync_id,),) = database.execute("SELECT sync_id FROM pgsync_private.checkpoint ORDER BY lsn DESC LIMIT 1")
    return int(sync_id)


def start_feed(database: Database, path: Path, ring_bytes: int) -> subprocess.Popen[str]:
    """A feed in a process of its own."""
    arguments = [database.dsn_as(LISTENER), "killed", str(path), str(ring_bytes)]
    command = [sys.executable, "-m", "tests.integration.feed_process", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def kill(process: subprocess.Popen[str]) -> None:
    """As kill -9 does it: no last word to anybody."""
    process.send_signal(signal.SIGKILL)
    process.communicate()


def terminate(database: Database, application_name: str) -> None:
    """The server ends these connections."""
    database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s", (application_name,)
    )


@dataclass(slots=True)
class Recorded:
    """A feed and everything that it has handed on."""

    feed: Feed
    transactions: list[Transaction] = field(default_factory=list)
    restarts: int = 0

    @property
    def changes(self) -> list[tuple[int, str, str, str]]:
        """(sync id, action, model key, row id) in stream order."""
        return [(c.sync_id, c.action, c.model.key, c.row_id) for t in self.transactions for c in t.changes]

    async def has(self, count: int) -> None:
        """Waits until there are that many changes."""
        await until(lambda: len(self.changes) >= count, f"{count} changes, there are {len(self.changes)}")


def recorded(
    database: Database,
    deployment: str,
    *,
    ring_bytes: int = 1 << 28,
    ring_seconds: float = 3600.0,
    checkpoint_seconds: float = 0.1,
    heartbeat_seconds: float = 0.05,
    tables_seconds: float = 3600.0,
    seal_seconds: float = 3600.0,
    failover: bool = True,
    connect: Connect | None = None,
    conninfo: str | None = None,
) -> Recorded:
    """A feed that is not started yet."""
    feed = Feed(
        conninfo or database.dsn_as(LISTENER),
        deployment=deployment,
        ring_bytes=ring_bytes,
        ring_seconds=ring_seconds,
        checkpoint_seconds=checkpoint_seconds,
        heartbeat_seconds=heartbeat_seconds,
        tables_seconds=tables_seconds,
        seal_seconds=seal_seconds,
        failover=failover,
        connect=connect,
    )
    result = Recorded(feed)

    def watch() -> None:
        result.restarts += 1
        wake_sessions = feed.ring.listener
        assert wake_sessions is not None

        def record(held: Held) -> None:
            result.transactions.append(held.transaction)
            wake_sessions(held)

        feed.ring.listener = record

    feed.on_restarted(watch)
    return result


@contextlib.asynccontextmanager
async def running(database: Database, deployment: str, **options: float | str) -> AsyncIterator[Recorded]:
    """A feed that has caught up, stopped at the end."""
    result = recorded(database, deployment, **options)  # type: ignore[arg-type]  # bytes are an int all the same
    async with asyncio.timeout(WAIT_SECONDS):
        await result.feed.start()
    try:
        yield result
    finally:
        await result.feed.stop()


def rows_of(database: Database, model: Model, *, organization: str | None = None) -> dict[str, dict[str, Any]]:
    """The rows of a model as a read gives them, by id; None for every organization."""
    columns = [field.column for field in model.fields]
    statement = sql.SQL("SELECT {} FROM {}").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier(model.namespace, model.table)
    )
    with psycopg.connect(with_settings(database.dsn)) as connection:
        result = connection.pgconn.exec_(statement.as_bytes(connection))
        found = [[result.get_value(i, j) for j in range(result.nfields)] for i in range(result.ntuples)]
    encode = row_encoder(model)
    rows = [orjson.loads(encode(row)) for row in found]
    return {str(row["id"]): row for row in rows if organization in (None, row.get("organizationId"))}


class Viewer:
    """A client of one organization: keeps the rows that the deltas say, and notes when it is told to bootstrap."""

    def __init__(
        self,
        feed: Feed,
        organization: str = "o1",
        *groups: str,
        reader: Reader | None = None,
        readable: frozenset[str] | None = None,
    ) -> None:
        self._feed = feed
        self.organization = organization
        self.session: Session = feed.router.open(
            organization, (f"org:{organization}", *groups), readable=readable, reader=reader
        )
        self.rows: dict[str, dict[str, dict[str, Any]]] = {}
        self.deltas: list[dict[str, Any]] = []
        self.ends: list[int] = []
        self.bootstraps = 0

    def read(self) -> None:
        """Applies everything that is there, as the contract says it (2.4)."""
        while self.session.is_behind:
            self.take()

    def take(self) -> None:
        """Applies the next of it, as much as comes at a time."""
        frames = self.session.take()
        self.ends += [end for end in self.session.ends if end is not None]
        for frame in frames:
            payload = orjson.loads(frame)["payload"]
            self.bootstraps += bool(payload.get("requiresBootstrap"))
            for delta in payload.get("deltas", [payload] if "actionType" in payload else []):
                self._apply(delta)

    def _apply(self, delta: dict[str, Any]) -> None:
        assert not self.deltas or delta["id"] > self.deltas[-1]["id"]
        self.deltas.append(delta)
        rows = self.rows.setdefault(delta["modelName"], {})
        match delta["actionType"]:
            case "I":
                rows[delta["modelId"]] = dict(delta["data"])
            case "U" if delta["modelId"] in rows:
                rows[delta["modelId"]] |= delta["data"]
            case "D":
                rows.pop(delta["modelId"], None)

    def is_told(self, times: int) -> bool:
        """Whether it has been told to bootstrap so often."""
        self.read()
        return self.bootstraps == times

    def load(self, database: Database) -> None:
        """Bootstraps: takes the rows that are there, and forgets what it had."""
        for model in self._feed.schema.models:
            self.rows[model.typename] = rows_of(database, model, organization=self.organization)

    async def sees(self, database: Database, *keys: str) -> None:
        """Waits until its rows of these models (all, if none is named) are those of the database."""
        models = [m for m in self._feed.schema.models if not keys or m.key in keys]
        expected = {m.typename: rows_of(database, m, organization=self.organization) for m in models}

        def equal() -> bool:
            self.read()
            return {name: self.rows.get(name, {}) for name in expected} == expected

        try:
            await until(equal, "the rows of the database")
        except AssertionError as error:
            wrong = {
                (name, row_id): (self.rows.get(name, {}).get(row_id), rows.get(row_id))
                for name, rows in expected.items()
                for row_id in {*rows, *self.rows.get(name, {})}
                if self.rows.get(name, {}).get(row_id) != rows.get(row_id)
            }
            raise AssertionError(f"rows of the client and of the database differ: {wrong}") from error
