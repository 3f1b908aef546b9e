"""What memberships grant the participant of a live session, at the place in the stream where the session asks.

A session stops where it begins, and before each transaction that changes the memberships of its participant, whoever
made it and through whichever gateway. Here they are looked up, in a snapshot that sees that transaction.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

import orjson
import psycopg
from psycopg.pq.abc import PGresult

from pgsync.gateway.authenticate import Credential
from pgsync.gateway.connection import Call, Statement
from pgsync.gateway.database import Database, DatabaseUnavailableError
from pgsync.gateway.snapshot import BEGIN_READ, COMMIT, snapshot_of
from pgsync.stream.feed import Feed
from pgsync.stream.session import Session, Turn
from pgsync.stream.timeline import Snapshot

FIRST_WAIT_SECONDS: Final = 0.002
LAST_WAIT_SECONDS: Final = 0.1
RETRY_SECONDS: Final = 0.5
STREAMED_SECONDS: Final = 0.01

_EDGES: Final = Statement(
    b"SELECT pgsync.edges_v1($1::jsonb), pg_catalog.pg_current_snapshot()::text", b"edges_and_snapshot"
)


@dataclass(frozen=True, slots=True)
class Looked:
    """The groups that all memberships of a participant grant, and the snapshot in which they do."""

    groups: frozenset[str]
    snapshot: Snapshot


class Memberships:
    """Looks memberships up for live sessions."""

    def __init__(self, database: Database, feed: Feed) -> None:
        self._database = database
        self._feed = feed

    async def look_up(
        self, session: Session, credential: Credential, *, patience_seconds: float | None = None
    ) -> Looked | None:
        """What the session's turn asks for; None when it is elsewhere meanwhile, or patience has come to its end.

        A transaction is in the stream before others see it, with synchronous replication long before; while that lasts,
        and while the database is away, the session waits, and nobody else.
        """
        turn = session.turn
        try:
            async with asyncio.timeout(patience_seconds):
                seconds = FIRST_WAIT_SECONDS
                while turn is not None and session.waits_at(turn):
                    try:
                        found = await self._look(credential)
                    except (psycopg.Error, DatabaseUnavailableError):
                        await asyncio.sleep(RETRY_SECONDS)
                        continue
                    if session.is_told_by(found.snapshot):
                        if not session.begins or await self._streamed(session, turn, found.snapshot):
                            return found
                        continue
                    await asyncio.sleep(seconds)
                    seconds = min(2 * seconds, LAST_WAIT_SECONDS)
        except TimeoutError:
            pass
        return None

    async def _streamed(self, session: Session, turn: Turn, snapshot: Snapshot) -> bool:
        """Waits until changes of memberships that this snapshot shows cannot be yet to come; False: it is elsewhere."""
        while session.waits_at(turn):
            if session.has_streamed(snapshot):
                return True
            self._feed.sample_soon()
            await asyncio.sleep(STREAMED_SECONDS)
        return False

    async def _look(self, credential: Credential) -> Looked:
        results = await self._database.run([BEGIN_READ, edges_of(credential), COMMIT])
        return looked(results[1])


def edges_of(credential: Credential) -> Call:
    """Asks, in a transaction with one snapshot, for the memberships of the caller: for `looked`."""
    return Call(_EDGES, (credential.identity_json,))


def looked(result: PGresult) -> Looked:
    """What `edges_of` was answered with."""
    found = orjson.loads(result.get_value(0, 0) or b"{}")
    return Looked(frozenset(edge["group"] for edge in found["edges"]), snapshot_of(result))
