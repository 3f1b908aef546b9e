"""What memberships grant the participant of a live session, at the place in the stream where the session asks.

A session stops where it begins, and before each transaction that changes the memberships of its participant, whoever
made it and through whichever gateway. Here they are looked up, in a snapshot that sees that transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import orjson
import psycopg
from psycopg.pq.abc import PGresult

from pgsync.gateway.active_schema import ServedSchema
from pgsync.gateway.authenticate import Credential
from pgsync.gateway.connection import Call, Statement
from pgsync.gateway.database import Database, DatabaseUnavailableError
from pgsync.gateway.query import ModelReader
from pgsync.gateway.snapshot import BEGIN_READ, COMMIT, identify, snapshot_of
from pgsync.stream.delta import encode_delta
from pgsync.stream.feed import Feed
from pgsync.stream.frames import FRAME_BYTES, frame_of
from pgsync.stream.passage import Turn
from pgsync.stream.session import Session
from pgsync.stream.timeline import Snapshot
from pgsync.stream.transaction import UNKNOWN_ORIGIN, Change, Transaction

FIRST_WAIT_SECONDS: Final = 0.002
LAST_WAIT_SECONDS: Final = 0.1
RETRY_SECONDS: Final = 0.5
STREAMED_SECONDS: Final = 0.01
# More than this is not told row by row.
MOST_ROWS: Final = 2000
MOST_BYTES: Final = 4 << 20

Wants = Callable[[frozenset[str]], frozenset[str]]

_EDGES: Final = Statement(
    b"SELECT pgsync.edges_v1($1::jsonb), pg_catalog.pg_current_snapshot()::text", b"edges_and_snapshot"
)


@dataclass(frozen=True, slots=True)
class Looked:
    """The groups that all memberships of a participant grant, and the snapshot in which they do."""

    groups: frozenset[str]
    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Told:
    """What a change of memberships shows and hides: `frames` of deltas in the ids that are reserved behind it.

    `edges` are the groups of all memberships after it, `lost` those of the session that it took, `rows` are told, by
    model and id.
    """

    edges: frozenset[str]
    lost: frozenset[str]
    snapshot: Snapshot
    rows: frozenset[tuple[str, str]]
    frames: list[bytes]


class Memberships:
    """Looks memberships up for live sessions."""

    def __init__(self, database: Database, schema: ServedSchema, feed: Feed) -> None:
        self._database = database
        self._schema = schema
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

    async def tell(
        self, session: Session, credential: Credential, *, held: frozenset[str], wants: Wants, before: frozenset[str]
    ) -> Told | None:
        """The rows that come and go at the session's turn, None when they cannot be told one by one.

        `held` are the groups that it has besides, `wants` says which of those that memberships grant it wants, `before`
        which of them it has had. What comes is read as the caller; what goes as whom it was shown to, ids only.
        """
        turn = session.turn
        models = [model for model in self._schema.current.models if credential.may_read(model)]
        if turn is None or turn.transaction is None or any("actor.groups" in (model.rule or "") for model in models):
            return None
        readers = [self._schema.reader_of(model) for model in models]
        try:
            async with self._database.hold() as connection:
                found = looked((await connection.run([BEGIN_READ, edges_of(credential)]))[1])
                after = wants(found.groups) - held
                before -= held
                shown = [(r, call) for r in readers if (call := r.in_groups(after - before, MOST_ROWS)) is not None]
                hidden = [(r, call) for r in readers if (call := r.in_groups(before - after, MOST_ROWS)) is not None]
                calls = [call for _, call in shown]
                if hidden:
                    calls += [identify(credential.with_only(before - after)), *(call for _, call in hidden)]
                results = await connection.run([*calls, COMMIT])
        except (psycopg.Error, DatabaseUnavailableError):
            return None
        if not session.waits_at(turn) or not session.is_told_by(found.snapshot):
            return None
        telling = _Telling(turn.transaction)
        for (reader, _), result in zip(shown, results, strict=False):
            telling.add(reader, result, held | (before & after), is_shown=True)
        for (reader, _), result in zip(hidden, results[len(shown) + 1 :], strict=False):
            telling.add(reader, result, held | after, is_shown=False)
        if telling.is_too_much:
            return None
        self._feed.sample_soon()  # so that it is known soon when the stream has all of this
        return Told(found.groups, before - after, found.snapshot, frozenset(telling.rows), telling.frames())

    async def _look(self, credential: Credential) -> Looked:
        results = await self._database.run([BEGIN_READ, edges_of(credential), COMMIT])
        return looked(results[1])


class _Telling:
    """Deltas in the ids that are reserved behind a transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self.rows: set[tuple[str, str]] = set()
        self.is_too_much = False
        self._transaction = transaction
        self._origin = next((c.origin for c in transaction.changes if c.membership is not None), UNKNOWN_ORIGIN)
        self._next = transaction.last_sync_id - transaction.reserved + 1
        self._deltas: list[bytes] = []
        self._bytes = 0

    def add(self, reader: ModelReader, result: PGresult, kept: frozenset[str], *, is_shown: bool) -> None:
        """Rows that come or go, but for those that a group which was kept shows."""
        self.is_too_much = self.is_too_much or result.ntuples > MOST_ROWS
        for index in range(0 if self.is_too_much else result.ntuples):
            groups = reader.groups(result, index)
            row = reader.model.key, reader.row_id(result, index)
            if not kept.isdisjoint(groups) or row in self.rows:
                continue
            self.rows.add(row)
            data = reader.row_bytes(result, index) if is_shown else None
            change = Change(
                self._next, "I" if is_shown else "D", reader.model, row[1], None, groups, self._origin, None, None
            )
            delta = encode_delta(change, change.action, groups, self._transaction.committed_at, data)
            self._deltas.append(delta)
            self._next += 1
            self._bytes += len(delta)
            if self._next > self._transaction.last_sync_id or self._bytes > MOST_BYTES:
                self.is_too_much = True
                return

    def frames(self) -> list[bytes]:
        """As for any large transaction: several, and then its end is told."""
        frames: list[bytes] = []
        part: list[bytes] = []
        size = 0
        for delta in self._deltas:
            if part and size + len(delta) > FRAME_BYTES:
                frames.append(frame_of(part))
                part, size = [], 0
            part.append(delta)
            size += len(delta)
        return [*frames, frame_of(part)] if part else frames


def edges_of(credential: Credential) -> Call:
    """Asks, in a transaction with one snapshot, for the memberships of the caller: for `looked`."""
    return Call(_EDGES, (credential.identity_json,))


def looked(result: PGresult) -> Looked:
    """What `edges_of` was answered with."""
    found = orjson.loads(result.get_value(0, 0) or b"{}")
    return Looked(frozenset(edge["group"] for edge in found["edges"]), snapshot_of(result))
