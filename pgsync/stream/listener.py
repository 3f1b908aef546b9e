"""The ordinary connection beside the replication connection: checkpoints, schema versions, slots, and who is running.

It must reach the database without a transaction-pooling proxy: the advisory locks that tell who runs are the session's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import orjson
import psycopg
from psycopg.rows import TupleRow

from pgsync import sqlfiles
from pgsync.models import ActiveSchema, active_schema_from_json
from pgsync.stream.connect import format_lsn, parse_lsn, with_settings
from pgsync.stream.number import Checkpoint
from pgsync.stream.timeline import Snapshot

_LOCK_CLASS: Final = 0x70677379  # "pgsy"
_RUNNING: Final = 1
_PLACING: Final = 2
_POSITIONS: Final = 5000
_LAST_LSN: Final = "FFFFFFFF/FFFFFFFF"


@dataclass(frozen=True, slots=True)
class SlotState:
    """A replication slot as the server sees it.

    `is_lost`: the server has removed log that the slot needs, or has invalidated it for `reason` (from PostgreSQL 17).
    `is_active`: somebody reads from it. `wal_status` as in pg_replication_slots. `safe_bytes`: how much may be written
    before the slot is in danger, None without a limit. `retained_bytes`: log that is kept for it. `failover` is None on
    a server that knows no such slots.
    """

    confirmed_lsn: int
    is_lost: bool
    is_active: bool
    wal_status: str | None
    safe_bytes: int | None
    retained_bytes: int | None
    failover: bool | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What a server allows to `role`, who reads its log, and when it gives up a slot that stays behind.

    `keep_bytes` is max_slot_wal_keep_size, `idle_seconds` idle_replication_slot_timeout; None is without limit.
    `synchronous_standbys` and `failover_standbys` are synchronous_standby_names and synchronized_standby_slots.
    """

    role: str
    may_replicate: bool
    senders: int
    max_senders: int
    keep_bytes: int | None
    idle_seconds: float | None
    wal_keep_bytes: int
    synchronous_standbys: str
    failover_standbys: str | None


@dataclass(frozen=True, slots=True)
class TableProblem:
    """What somebody has done to the table of a model (its key) that a push has to put right.

    `is_broken`: its rows cannot be read until then.
    """

    model: str
    problem: str
    is_broken: bool


@dataclass(frozen=True, slots=True)
class Now:
    """How far the log is written, and the snapshot of this moment. `is_synchronous`: commits may wait for standbys."""

    lsn: int
    snapshot: Snapshot
    is_synchronous: bool


