"""What the stream tests share: a small schema, a feed that records what it hands on, and waiting with a limit."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from pgsync.stream.feed import Feed
from pgsync.stream.ring import Held
from pgsync.stream.transaction import Transaction
from tests.postgres import Database

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
    failover: bool = True,
) -> Recorded:
    """A feed that is not started yet."""
    feed = Feed(
        database.dsn_as(LISTENER),
        deployment=deployment,
        ring_bytes=ring_bytes,
        ring_seconds=ring_seconds,
        checkpoint_seconds=checkpoint_seconds,
        heartbeat_seconds=heartbeat_seconds,
        failover=failover,
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
async def running(database: Database, deployment: str, **options: float) -> AsyncIterator[Recorded]:
    """A feed that has caught up, stopped at the end."""
    result = recorded(database, deployment, **options)  # type: ignore[arg-type]  # bytes are an int all the same
    async with asyncio.timeout(WAIT_SECONDS):
        await result.feed.start()
    try:
        yield result
    finally:
        await result.feed.stop()
