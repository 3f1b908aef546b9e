"""The feed of one gateway: keeps the stream running and hands every transaction on, numbered and in commit order.

It connects, finds its place in the number line, reads, stores checkpoints, and starts again when a connection is lost.
What cannot be right (counts that disagree, bytes that no Postgres sends) ends it for good, loudly.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from uuid import uuid4

import psycopg

from pgsync import log
from pgsync.log import Event
from pgsync.models import EMPTY, ActiveSchema
from pgsync.names import PUBLICATION, slot_name
from pgsync.stream.connect import ReplicationError, System, format_lsn, may_pass, meaning
from pgsync.stream.group import Group, Grouper
from pgsync.stream.listener import Listener, SlotState, TableProblem
from pgsync.stream.number import Checkpoint, Numberer, NumberLineError, line_anchor, number_above
from pgsync.stream.ring import DEFAULT_MAX_BYTES, DEFAULT_MAX_SECONDS, Ring
from pgsync.stream.route import Router
from pgsync.stream.server import log_in
from pgsync.stream.source import Connect, Obstacle, Opened, SlotSource, Source
from pgsync.stream.timeline import Snapshot, Timeline
from pgsync.stream.transaction import Notice, Transaction
from pgsync.stream.turns import Turns
from pgsync.tasks import TaskGroup, wait_until

CHECKPOINT_SECONDS: Final = 1.0
HEARTBEAT_SECONDS: Final = 0.25
TABLES_SECONDS: Final = 5.0
FIRST_RETRY_SECONDS: Final = 0.1
LAST_RETRY_SECONDS: Final = 5.0
STOP_SECONDS: Final = 10.0
MAINTAIN_SECONDS: Final = 3600.0
SEAL_SECONDS: Final = 60.0
IDLE_CHECKPOINT_BYTES: Final = 1 << 20  # log without changes of ours that is acknowledged at once
# A commit that is in the log is visible by then, where it does not wait for standbys: what is not, has not committed.
VISIBLE_SECONDS: Final = 5.0
MAX_UNSAMPLED: Final = 256  # transactions without a snapshot; see Timeline.transactions_since_sample
LAG_WARNING_BYTES: Final = 256 << 20
WARNING_SECONDS: Final = 60.0
MAX_SEEN: Final = 3600
RECENT_COMMITS: Final = 100_000
STORED_SAMPLES: Final = 1000
SLICE_SECONDS: Final = 0.002  # how long the stream works before others get their turn
TABLE_REMEDY: Final = "undo it, or change the schema to match and `pgsync push` it"
ASKED_SECONDS: Final = 0.05  # between checkpoints that somebody waits for
_POLL_SECONDS: Final = 0.01
_PLACE_SECONDS: Final = 0.05
_DISAGREEMENT: Final = "PS501"


class _StopError(Exception):
    """Asks the tasks of a connection to end."""


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """What a stream that begins needs to know from the database."""

    horizon: int
    samples: list[tuple[int, Snapshot]]
    epoch: str


class Feed:
    """Owns the replication connection and the connection beside it. `start` once, `stop` once.

    `timeline`, `ring` and `router` are replaced when the stream starts anew (at the start, after a lost slot, with a
    new number line): then whoever asked by `on_restarted` is called, and every session of before has to bootstrap with
    the new router. A connection that is lost and found again replaces nothing. `ring_bytes` and `ring_seconds` bound
    what a returning client can resume from. `failover`: whether a standby keeps a copy of the slot, where the server
    can. `connect` gives the source of messages when it is not a slot of its own.
    """

    def __init__(
        self,
        conninfo: str,
        *,
        deployment: str,
        publication: str = PUBLICATION,
        failover: bool = True,
        connect: Connect | None = None,
        ring_bytes: int = DEFAULT_MAX_BYTES,
        ring_seconds: float = DEFAULT_MAX_SECONDS,
        checkpoint_seconds: float = CHECKPOINT_SECONDS,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        tables_seconds: float = TABLES_SECONDS,
        seal_seconds: float = SEAL_SECONDS,
    ) -> None:
        self._conninfo = conninfo
        self._slot = slot_name(deployment)
        self._connect = connect or partial(
            SlotSource.connect, conninfo, slot=self._slot, publication=publication, failover=failover
        )
        self._ring_bytes = ring_bytes
        self._ring_seconds = ring_seconds
        self._checkpoint_seconds = checkpoint_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._tables_seconds = tables_seconds
        self._seal_seconds = seal_seconds
        self._schema_changed: list[Callable[[ActiveSchema], None]] = []
        self._restarted: list[Callable[[], None]] = []
        self._noticed: list[Callable[[Notice], None]] = []
        self.turns = Turns()
        self.timeline = Timeline()
        self.ring = self._make_ring(0, 0)
        self.router = Router(self.ring, self.timeline, epoch="")
        self.schema: ActiveSchema = EMPTY
        self._must_look = False
        self.epoch = ""
        self.problems: tuple[TableProblem, ...] = ()
        self.lag_bytes = 0
        self.slot_state: SlotState | None = None

        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._caught_up = asyncio.Event()
        self._is_connected = False

        # Where the stream is. Everything that committed before `_lsn` has been handled.
        self._system: System | None = None
        self._grouper = Grouper()
        self._numberer: Numberer | None = None
        self._lsn = 0
        self._obstacle = Obstacle()
        self._start_version = 0
        self._placed = asyncio.Event()
        self._anchors: dict[str, asyncio.Future[int]] = {}

        # Checkpoints
        self._due = asyncio.Event()
        self._storing = asyncio.Lock()
        self._positions: list[list[Any]] = []
        self._stored: deque[int] = deque()
        self._stored_lsn = 0
        self._stored_at = time.monotonic()
        self._stored_head = -1
        self._has_stored = asyncio.Event()

        # Samples
        self._unsampled = False
        self._last_change = 0.0
        # Lag
        self._seen: deque[tuple[float, int]] = deque(maxlen=MAX_SEEN)
        self._lost_at: float | None = None
        self._last_warning: dict[Event, float] = {}

        self._visible_at: float | None = None  # when all that was passed over is visible; None: it is, or nothing was
        self._began = (0, 0)  # no xid from this one on was passed over; the position that counts those that were
        self._recent: OrderedDict[str, int] = OrderedDict()
        self._waiters: dict[str, list[asyncio.Future[int | None]]] = {}

    # ------------------------------------------------------------------ for the gateway

    @property
    def head(self) -> int:
        """The last sync id streamed."""
        return self.timeline.head

    @property
    def slot(self) -> str:
        """The name of the replication slot."""
        return self._slot

    @property
    def checkpoint_age_seconds(self) -> float:
        """Since the last checkpoint was stored; 0 when there is nothing that it lacks."""
        return 0.0 if self.head == self._stored_head else time.monotonic() - self._stored_at

    @property
    def lag_seconds(self) -> float:
        """For how long something has been in the log that the stream has not handled yet; exact to a second."""
        now = time.monotonic()
        while self._seen and self._seen[0][1] <= self._lsn:
            self._seen.popleft()
        since = [moment for moment, _ in list(self._seen)[:1]]
        if self._lost_at is not None:
            since.append(self._lost_at)
        return now - min(since, default=now)

    @property
    def is_connected(self) -> bool:
        """Whether the stream runs and has reached what was in the log when it connected."""
        return self._is_connected and self._caught_up.is_set()

    def on_schema_changed(self, call: Callable[[ActiveSchema], None]) -> None:
        """Has `call` called with the version whose models apply from here on, before anything that follows."""
        self._schema_changed.append(call)

    def on_restarted(self, call: Callable[[], None]) -> None:
        """Has `call` called when the stream has started anew, before its first transaction."""
        self._restarted.append(call)

    def on_notice(self, call: Callable[[Notice], None]) -> None:
        """Has `call` called with each notice, in commit order and when the changes of its transaction are in the ring.

        After a lost connection, and after a restart of the gateway, notices of the past may come again. `call` must
        neither wait nor raise, whatever was said.
        """
        self._noticed.append(call)

    def sample_soon(self) -> None:
        """Has a snapshot written into the log, by which readers can tell that they have everything of theirs."""
        self._unsampled = True

    async def start(self) -> None:
        """Connects, finds the place in the number line, and returns when the stream has caught up with the log.

        Keeps trying while the server or the slot is busy elsewhere. Raises ReplicationError or psycopg.Error when
        trying again cannot help: no publication, wal_level, missing rights, counts that disagree.
        """
        assert self._task is None, "a feed starts once"
        self._task = asyncio.create_task(self._run(), name=f"feed {self._slot}")
        await wait_until(self._caught_up, self._task)

    async def stop(self) -> None:
        """Stores a last checkpoint and closes both connections. Raises what ended the feed, if anything did before."""
        self._stopping.set()
        if self._task is not None:
            _, unfinished = await asyncio.wait({self._task}, timeout=STOP_SECONDS)
            if unfinished:
                self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def ended(self) -> None:
        """Waits until the feed ends, and raises what ended it. The gateway has nothing to serve after that."""
        assert self._task is not None
        await asyncio.wait({self._task})
        if not self._task.cancelled():
            await self._task

    async def confirmed(self, server_tx_id: str, timeout_seconds: float) -> int | None:
        """The last sync id of a commit once the stream has it.

        None when that takes longer than `timeout_seconds`, or when the stream is not running.
        """
        found = self._recent.get(server_tx_id)
        if found is not None:
            return found
        if not self.is_connected:
            return None
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[int | None] = loop.create_future()
        self._waiters.setdefault(server_tx_id, []).append(waiter)
        timer = loop.call_later(timeout_seconds, _settle, waiter, None)
        try:
            return await waiter
        finally:
            timer.cancel()
            waiters = self._waiters.get(server_tx_id)
            if waiters is not None:
                waiters.remove(waiter)
                if not waiters:
                    del self._waiters[server_tx_id]

    async def stored(self, timeout_seconds: float) -> None:
        """Has the places of everything streamed so far stored, where the logs find them.

        Returns all the same when that takes longer than `timeout_seconds`, or when the stream is not running.
        """
        head = self.head
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                while self._stored_head < head and self.is_connected:
                    self._due.set()
                    await self._has_stored.wait()

    def passed_over(self, server_tx_id: str) -> int | None:
        """The position at which the stream began, for a commit of before that; None for one that it will come to.

        Of log that was lost with its slot nobody knows the sync ids. All of it is counted by where the stream begins.
        """
        horizon, position = self._began
        xid = server_tx_id.partition("-")[0]
        return position if self.is_connected and xid.isdecimal() and int(xid) < horizon else None

    # ------------------------------------------------------------------ connections

    async def _run(self) -> None:
        retry_seconds = FIRST_RETRY_SECONDS
        while not self._stopping.is_set():
            try:
                await self._connection()
                continue
            except BaseExceptionGroup as group:
                error = _first(group)
            except (ReplicationError, psycopg.Error) as single:
                error = single
            if self._caught_up.is_set():
                retry_seconds = FIRST_RETRY_SECONDS
            self._obstacle.met(error, self._lsn)
            self._disconnect()
            if not may_pass(error, was_connected=self._system is not None):
                log.emit(Event.STREAM_FAILED, slot=self._slot, error=error, meaning=meaning(error))
                raise error
            log.emit(
                Event.STREAM_DISCONNECTED,
                slot=self._slot,
                error=error,
                meaning=meaning(error),
                retry_seconds=retry_seconds,
            )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(retry_seconds):
                    await self._stopping.wait()
            retry_seconds = min(2 * retry_seconds, LAST_RETRY_SECONDS)

    def _disconnect(self) -> None:
        """Nobody waits for a stream that is down: what they committed is in the database all the same."""
        if self._is_connected or self._lost_at is None:
            self._lost_at = time.monotonic()
        self._is_connected = False
        self._caught_up.clear()
        for waiters in self._waiters.values():
            for waiter in waiters:
                _settle(waiter, None)

    async def _connection(self) -> None:
        """One connection from its opening to its loss, or to the end of the feed."""
        name = f"pgsync listener {self._slot}"
        async with await log_in(self._conninfo, application_name=name, is_first=self._system is None) as listener:
            source = await self._connect(listener)
            try:
                try:
                    async with TaskGroup() as tasks:
                        tasks.create_task(self._until_stopped(listener))
                        tasks.create_task(self._work(tasks, listener, source))
                except* _StopError:
                    pass
                numberer = self._numberer
                if self._is_connected and numberer is not None and numberer.is_placed:
                    await self._store_checkpoint(listener)
                    self._acknowledge(source)
            finally:
                self._disconnect()
                await source.close()

    async def _until_stopped(self, listener: Listener) -> None:
        await self._stopping.wait()
        async with listener.at_rest(STOP_SECONDS / 2):
            raise _StopError

    async def _work(self, tasks: TaskGroup, listener: Listener, source: Source) -> None:
        await self._open(listener, source)
        self._is_connected = True
        tasks.create_task(self._read(listener, source))
        tasks.create_task(self._keep(listener, source))
        tasks.create_task(self._seal())
        await self._find_place(listener)
        # Everything in the log before this anchor has been handled when it comes.
        await self._read_anchor(listener, uuid4().hex)
        log.emit(Event.STREAM_CONNECTED, slot=self._slot, lsn=format_lsn(self._lsn), sync_id=self.head)
        self._lost_at = None
        self._caught_up.set()

    async def _open(self, listener: Listener, source: Source) -> None:
        """Starts the stream: where it was, or where the slot is, or with a new slot."""
        opened = await source.open()
        obstacle = self._obstacle.reason(self._lsn)
        if obstacle is not None:
            opened = await source.renew(obstacle)
        system, numberer = opened.system, self._numberer
        if (
            obstacle is None
            and self._system is not None
            and (self._system.identifier, self._system.timeline) == (system.identifier, system.timeline)
            and numberer is not None
            and numberer.is_placed
            and opened.lsn <= self._lsn
        ):
            self._grouper.forget()
            await source.start(self._lsn)
            return
        self._numberer = None
        self._system = system
        await self._open_anew(listener, source, opened)

    async def _open_anew(self, listener: Listener, source: Source, opened: Opened) -> None:
        checkpoint: Checkpoint | None = None
        if opened.new_under is None:
            # A crash of the server can put a slot back to where it was before anything was acknowledged; the log
            # up to the first checkpoint after that place is then passed over.
            checkpoint = await listener.checkpoint_from(opened.lsn)
            if checkpoint is None:
                # Its place in the number line is unknown: a new slot has as much to say, and may be younger.
                opened = await source.renew()
        start_lsn = opened.lsn if checkpoint is None else checkpoint.lsn
        version = checkpoint.schema_version if checkpoint is not None else opened.new_under
        schema = await listener.schema(version) if version else EMPTY
        if schema is None:
            raise NumberLineError(f"schema version {version} of a checkpoint is not stored")
        await source.start(start_lsn)

        self._lsn = start_lsn
        self._stored.clear()
        self._stored_lsn = self._stored_head = -1
        self._positions.clear()
        self._placed.clear()
        now = await listener.now()
        token = await listener.message_token()
        self._grouper = Grouper(schema, reference_xid=now.snapshot.xmax, message_token=token)
        self._start_version = schema.version
        self._set_schema(schema)
        self._numberer = Numberer(start_lsn=start_lsn, head=None if checkpoint is None else checkpoint.sync_id)
        if checkpoint is not None:
            self._stored_lsn, self._stored_head = start_lsn, checkpoint.sync_id
            sample = None if checkpoint.snapshot is None else Snapshot.parse(checkpoint.snapshot)
            self._begin(await self._look_around(listener), checkpoint.sync_id, start_lsn, sample)

    def _make_ring(self, position: int, lsn: int) -> Ring:
        return Ring(position, lsn, max_bytes=self._ring_bytes, max_seconds=self._ring_seconds)

    async def _look_around(self, listener: Listener) -> _Surroundings:
        # An id assigned now is above those of all transactions that were passed over so far. It must stay so: a server
        # that crashes gives ids again of which the log on its disk says nothing.
        return _Surroundings(
            await listener.logged_xid(), await listener.samples(STORED_SAMPLES), await listener.epoch()
        )

    def _begin(self, around: _Surroundings, position: int, lsn: int, sample: Snapshot | None = None) -> None:
        """The place is known: what counts starts after `position`, at `lsn`."""
        self.router.retire()
        self.timeline = Timeline(position, sample=sample, horizon=0 if sample is not None else around.horizon)
        self.timeline.load(around.samples)
        self.epoch = around.epoch
        self._began = (around.horizon, position)
        self._visible_at = None if sample is not None else time.monotonic() + VISIBLE_SECONDS
        self.ring = self._make_ring(position, lsn)
        fallen = self.router.fallen
        self.router = Router(self.ring, self.timeline, epoch=around.epoch)
        self.router.fallen = fallen
        self._recent.clear()
        self._positions.clear()
        for call in self._restarted:
            call()

    # ------------------------------------------------------------------ the place in the number line

    async def _find_place(self, listener: Listener) -> None:
        """Waits until sync ids can be given; see `pgsync.stream.number`."""
        numberer = self._numberer
        assert numberer is not None
        if not numberer.is_placed:
            await listener.lock_placing()
            if await listener.others_running():
                await self._follow_others(listener, numberer)
            if not numberer.is_placed:
                newest = await listener.checkpoint_at()
                base = number_above(newest, (await listener.now()).lsn)
                if newest is not None:
                    await listener.new_epoch()
                numberer.own_line = line_anchor(base, uuid4().hex)
                await self._read_anchor(listener, numberer.own_line)
            await listener.join_running()
            await listener.unlock_placing()
            self._due.set()
        else:
            await listener.join_running()

    async def _follow_others(self, listener: Listener, numberer: Numberer) -> None:
        """Counts from what a running gateway stores at an anchor of ours; returns without when nobody runs any more."""
        lsn = await self._read_anchor(listener, uuid4().hex)
        while not numberer.is_placed:
            is_alone = not await listener.others_running()  # asked first: the last one may store it and end
            checkpoint = await listener.checkpoint_at(lsn)
            if checkpoint is not None and checkpoint.lsn == lsn:
                await self._take_place(listener, numberer, checkpoint)
            elif is_alone:
                return
            if not numberer.is_placed:
                await asyncio.sleep(_PLACE_SECONDS)

    async def _take_place(self, listener: Listener, numberer: Numberer, checkpoint: Checkpoint) -> None:
        around = await self._look_around(listener)
        # No await from here on: the reading task must not get ahead of what was held back.
        if numberer.is_torn:
            return
        held = numberer.anchor(checkpoint.lsn, checkpoint.sync_id)
        position = held[0].begins_after if held else numberer.head
        start_lsn = numberer.start_lsn
        self._begin(around, position, start_lsn)
        for transaction in held:
            self._deliver(transaction)
        # The slot resumes here if this process ends before the ring lets go of anything.
        await listener.store_checkpoint(Checkpoint(start_lsn, position, None, self._start_version), [])
        self._stored.appendleft(start_lsn)

    async def _read_anchor(self, listener: Listener, anchor: str) -> int:
        """Writes an anchor and returns the end of its transaction when the stream has handled it."""
        self._anchors[anchor] = asyncio.get_running_loop().create_future()
        try:
            await listener.anchor(anchor)
            return await self._anchors[anchor]
        finally:
            del self._anchors[anchor]

    # ------------------------------------------------------------------ reading

    async def _read(self, listener: Listener, source: Source) -> None:
        grouper = self._grouper
        while True:
            messages = await source.read()
            slice_ends = time.monotonic() + SLICE_SECONDS
            for count, data in enumerate(messages):
                group = grouper.take(data)
                if group is not None:
                    if group.schema_version is None and not group.anchors:
                        self._number(group)
                    else:
                        await self._handle(listener, group)
                # A long catch-up, or a large transaction, must leave the others their turn.
                if (count & 31 == 31 or group is not None) and time.monotonic() >= slice_ends:
                    await self.turns.between_messages()
                    slice_ends = time.monotonic() + SLICE_SECONDS
            if not grouper.is_inside and source.sent_lsn > self._lsn:
                self._lsn = source.sent_lsn
                self.ring.pass_over(self._lsn)
            await self.turns.between_messages()

    def _number(self, group: Group) -> None:
        numberer = self._numberer
        assert numberer is not None
        for transaction in numberer.add(group):
            self._deliver(transaction)
        if group.transaction.is_last:
            self._lsn = group.transaction.end_lsn

    async def _handle(self, listener: Listener, group: Group) -> None:
        """A transaction that says something to the stream itself."""
        transaction = group.transaction
        numberer = self._numberer
        assert numberer is not None
        line = numberer.line_of(group)
        if line is not None:
            around = await self._look_around(listener)
            ready = numberer.add(group)
            self._begin(around, line, transaction.end_lsn)
            for transaction in ready:
                self._deliver(transaction)
            self._lsn = transaction.end_lsn
        else:
            self._number(group)
        if group.schema_version is not None:
            await self._switch_schema(listener, group.schema_version, transaction.xid)
        for anchor in group.anchors:
            waiter = self._anchors.get(anchor)
            if waiter is not None and not waiter.done():
                waiter.set_result(transaction.end_lsn)
        if group.anchors and numberer.is_placed:
            # Here, not later: a newcomer counts from the checkpoint of exactly this position.
            await self._store_checkpoint(listener)

    def _deliver(self, transaction: Transaction) -> None:
        if not transaction.is_last:
            # Rows may travel on; everything that says how far the stream is waits for the end of the transaction.
            self.ring.append(transaction)
            return
        text = transaction.snapshot
        snapshot: Snapshot | None = None
        if text is not None:
            with contextlib.suppress(ValueError):  # anybody may write under our prefix
                snapshot = Snapshot.parse(text)
        self.timeline.stream(transaction.xid, transaction.last_sync_id, snapshot)
        self.ring.append(transaction)
        commits = transaction.commits
        if transaction.changes or transaction.before or commits:
            self._positions.append(
                [
                    str(transaction.xid),
                    transaction.begins_after + 1,
                    transaction.last_sync_id,
                    [last for _, last in commits],
                ]
            )
            self._unsampled = True
            self._last_change = time.monotonic()
            for server_tx_id, last_sync_id in commits:
                self._recent[server_tx_id] = last_sync_id
                for waiter in self._waiters.get(server_tx_id, ()):
                    _settle(waiter, last_sync_id)
            while len(self._recent) > RECENT_COMMITS:
                self._recent.popitem(last=False)
        if transaction.notices:
            notices, transaction.notices = transaction.notices, []  # the ring has no use for them
            for notice in notices:
                for call in self._noticed:
                    call(notice)

    async def _switch_schema(self, listener: Listener, version: int, xid: int) -> None:
        """From here on the models of this version apply. Its row may be in the log before others can see it."""
        while not await listener.is_visible(xid):  # noqa: ASYNC110 - the database has no event for it
            await asyncio.sleep(_POLL_SECONDS)
        schema = await listener.schema(version)
        if schema is not None:  # anybody may write under our prefix
            self._grouper.schema = schema
            self._set_schema(schema)
            self._must_look = True  # for what the push has left to the next look
            self._due.set()
            log.emit(Event.SCHEMA_ACTIVATED, version=version, hash=schema.hash, models=len(schema.models))

    def _set_schema(self, schema: ActiveSchema) -> None:
        self.schema = schema
        for call in self._schema_changed:
            call(schema)

    # ------------------------------------------------------------------ checkpoints, samples, lag

    async def _keep(self, listener: Listener, source: Source) -> None:
        """Stores checkpoints, acknowledges what they cover, and has samples written when traffic stops."""
        next_checkpoint = next_maintenance = next_look = 0.0
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(self._heartbeat_seconds, self._checkpoint_seconds)):
                    await self._due.wait()
                    await asyncio.sleep(ASKED_SECONDS - (time.monotonic() - self._stored_at))
            now = time.monotonic()
            self.ring.expire()
            numberer = self._numberer
            if numberer is None or not numberer.is_placed:
                self._due.clear()
                await asyncio.sleep(_PLACE_SECONDS)
                continue
            idle = now - self._last_change >= self._heartbeat_seconds
            if self._unsampled and (idle or self.timeline.transactions_since_sample > MAX_UNSAMPLED):
                self._unsampled = False
                await listener.heartbeat()
            if self._due.is_set() or now >= next_checkpoint:
                self._due.clear()
                next_checkpoint = now + self._checkpoint_seconds
                idle_bytes = 0 if self._is_pressed else IDLE_CHECKPOINT_BYTES
                if self.head != self._stored_head or self._lsn - self._stored_lsn > idle_bytes:
                    await self._store_checkpoint(listener)
                self._acknowledge(source)
                await self._measure(listener)
            if now >= next_look or self._must_look:
                self._must_look = False
                next_look = now + self._tables_seconds
                await self._look_at_tables(listener)
            if now >= next_maintenance:
                next_maintenance = now + MAINTAIN_SECONDS
                with contextlib.suppress(psycopg.errors.LockNotAvailable):  # there is always a next time
                    await listener.maintain()

    async def _seal(self) -> None:
        """Seals the audit trail, on a connection of its own: after a large transaction that takes long.

        Nothing else waits for it, and nothing is lost when it fails: what is not sealed stays for the next time.
        """
        while True:
            await asyncio.sleep(self._seal_seconds)
            try:
                name = f"pgsync seal {self._slot}"
                async with await Listener.connect(self._conninfo, application_name=name) as listener:
                    while await listener.seal():
                        pass
            except psycopg.errors.UndefinedFunction:  # the database is older than this gateway, until the next push
                continue
            except psycopg.Error as error:
                log.emit(Event.AUDIT_NOT_SEALED, error=error)

    async def _look_at_tables(self, listener: Listener) -> None:
        """What was done to tables by hand: said in the log where rows have changed by it, and to whom it concerns."""
        try:
            problems = await listener.watch_tables()
        except psycopg.errors.UndefinedFunction:  # the database is older than this gateway, until the next push
            return
        for each in problems:
            if each not in self.problems:
                log.emit(Event.TABLE_CHANGED, model=each.model, problem=each.problem, remedy=TABLE_REMEDY)
        self.problems = problems

    async def _store_checkpoint(self, listener: Listener) -> None:
        """Everything handled so far is counted by the head."""
        async with self._storing:
            lsn, head = self._lsn, self.head
            if lsn <= self._stored_lsn:
                return
            snapshot = self.timeline.snapshot_at(head)
            positions, self._positions = self._positions, []
            checkpoint = Checkpoint(lsn, head, None if snapshot is None else str(snapshot), self.schema.version)
            try:
                await listener.store_checkpoint(checkpoint, positions)
            except psycopg.Error as error:
                self._positions = positions + self._positions
                if error.sqlstate == _DISAGREEMENT:
                    log.emit(Event.CHECKPOINT_DISAGREES, lsn=format_lsn(lsn), counted_sync_id=head)
                    raise NumberLineError(f"another gateway has counted differently up to {format_lsn(lsn)}") from error
                raise
            self._stored.append(lsn)
            self._stored_lsn, self._stored_head = lsn, head
            self._stored_at = time.monotonic()
            self._has_stored.set()
            self._has_stored = asyncio.Event()
            log.emit(Event.CHECKPOINT_STORED, lsn=format_lsn(lsn), sync_id=head)

    def _acknowledge(self, source: Source) -> None:
        """Tells the server the newest checkpoint before everything that the ring holds: there a restart resumes.

        When the server is about to give up the slot for the log that it keeps, the newest checkpoint at all: better
        that a restart has less to resume from than that everybody bootstraps now.
        """
        tail_lsn = self._lsn if self._is_pressed else self.ring.tail_lsn()
        acknowledged = 0
        while self._stored and self._stored[0] <= tail_lsn:
            acknowledged = self._stored.popleft()
        if acknowledged:
            source.confirm(acknowledged)

    @property
    def _is_pressed(self) -> bool:
        """Whether more than half of the log that the server will keep for the slot is used up."""
        state = self.slot_state
        return (
            state is not None
            and state.safe_bytes is not None
            and state.retained_bytes is not None
            and state.safe_bytes < state.retained_bytes
        )

    async def _measure(self, listener: Listener) -> None:
        now = await listener.now()
        if self._visible_at is not None and time.monotonic() >= self._visible_at and not now.is_synchronous:
            self._visible_at = None
            self.timeline.expect(now.snapshot)
        self.slot_state = state = await listener.slot(self._slot)
        self._grouper.reference_xid = max(self._grouper.reference_xid, now.snapshot.xmax)
        self.lag_bytes = max(now.lsn - self._lsn, 0)
        if self.lag_bytes:
            self._seen.append((time.monotonic(), now.lsn))
        if self.lag_bytes > LAG_WARNING_BYTES:
            self._warn(Event.STREAM_LAGGING, lag_bytes=self.lag_bytes, lag_seconds=round(self.lag_seconds, 1))
        if state is not None and self._is_pressed:
            self._warn(
                Event.SLOT_AT_RISK,
                wal_status=state.wal_status,
                retained_bytes=state.retained_bytes,
                safe_bytes=state.safe_bytes,
                meaning="the server drops the slot when it is further behind; raise max_slot_wal_keep_size,"
                " or end transactions that have been open for long",
            )

    def _warn(self, event: Event, **fields: Any) -> None:
        """Logs it, but not every second."""
        moment = time.monotonic()
        if moment - self._last_warning.get(event, float("-inf")) > WARNING_SECONDS:
            self._last_warning[event] = moment
            log.emit(event, slot=self._slot, **fields)


def _settle(waiter: asyncio.Future[int | None], value: int | None) -> None:
    if not waiter.done():
        waiter.set_result(value)


def _first(error: BaseException) -> BaseException:
    """The error that ended a group of tasks; the others were only cancelled because of it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