class Listener:
    """Calls of the role `pgsync_listener`, one after another, each in a transaction of its own."""

    def __init__(self, connection: psycopg.AsyncConnection[TupleRow]) -> None:
        self._connection = connection
        self._running = asyncio.Lock()

    @classmethod
    async def connect(cls, conninfo: str, *, application_name: str) -> Self:
        """Opens the connection; raises psycopg.OperationalError when there is none to be had."""
        connection = await psycopg.AsyncConnection.connect(
            with_settings(conninfo), autocommit=True, application_name=application_name
        )
        return cls(connection)

    async def close(self) -> None:
        """Closes the connection, and with it gives up every lock."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @contextlib.asynccontextmanager
    async def at_rest(self, timeout_seconds: float) -> AsyncIterator[None]:
        """A moment without a call under way, if it comes in time: a call that is cancelled costs the connection."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._running.acquire()
        except TimeoutError:
            yield
            return
        try:
            yield
        finally:
            self._running.release()

    # ------------------------------------------------------------------ state of the database

    async def now(self) -> Now:
        """How far the log is written, and the snapshot of this moment."""
        row = await self._row(
            "SELECT pg_current_wal_insert_lsn()::text, pg_current_snapshot()::text,"
            " current_setting('synchronous_standby_names') <> ''"
        )
        return Now(parse_lsn(row[0]), Snapshot.parse(row[1]), row[2])

    async def logged_xid(self) -> int:
        """A transaction id assigned just now. It is in the log on disk: a crash of the server does not take it back."""
        statement = (
            "SELECT pg_current_xact_id()::text, set_config('synchronous_commit', 'local', true)"
            " FROM pgsync.heartbeat_v1()"
        )
        return int((await self._row(statement))[0])

    async def is_visible(self, xid: int) -> bool:
        """Whether a transaction that committed in the log can be seen by others by now."""
        return bool((await self._row("SELECT pg_visible_in_snapshot(%s::xid8, pg_current_snapshot())", str(xid)))[0])

    async def slot(self, name: str) -> SlotState | None:
        """The state of a replication slot of this database, None when there is no such slot."""
        row = await self._row_or_none(sqlfiles.read("slots/state.sql"), name)
        if row is None:
            return None
        confirmed, is_lost, *rest = row
        return SlotState(0 if confirmed is None else parse_lsn(confirmed), is_lost or confirmed is None, *rest)

    async def limits(self) -> ServerLimits:
        """What the server allows, and when it gives up a slot."""
        return ServerLimits(*await self._row(sqlfiles.read("slots/server.sql")))

    async def schema(self, version: int | None = None) -> ActiveSchema | None:
        """The active schema, or that of a version; None when there is no such version (`EMPTY` when none is active)."""
        data = (await self._row("SELECT pgsync.schema_v1(%s)", version))[0]
        return None if data is None and version is not None else active_schema_from_json(data)

    async def epoch(self) -> str:
        """Identity of the number line: cursors of another one are worth nothing."""
        return str((await self._row("SELECT pgsync.epoch_v1()"))[0])

    async def message_token(self) -> str:
        """The word that our messages in the log are known by."""
        return str((await self._row("SELECT pgsync.message_token_v1()"))[0])

    async def new_epoch(self) -> None:
        """Gives the number line another identity, so that everybody bootstraps."""
        await self._row("SELECT pgsync.new_epoch_v1()")

    # ------------------------------------------------------------------ the number line

    async def checkpoint_at(self, lsn: int | None = None) -> Checkpoint | None:
        """The newest checkpoint at or before a position, or the newest of all."""
        text = _LAST_LSN if lsn is None else format_lsn(lsn)
        data = (await self._row("SELECT pgsync.checkpoint_at_v1(%s)", text))[0]
        return None if data is None else Checkpoint.from_json(data)

    async def checkpoint_from(self, lsn: int) -> Checkpoint | None:
        """The oldest checkpoint at or after a position."""
        data = (await self._row("SELECT pgsync.checkpoint_from_v1(%s)", format_lsn(lsn)))[0]
        return None if data is None else Checkpoint.from_json(data)

    async def store_checkpoint(self, checkpoint: Checkpoint, positions: Sequence[list[Any]]) -> None:
        """Stores a checkpoint and the positions of the transactions before it; PS501 when another gateway disagrees.

        Many positions go in several calls, so that none takes long. What is lost between them comes again with the
        stream: nothing is acknowledged before the last one.
        """
        for first in range(0, max(len(positions), 1), _POSITIONS):
            await self._row(
                "SELECT pgsync.store_checkpoint_v1(%s, %s, %s, %s, %s)",
                format_lsn(checkpoint.lsn),
                checkpoint.sync_id,
                checkpoint.snapshot,
                checkpoint.schema_version,
                orjson.dumps(positions[first : first + _POSITIONS]).decode(),
            )

    async def samples(self, limit: int) -> list[tuple[int, Snapshot]]:
        """The newest stored samples (sync id, snapshot)."""
        data = (await self._row("SELECT pgsync.samples_v1(%s)", limit))[0]
        return [(sample["syncId"], Snapshot.parse(sample["snapshot"])) for sample in data]

    async def heartbeat(self) -> None:
        """Puts a snapshot sample into the log."""
        await self._row("SELECT pgsync.heartbeat_v1()")

    async def anchor(self, unique: str) -> None:
        """Puts an anchor with this id into the log."""
        await self._row("SELECT pgsync.anchor_v1(%s)", unique)

    async def watch_tables(self) -> tuple[TableProblem, ...]:
        """What a push has to put right; see `pgsync.watch_tables_v1`."""
        data = (await self._row("SELECT pgsync.watch_tables_v1()"))[0]
        return tuple(TableProblem(each["model"], each["problem"], each["broken"]) for each in data)

    async def maintain(self) -> None:
        """Keeps the private tables in shape; see `pgsync.maintain_v1`."""
        await self._row("SELECT pgsync.maintain_v1()")

    async def seal(self) -> bool:
        """Seals what has been committed; see `pgsync.seal_v1`. True when there is more to seal already."""
        made = (await self._row("SELECT pgsync.seal_v1()"))[0]
        return made is not None and bool(made["more"])

    # ------------------------------------------------------------------ who is running

    async def lock_placing(self) -> None:
        """Waits until nobody else looks for its place, and keeps others from it."""
        await self._row("SELECT pg_advisory_lock(%s, %s)", _LOCK_CLASS, _PLACING)

    async def unlock_placing(self) -> None:
        """Lets the next one look for its place."""
        await self._row("SELECT pg_advisory_unlock(%s, %s)", _LOCK_CLASS, _PLACING)

    async def join_running(self) -> None:
        """Says that this gateway counts, for as long as the connection lives."""
        await self._row("SELECT pg_advisory_lock_shared(%s, %s)", _LOCK_CLASS, _RUNNING)

    async def others_running(self) -> bool:
        """Whether another gateway counts in this database."""
        row = await self._row(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            " AND classid::bigint = %s AND objid::bigint = %s AND objsubid = 2 AND pid <> pg_backend_pid())",
            _LOCK_CLASS,
            _RUNNING,
        )
        return bool(row[0])

    # ------------------------------------------------------------------

    async def _row(self, statement: str, *parameters: Any) -> tuple[Any, ...]:
        row = await self._row_or_none(statement, *parameters)
        assert row is not None
        return row

    async def _row_or_none(self, statement: str, *parameters: Any) -> tuple[Any, ...] | None:
        async with self._running:
            cursor = await self._connection.execute(statement, parameters)
            return await cursor.fetchone()
