"""One process reads the slot and hands its messages on, as they are, to workers that each have a feed of their own.

Every feed counts the same messages and arrives at the same sync ids, as gateways with slots of their own do; what is
saved is decoding the log once for each. A worker that comes, or comes back, begins where the slot was last confirmed;
nobody else notices. The slot is confirmed as far as every connected worker has.

Frames on the Unix socket between them: kind, length of the payload, position of the log, payload.

| from | kind | position | payload |
|---|---|---|---|
| worker | open | | its number, JSON |
| reader | opened | | `Opened`, JSON |
| worker | renew | instead: it finds no checkpoint from there | |
| worker | start | the first commit that it wants | |
| reader | started | | |
| reader | data | `sent_lsn` after it | messages, packed |
| worker | confirm | see `Source.confirm` | |
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Self

import orjson
import psycopg

from pgsync import log
from pgsync.log import Event
from pgsync.names import PUBLICATION, slot_name
from pgsync.stream.backlog import BLOCK_BYTES, Backlog, pack, skip_to, unpack
from pgsync.stream.connect import ConnectionLostError, ReplicationError, System, may_pass, meaning
from pgsync.stream.listener import Listener
from pgsync.stream.server import log_in
from pgsync.stream.source import Connect, Obstacle, Opened, SlotSource, Source
from pgsync.tasks import wait_until

FIRST_RETRY_SECONDS: Final = 0.1
LAST_RETRY_SECONDS: Final = 5.0
HOLD_SECONDS: Final = 5.0  # how long what a worker has not read yet is kept while it connects again
STUCK_SECONDS: Final = 15.0
_ROOM_SECONDS: Final = 0.5
_FRAME_LIMIT: Final = 1 << 20

_OPEN: Final = b"o"
_RENEW: Final = b"r"
_START: Final = b"s"
_DATA: Final = b"d"
_CONFIRM: Final = b"c"
_header = struct.Struct(">cIQ")

_Gone = (asyncio.IncompleteReadError, ConnectionError, OSError)


def _frame(kind: bytes, lsn: int = 0, payload: bytes = b"") -> bytes:
    return _header.pack(kind, len(payload), lsn) + payload


async def _read_frame(reader: asyncio.StreamReader) -> tuple[bytes, int, bytes]:
    kind, length, lsn = _header.unpack(await reader.readexactly(_header.size))
    return kind, lsn, await reader.readexactly(length) if length else b""


class RelaySource:
    """The source of a worker's feed: what the process that reads the slot hands on."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, worker: int) -> None:
        self._reader = reader
        self._writer = writer
        self._worker = worker
        self._from_lsn = 0
        self._has_arrived = False
        self.sent_lsn = 0

    @classmethod
    async def connect(cls, path: str, worker: int, _listener: Listener) -> Self:
        """Connects to the relay at `path`; raises ConnectionLostError when there is none."""
        try:
            reader, writer = await asyncio.open_unix_connection(path, limit=_FRAME_LIMIT)
        except OSError as error:
            raise ConnectionLostError("nobody hands the log on") from error
        return cls(reader, writer, worker)

    async def open(self) -> Opened:
        """See `Source`. Waits while the slot cannot be read."""
        self._send(_frame(_OPEN, payload=orjson.dumps({"worker": self._worker})))
        _, _, payload = await self._receive()
        opened = orjson.loads(payload)
        return Opened(System(**opened.pop("system")), **opened)

    async def renew(self, reason: str | None = None) -> Opened:
        """See `Source`. The slot is everybody's: who finds no checkpoint tries again until another has stored one."""
        self._send(_frame(_RENEW))
        raise ConnectionLostError("no checkpoint is stored yet from where the log is handed on")

    async def start(self, from_lsn: int) -> None:
        """See `Source`."""
        self._from_lsn = from_lsn
        self._send(_frame(_START, from_lsn))
        await self._receive()

    async def read(self) -> list[bytes]:
        """See `Source`."""
        _, sent_lsn, payload = await self._receive()
        messages = unpack(payload)
        if not self._has_arrived:
            messages, self._has_arrived = skip_to(self._from_lsn, messages)
        self.sent_lsn = max(self.sent_lsn, sent_lsn)
        return messages

    def confirm(self, lsn: int) -> None:
        """See `Source`."""
        self._send(_frame(_CONFIRM, lsn))

    async def close(self) -> None:
        """See `Source`."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def _send(self, frame: bytes) -> None:
        if not self._writer.is_closing():
            self._writer.write(frame)

    async def _receive(self) -> tuple[bytes, int, bytes]:
        try:
            return await _read_frame(self._reader)
        except _Gone as error:
            raise ConnectionLostError("the log is not handed on any more") from error


@dataclass(slots=True, eq=False)
class _Place:
    """How far a worker is. `writer` is None while it is away, and what follows `block` is kept until `held_until`."""

    number: int
    block: int = 0
    offset: int = 0
    confirmed_lsn: int = 0
    writer: asyncio.StreamWriter | None = None
    held_until: float = 0.0
    moved_at: float = 0.0
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class Relay:
    """Reads the slot of a deployment for `workers` workers, numbered from 1, which connect to the socket at `path`.

    At most `max_bytes` of messages are held: first what a worker that starts would begin with is given up, then reading
    waits for the slowest. One that has taken nothing for `stuck_seconds` while others wait for it is given up, and
    `on_stuck` called with its number.
    """

    def __init__(
        self,
        conninfo: str,
        *,
        deployment: str,
        path: Path,
        workers: int,
        max_bytes: int,
        on_stuck: Callable[[int], None],
        publication: str = PUBLICATION,
        failover: bool = True,
        stuck_seconds: float = STUCK_SECONDS,
    ) -> None:
        self._conninfo = conninfo
        self._slot = slot_name(deployment)
        self._connect: Connect = partial(
            SlotSource.connect, conninfo, slot=self._slot, publication=publication, failover=failover
        )
        self._max_bytes = max_bytes
        self._on_stuck = on_stuck
        self._stuck_seconds = stuck_seconds
        self.path = path
        self._places = {number: _Place(number) for number in range(1, workers + 1)}
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._task: asyncio.Task[None] | None = None
        self._running = asyncio.Event()
        self._room = asyncio.Event()
        self._reopening = asyncio.Event()

        self._source: Source | None = None
        self._system: System | None = None
        self._new_under: int | None = None
        self._acknowledged_lsn = 0
        self._obstacle = Obstacle()
        self._backlog = Backlog(0)

    async def start(self) -> None:
        """Begins to read and to hand on. Raises as `Feed.start` does."""
        self._server = await asyncio.start_unix_server(self._serve, str(self.path), limit=_FRAME_LIMIT)
        self._task = asyncio.create_task(self._run(), name=f"relay {self._slot}")
        await wait_until(self._running, self._task)

    async def ended(self) -> None:
        """Waits until reading has ended for good, and raises what ended it."""
        assert self._task is not None
        await asyncio.wait({self._task})
        await self._task

    async def stop(self) -> None:
        """Closes the slot and every connection."""
        if self._server is not None:
            self._server.close()
        for task in (self._task, *self._serving):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, ReplicationError, psycopg.Error):
                    await task

    def release(self, worker: int) -> None:
        """The worker has ended, and another takes its place, from where a restart begins."""
        self._places[worker].held_until = 0.0

    # ------------------------------------------------------------------ reading the slot

    async def _run(self) -> None:
        retry_seconds = FIRST_RETRY_SECONDS
        while True:
            try:
                await self._connection()
            except (ReplicationError, psycopg.Error) as error:
                if self._running.is_set():
                    retry_seconds = FIRST_RETRY_SECONDS
                self._obstacle.met(error, self._backlog.head_lsn)
                self._disconnect()
                if not may_pass(error, was_connected=self._system is not None):
                    log.emit(Event.STREAM_FAILED, slot=self._slot, error=error, meaning=meaning(error))
                    raise
                log.emit(
                    Event.STREAM_DISCONNECTED,
                    slot=self._slot,
                    error=error,
                    meaning=meaning(error),
                    retry_seconds=retry_seconds,
                )
            await asyncio.sleep(retry_seconds)
            retry_seconds = min(2 * retry_seconds, LAST_RETRY_SECONDS)

    def _disconnect(self) -> None:
        """Every worker is told by the end of its connection, and goes on where it was."""
        self._running.clear()
        self._source = None
        self._backlog.forget_open()
        for place in self._places.values():
            place.writer = None
        for writer in self._writers:
            writer.close()

    async def _connection(self) -> None:
        name = f"pgsync relay {self._slot}"
        async with await log_in(self._conninfo, application_name=name, is_first=self._system is None) as listener:
            source = await self._connect(listener)
            try:
                await self._open(listener, source)
                self._source = source
                self._running.set()
                await self._read_until_reopened(source)
            finally:
                await source.close()

    async def _open(self, listener: Listener, source: Source) -> None:
        """Starts the stream where it was, or with an empty backlog where the slot is."""
        opened = await source.open()
        system = opened.system
        obstacle = self._obstacle.reason(self._backlog.head_lsn)
        if obstacle is not None:
            opened = await source.renew(obstacle)
        if not (
            self._system is not None
            and (self._system.identifier, self._system.timeline) == (system.identifier, system.timeline)
            and opened.new_under is None
            and opened.lsn <= self._backlog.head_lsn
        ):
            if opened.new_under is None and await listener.checkpoint_from(opened.lsn) is None:
                opened = await source.renew()
            self._backlog = Backlog(opened.lsn, block_bytes=min(BLOCK_BYTES, self._max_bytes // 4))
            self._acknowledged_lsn = opened.lsn
            self._new_under = opened.new_under
            for place in self._places.values():
                place.block = place.offset = 0
        await source.start(self._backlog.head_lsn)
        self._system = system

    async def _read_until_reopened(self, source: Source) -> None:
        self._reopening.clear()
        reading = asyncio.create_task(self._read(source))
        reopening = asyncio.create_task(self._reopening.wait())
        try:
            await asyncio.wait({reading, reopening}, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                await reading
            self._system = None
            raise ConnectionLostError("no worker can count from where the log is held, so it is read again")
        finally:
            reopening.cancel()
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError, ReplicationError):
                await reading

    async def _read(self, source: Source) -> None:
        backlog = self._backlog
        while True:
            messages = await source.read()
            backlog.append(messages, source.sent_lsn)
            for place in self._places.values():
                place.wake.set()
            while not backlog.shrink(self._max_bytes, before_block=self._needed_block()):
                self._room.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_ROOM_SECONDS):
                        await self._room.wait()
                self._give_up_stuck()
            await asyncio.sleep(0)

    def _needed_block(self) -> int:
        """The oldest block that may not be given up.

        While nobody is here, none: only what a worker has counted has a checkpoint after it, from which another can
        begin. Who is away for a moment goes on where it was; who has ended begins where it can.
        """
        now = time.monotonic()
        here = [p.block for p in self._places.values() if p.writer is not None]
        if not here:
            return self._backlog.first
        return min(here + [p.block for p in self._places.values() if p.writer is None and now < p.held_until])

    def _give_up_stuck(self) -> None:
        now = time.monotonic()
        slowest = min(self._places.values(), key=lambda p: (p.writer is None, p.block))
        is_stuck = slowest.writer is not None and now - slowest.moved_at > self._stuck_seconds
        others_wait = any(p.writer is not None and p.block > slowest.block for p in self._places.values())
        if is_stuck and others_wait:
            assert slowest.writer is not None
            slowest.writer.transport.abort()
            slowest.writer = None
            slowest.held_until = 0.0
            self._on_stuck(slowest.number)

    # ------------------------------------------------------------------ handing on

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of one worker, from its opening to its end."""
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        self._writers.add(writer)
        try:
            with contextlib.suppress(*_Gone):
                _, _, payload = await _read_frame(reader)
                place = self._places[orjson.loads(payload)["worker"]]
                await self._running.wait()
                backlog, system = self._backlog, self._system
                opened = {"system": system and asdict(system), "lsn": backlog.tail_lsn, "new_under": self._new_under}
                writer.write(_frame(_OPEN, payload=orjson.dumps(opened)))
                kind, lsn, _ = await _read_frame(reader)
                if kind == _RENEW:
                    if backlog.tail_lsn > self._acknowledged_lsn and not any(p.writer for p in self._places.values()):
                        self._reopening.set()
                elif lsn >= backlog.tail_lsn and backlog is self._backlog:  # else it opens again
                    await self._hand_on(backlog, place, lsn, reader, writer)
        finally:
            self._serving.discard(task)
            self._writers.discard(writer)
            writer.close()

    async def _hand_on(
        self, backlog: Backlog, place: _Place, lsn: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        place.block, missed = backlog.find(lsn)
        place.offset = 0
        place.confirmed_lsn = lsn
        place.moved_at = time.monotonic()
        place.writer = writer
        writer.write(_frame(_START) + _frame(_DATA, 0, pack(missed)))
        sending = asyncio.create_task(self._send(backlog, place, writer))
        try:
            while True:
                _, confirmed_lsn, _ = await _read_frame(reader)
                place.confirmed_lsn = max(place.confirmed_lsn, confirmed_lsn)
                self._acknowledge()
        finally:
            if place.writer is writer:
                place.writer = None
                place.held_until = time.monotonic() + HOLD_SECONDS
                self._acknowledge()  # perhaps the others waited for this one only
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError, *_Gone):
                await sending

    async def _send(self, backlog: Backlog, place: _Place, writer: asyncio.StreamWriter) -> None:
        told_lsn = 0
        while place.writer is writer:
            packed, sent_lsn, (block, offset) = backlog.read(place.block, place.offset)
            if (block, offset) == (place.block, place.offset) and sent_lsn <= told_lsn:
                place.wake.clear()
                await place.wake.wait()
                place.moved_at = time.monotonic()
                continue
            writer.write(_frame(_DATA, sent_lsn, packed))
            told_lsn = sent_lsn
            await writer.drain()
            place.block, place.offset = block, offset
            place.moved_at = time.monotonic()
            self._room.set()

    def _acknowledge(self) -> None:
        """Confirms to the server what every worker that is here has confirmed; who is away finds it in the backlog."""
        lsn = min((p.confirmed_lsn for p in self._places.values() if p.writer is not None), default=0)
        if self._source is not None and lsn > self._acknowledged_lsn:
            self._acknowledged_lsn = lsn
            self._new_under = None  # from here on a checkpoint says where the numbers are
            self._source.confirm(lsn)
            self._backlog.drop(before_lsn=lsn, before_block=self._needed_block())
