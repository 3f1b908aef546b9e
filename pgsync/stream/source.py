"""Where a feed gets the messages of the log from: the interface, and the slot that one gateway reads for itself.

A source is good for one connection; a feed that loses it connects to another and goes on where it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol, Self

import orjson
import psycopg

from pgsync import log
from pgsync.log import Event
from pgsync.models import EMPTY
from pgsync.names import MAX_BYTES, MESSAGE_PREFIX
from pgsync.stream.connect import (
    ConnectionLostError,
    Replication,
    SlotActiveError,
    SynchronousStandbyError,
    System,
    format_lsn,
)
from pgsync.stream.decode import Commit, LogicalMessage, decode_message
from pgsync.stream.listener import Listener
from pgsync.stream.server import check_synchronous, explain_refusal, tell_limits

WATCH_SECONDS: Final = 10.0
# What the server says of a value that is too large (an internal error, a program limit) and of an unknown publication.
UNDECODABLE: Final = frozenset({"XX000", "54000", "42704"})
MAX_FAILURES: Final = 3
# The first version whose stream notices what is attached to a partitioned table, and what is detached from it.
NOTICES_PARTITIONS: Final = 150000


@dataclass(frozen=True, slots=True)
class Opened:
    """What a source can give: everything that commits at or after `lsn` in the log of `system`.

    `new_under` is None for a place that was there before; for a slot that was made just now, the version of the schema
    that was active when it was (0: none).
    """

    system: System
    lsn: int
    new_under: int | None = None


class Source(Protocol):
    """Messages of one slot, in the order of `pgoutput`. One task at a time may await it."""

    @property
    def sent_lsn(self) -> int:
        """Everything that committed before it and concerns us has been handed out by `read`."""

    async def open(self) -> Opened:
        """Where the slot is; makes one where there is none that can be read. Before `start`."""

    async def renew(self, reason: str | None = None) -> Opened:
        """Another slot in place of one whose position says nothing to us. After `open`, before `start`.

        `reason` is for the log, where the slot does not say itself what is wrong with it.
        """

    async def start(self, from_lsn: int) -> None:
        """Begins with the first transaction that commits at or after `from_lsn`, which `open` must have covered.

        Raises ConnectionLostError when it is not covered any more.
        """

    async def read(self) -> list[bytes]:
        """The next messages, each whole; waits for one or for `sent_lsn` to move, which an empty list means.

        What is not read costs no memory here. Raises ConnectionLostError when the stream has ended.
        """

    def confirm(self, lsn: int) -> None:
        """Says that a restart needs nothing that committed before `lsn`, where a checkpoint is stored."""

    async def close(self) -> None:
        """Ends the stream; never raises for one that is lost."""


Connect = Callable[[Listener], Awaitable[Source]]


class Obstacle:
    """Whether the log has something that the server can never decode: then no slot gets past it, and another is needed.

    Postgres sends no row of more than 1 GB as text, although it stores some: a `bytea` of 600 MB will do. It decodes
    with the catalog of then, so log from before a publication of the same name was dropped and made again is another
    case. Nothing tells such an error from one that passes but that it comes again at the same place.
    """

    __slots__ = ("_failures", "_lsn")

    def __init__(self) -> None:
        self._lsn = -1
        self._failures = 0

    def met(self, error: BaseException, lsn: int) -> None:
        """The stream has ended with this error when it had come to `lsn`."""
        if not isinstance(error, ConnectionLostError) or error.sqlstate not in UNDECODABLE:
            return
        self._failures = self._failures + 1 if lsn == self._lsn else 1
        self._lsn = lsn

    def reason(self, lsn: int) -> str | None:
        """Why there is no getting on from `lsn`; None when there may be."""
        if lsn != self._lsn or self._failures < MAX_FAILURES:
            return None
        return "the server cannot decode what is behind its position, such as a row of more than 1 GB"


class _UntilTablesChange:
    """The messages of a stream of PostgreSQL 14 up to the end of the first transaction that has models loaded anew.

    There a stream remembers for its whole life which tables it sends and as what: a partition that was attached would
    be missing from it, and one that was detached go on as before. Another stream finds what there is.
    """

    __slots__ = ("_is_told", "_message_token", "_replication", "ends_at")

    def __init__(self, replication: Replication, message_token: str) -> None:
        self._replication = replication
        self._message_token = message_token
        self._is_told = False
        self.ends_at: int | None = None

    async def read(self) -> list[bytes]:
        """See `Source`. Raises ConnectionLostError behind the end."""
        if self.ends_at is not None:
            raise ConnectionLostError("tables have changed, and PostgreSQL 14 sees partitions when a stream begins")
        messages = await self._replication.read()
        for count, data in enumerate(messages, 1):
            if data[:1] == b"M":
                self._is_told = self._is_told or self._tells_of_tables(data)
            elif self._is_told and data[:1] == b"C":
                commit = decode_message(data)
                assert isinstance(commit, Commit)
                self.ends_at = commit.end_lsn
                return messages[:count]
        return messages

    def _tells_of_tables(self, data: bytes) -> bool:
        message = decode_message(data)
        assert isinstance(message, LogicalMessage)
        if message.prefix != MESSAGE_PREFIX or not message.transactional:
            return False
        try:
            said = orjson.loads(message.content)
            return bool(said["t"] == "r" and said["w"] == self._message_token)
        except (ValueError, KeyError, TypeError):
            return False  # anybody may write under our prefix


class SlotSource:
    """The replication slot that this process reads itself. `listener` is the connection beside it.

    `failover`: whether a standby keeps a copy of the slot, where the server can.
    """

    def __init__(
        self,
        replication: Replication,
        listener: Listener,
        *,
        conninfo: str,
        slot: str,
        publication: str,
        failover: bool,
    ) -> None:
        self._replication = replication
        self._listener = listener
        self._conninfo = conninfo
        self._watching: asyncio.Task[None] | None = None
        self._slot = slot
        self._publication = publication
        self._failover = failover
        self._until: _UntilTablesChange | None = None
        self.read = replication.read
        self.confirm = replication.confirm

    @classmethod
    async def connect(
        cls, conninfo: str, listener: Listener, *, slot: str, publication: str, failover: bool = True
    ) -> Self:
        """Opens the replication connection.

        Raises ConnectionLostError, or what stands in the way and only an operator can change: ReplicationRightError,
        ServerFullError, SynchronousStandbyError.
        """
        name = application_name(slot)
        limits = await listener.limits()
        check_synchronous(limits, name)
        try:
            replication = await Replication.connect(conninfo, application_name=name)
        except ConnectionLostError as error:
            raise await explain_refusal(listener, error) from error
        tell_limits(limits, slot, failover=failover and limits.failover_standbys is not None)
        return cls(replication, listener, conninfo=conninfo, slot=slot, publication=publication, failover=failover)

    @property
    def sent_lsn(self) -> int:
        """See `Source`."""
        if self._until is not None and self._until.ends_at is not None:
            return self._until.ends_at
        return self._replication.sent_lsn

    async def open(self) -> Opened:
        """See `Source`."""
        system = await self._replication.identify()
        state = await self._listener.slot(self._slot)
        if state is None or state.is_lost:
            return await self.renew()
        if state.failover is not None and state.failover != self._failover and not state.is_active:
            await self._replication.set_failover(self._slot, self._failover)
        return Opened(system, state.confirmed_lsn)

    async def renew(self, reason: str | None = None) -> Opened:
        """See `Source`. A slot that somebody reads is left alone: SlotActiveError."""
        replication, listener = self._replication, self._listener
        state = await listener.slot(self._slot)
        if state is not None:
            if state.is_active:
                raise SlotActiveError(f"replication slot {self._slot!r} is in use")
            log.emit(
                Event.SLOT_LOST,
                slot=self._slot,
                reason=reason
                or state.reason
                or ("log was removed" if state.is_lost else "no checkpoint of its position"),
                meaning="a new slot is made, and every client that was served from this one bootstraps",
            )
            await replication.drop_slot(self._slot)
        schema = await listener.schema() or EMPTY
        lsn = await replication.create_slot(self._slot, failover=self._failover)
        if (await listener.schema() or EMPTY).version != schema.version:
            await replication.drop_slot(self._slot)
            raise ConnectionLostError("a schema was pushed while the slot was made")
        made = await listener.slot(self._slot)
        log.emit(Event.SLOT_CREATED, slot=self._slot, lsn=format_lsn(lsn), failover=made and made.failover)
        return Opened(await replication.identify(), lsn, new_under=schema.version)

    async def start(self, from_lsn: int) -> None:
        """See `Source`."""
        if self._replication.server_version < NOTICES_PARTITIONS:
            self._until = _UntilTablesChange(self._replication, await self._listener.message_token())
            self.read = self._until.read
        await self._replication.start(self._slot, publication=self._publication, from_lsn=from_lsn)
        state = await self._listener.slot(self._slot)
        if state is None or state.confirmed_lsn > from_lsn:
            raise ConnectionLostError("somebody else read from the slot meanwhile")
        self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """See `Source`."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})
        await self._replication.close()

    async def _watch(self) -> None:
        """Ends the stream when the server is told to wait for it with its commits, as it is refused at the start.

        Asks on a connection of its own: others may be among those that wait.
        """
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                name = f"pgsync watch {self._slot}"
                async with await Listener.connect(self._conninfo, application_name=name) as listener:
                    limits = await listener.limits()
            except psycopg.Error:
                continue  # the stream itself notices when its server has gone
            try:
                check_synchronous(limits, application_name(self._slot))
            except SynchronousStandbyError as error:
                self._replication.fail(error)
                return


def application_name(slot: str) -> str:
    """What the walsender of a slot is called in pg_stat_replication, and in synchronous_standby_names."""
    return f"pgsync stream {slot}"[:MAX_BYTES]  # as the server cuts it
