"""One replication connection: creates slots, starts streaming, hands out `pgoutput` messages, confirms positions.

psycopg has no replication API, but the libpq underneath carries the protocol
(https://www.postgresql.org/docs/current/protocol-replication.html). Nothing here ever cancels a read: a status timer
notices a dead server and fails the read instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg import errors as pg_errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import ConnStatus, Escaping, ExecStatus
from psycopg.pq.abc import PGresult

from pgsync.libpq import Watched
from pgsync.values import SESSION_OPTIONS

STATUS_SECONDS: Final = 10.0
SILENCE_SECONDS: Final = 45.0  # the server answers every status at once, so this many missed is a dead connection
CLOSE_SECONDS: Final = 1.0
READ_BYTES: Final = 1 << 16  # some milliseconds of work, so that the event loop stays responsive during a catch-up
MIN_VERSION: Final = 140000  # pgoutput passes logical messages on from 14
_FAILOVER_VERSION: Final = 170000
_GONE: Final = ("08", "57P")  # SQLSTATE classes of a connection that ends
_POSTGRES_EPOCH_SECONDS: Final = 946_684_800  # 2000-01-01

_XLOG_DATA: Final = ord("w")
_KEEPALIVE: Final = ord("k")
_XLOG_DATA_HEADER: Final = 25
_keepalive = struct.Struct(">cQqB").unpack_from
_start_of_data = struct.Struct(">Q").unpack_from
_status = struct.Struct(">cQQQqB").pack


class ReplicationError(Exception):
    """Replication cannot go on; `hint` says what the operator can do. Base of the errors below."""

    def __init__(self, message: str, *, hint: str = "", sqlstate: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        self.sqlstate = sqlstate


class ConnectionLostError(ReplicationError):
    """The server went away or ended the stream: reconnecting may help."""


class SlotActiveError(ReplicationError):
    """Another process reads from the slot: perhaps our own previous one, which the server has not given up on yet."""


class SlotMissingError(ReplicationError):
    """There is no such slot."""


class SlotInvalidatedError(ReplicationError):
    """The server has removed log that the slot still needed; the slot is of no more use."""


class WalLevelError(ReplicationError):
    """The server does not write what logical decoding needs."""


class ReplicationRightError(ReplicationError):
    """The role may not read the log."""


class LoginRefusedError(ReplicationError):
    """The server runs and refuses this login."""


class ServerFullError(ReplicationError):
    """No slot or no walsender is free: it may be again, but nobody waits for that at the start."""


class SynchronousStandbyError(ReplicationError):
    """Every commit on the server would wait for us."""


class PublicationMissingError(ReplicationError):
    """Nothing has been installed here, or somebody dropped the publication."""


def meaning(error: BaseException) -> str | None:
    """What an error of ours says to the operator."""
    return f"{error}. {error.hint}".removesuffix(". ") if isinstance(error, ReplicationError) else None


def may_pass(error: BaseException, *, was_connected: bool) -> bool:
    """Whether connecting again can help."""
    if isinstance(error, ServerFullError | ReplicationRightError | SynchronousStandbyError):
        return was_connected  # a gateway that serves holds out until somebody has put it right
    return isinstance(
        error,
        ConnectionLostError
        | SlotActiveError
        | SlotMissingError
        | SlotInvalidatedError
        | psycopg.OperationalError
        | psycopg.InterfaceError,
    )


@dataclass(frozen=True, slots=True)
class System:
    """What a position of the log is a position of: another `identifier` or `timeline` makes it meaningless."""

    identifier: str
    timeline: int
    flushed_lsn: int


def parse_lsn(text: str) -> int:
    """`16/B374D848` as an integer."""
    high, _, low = text.partition("/")
    return int(high, 16) << 32 | int(low, 16)


def format_lsn(lsn: int) -> str:
    """The integer as Postgres writes it."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


_CONNECTION_DEFAULTS: Final[Mapping[str, str]] = {
    "connect_timeout": "10",
    # so that a server that vanished is noticed within a minute, whichever side had something to say
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "4",
    "tcp_user_timeout": "30000",
}


# Names are Postgres's own: nobody can put one before them that fits better and is run as the listener.
_OPTIONS: Final = r"-c search_path=pg_catalog,pg_temp -c default_transaction_isolation=read\ committed"


def with_settings(conninfo: str) -> str:
    """`conninfo` as both connections of a feed use it: with the session settings that fix the text form of every value,
    UTF-8, and limits for a server that does not answer where it has none of its own.
    """
    given = conninfo_to_dict(conninfo)
    options = f"{given.get('options') or ''} {SESSION_OPTIONS} {_OPTIONS}".strip()
    return make_conninfo("", **{**_CONNECTION_DEFAULTS, **given, "options": options, "client_encoding": "UTF8"})


class Replication(Watched):
    """A connection in replication mode. One task at a time may await it; nobody else touches it.

    `sent_lsn`: everything that committed before it and concerns us has been handed out by `read`.
    """

    def __init__(self, owner: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
        super().__init__(owner)
        self._escaping = Escaping(self._pgconn)
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._last_heard = time.monotonic()
        self._ended: ReplicationError | None = None
        self._confirmed_lsn = 0
        self._streaming = False
        self.sent_lsn = 0

    @classmethod
    async def connect(cls, conninfo: str, *, application_name: str) -> Replication:
        """Opens a replication connection to the database of `conninfo`, whose role needs REPLICATION.

        Raises ConnectionLostError when there is no connection to be had, ReplicationError for a server that is too old.
        """
        try:
            owner = await psycopg.AsyncConnection.connect(
                with_settings(conninfo),
                autocommit=True,
                application_name=application_name,
                replication="database",
            )
        except psycopg.Error as error:
            raise ConnectionLostError(str(error).strip(), sqlstate=error.sqlstate) from error
        if owner.pgconn.server_version < MIN_VERSION:
            await owner.close()
            raise ReplicationError("PostgreSQL is older than 14", hint="pgsync works with PostgreSQL 14 and later.")
        return cls(owner)

    @property
    def server_version(self) -> int:
        """As libpq has it: 150004 is 15.4."""
        return self._pgconn.server_version

    async def identify(self) -> System:
        """Which cluster this is, and how far its log is flushed."""
        result = await self._command(b"IDENTIFY_SYSTEM")
        return System(_cell(result, 0), int(_cell(result, 1)), parse_lsn(_cell(result, 2)))

    async def create_slot(self, slot: str, *, failover: bool = True) -> int:
        """Makes a logical slot and returns the position it starts at.

        With `failover` a standby of PostgreSQL 17 or later keeps a copy of it. Waits for every transaction that is open
        now. Raises WalLevelError, or ServerFullError for a server without a free slot.
        """
        kept = failover and self.server_version >= _FAILOVER_VERSION
        options = b"(SNAPSHOT 'nothing', FAILOVER true)" if kept else b"NOEXPORT_SNAPSHOT"
        command = b"CREATE_REPLICATION_SLOT %b LOGICAL pgoutput %b" % (self._identifier(slot), options)
        try:
            result = await self._command(command)
        except pg_errors.ObjectNotInPrerequisiteState as error:
            raise await self._explain(slot, error) from error
        except pg_errors.ConfigurationLimitExceeded as error:
            raise ServerFullError(
                "the server has no free replication slot",
                hint="Drop slots that nobody uses (`pgsync slots`), or raise max_replication_slots and restart it.",
                sqlstate=error.sqlstate,
            ) from error
        return parse_lsn(_cell(result, 1))

    async def set_failover(self, slot: str, failover: bool) -> None:
        """Changes whether a standby keeps a copy of a slot that nobody reads now. From PostgreSQL 17 on."""
        setting = b"true" if failover else b"false"
        await self._command(b"ALTER_REPLICATION_SLOT %b (FAILOVER %b)" % (self._identifier(slot), setting))

    async def drop_slot(self, slot: str) -> None:
        """Removes a slot; no error when there is none."""
        with contextlib.suppress(pg_errors.UndefinedObject):
            await self._command(b"DROP_REPLICATION_SLOT %b WAIT" % self._identifier(slot))

    async def start(self, slot: str, *, publication: str, from_lsn: int = 0) -> None:
        """Begins to stream every transaction that commits at or after `from_lsn`, or after what the slot has confirmed.

        Raises PublicationMissingError, SlotActiveError, SlotMissingError, SlotInvalidatedError, WalLevelError.
        """
        literal = self._escaping.escape_literal(publication.encode())
        result = await self._command(b"SELECT 1 FROM pg_catalog.pg_publication WHERE pubname = %b" % literal)
        if result.ntuples == 0:
            raise PublicationMissingError(
                f"there is no publication {publication!r} in this database", hint="Run `pgsync push` on it."
            )
        quoted = self._escaping.escape_literal(self._identifier(publication))
        command = b"START_REPLICATION SLOT %b LOGICAL %b (proto_version '1', publication_names %b, messages 'true')" % (
            self._identifier(slot),
            format_lsn(from_lsn).encode(),
            quoted,
        )
        try:
            await self._command(command)
        except pg_errors.ObjectInUse as error:
            raise SlotActiveError(
                f"replication slot {slot!r} is in use",
                hint="Two gateways need a deployment name each. One that died is let go of within wal_sender_timeout.",
                sqlstate=error.sqlstate,
            ) from error
        except pg_errors.UndefinedObject as error:
            raise SlotMissingError(f"there is no replication slot {slot!r}", sqlstate=error.sqlstate) from error
        except pg_errors.ObjectNotInPrerequisiteState as error:
            raise await self._explain(slot, error) from error
        self._streaming = True
        self._last_heard = time.monotonic()
        self._timer = self._loop.call_later(STATUS_SECONDS, self._on_timer)

    async def read(self) -> list[bytes]:
        """The next `pgoutput` messages, each whole, about READ_BYTES at most; waits until there is one or a keepalive.

        An empty list means that only `sent_lsn` has moved. What is not read stays in the socket, so a slow reader slows
        the server, not our memory. Raises ConnectionLostError when the stream has ended.
        """
        while True:
            if self._ended is not None:
                raise self._ended
            before = self.sent_lsn
            messages = self._drain()
            if messages or self.sent_lsn != before:
                return messages
            if self._ended is None:  # what was found at the end of the drain is raised after the messages before it
                await self._readable()

    def confirm(self, lsn: int) -> None:
        """Tells the server that nothing committed before `lsn` is needed again; never goes back."""
        self._confirmed_lsn = max(self._confirmed_lsn, lsn)
        self._send_status(reply=False)

    def fail(self, error: ReplicationError) -> None:
        """Has `read` raise this error from now on."""
        self._fail(error)

    async def close(self) -> None:
        """Ends the stream so that the slot is free at once, then the connection; never raises for a lost server."""
        if self._timer is not None:
            self._timer.cancel()
        try:
            if self._streaming and self._ended is None:
                self._send_status(reply=False)
                self._pgconn.put_copy_end()
                self._flush()
                async with asyncio.timeout(CLOSE_SECONDS):
                    while self._ended is None:
                        self._drain()
                        if self._ended is None:
                            await self._readable()
        except (TimeoutError, psycopg.Error, ReplicationError):
            pass
        finally:
            self._stop_watching()
            await self._owner.close()

    # ------------------------------------------------------------------ reading

    def _drain(self) -> list[bytes]:
        """Everything that has arrived, up to READ_BYTES."""
        pgconn = self._pgconn
        get_copy_data = pgconn.get_copy_data
        messages: list[bytes] = []
        size_bytes = 0
        asked = False
        try:
            while size_bytes < READ_BYTES:
                size, data = get_copy_data(1)
                if size > 0:
                    asked = False
                    kind = data[0]
                    if kind == _XLOG_DATA:
                        messages.append(bytes(data[_XLOG_DATA_HEADER:]))
                        size_bytes += size
                    elif kind == _KEEPALIVE:
                        self._on_keepalive(bytes(data))
                elif size == 0:
                    if asked:
                        break
                    pgconn.consume_input()
                    asked = True
                else:
                    self._end_of_stream()
                    break
        except psycopg.Error as error:
            self._ended = _lost(error)
        self._last_heard = time.monotonic()
        return messages

    def _on_keepalive(self, data: bytes) -> None:
        _, lsn, _, reply = _keepalive(data)
        self.sent_lsn = max(self.sent_lsn, lsn)
        if reply:
            self._send_status(reply=False)

    def _end_of_stream(self) -> None:
        result = self._pgconn.get_result()
        if result is not None and result.status == ExecStatus.FATAL_ERROR:
            self._ended = _lost(pg_errors.error_from_result(result))
        else:
            self._ended = ConnectionLostError("the server has ended the stream")

    async def _readable(self) -> None:
        if self._pgconn.status == ConnStatus.BAD:  # libpq has closed the socket
            raise ConnectionLostError("the connection is closed")
        self._start_reading()
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
            self._stop_reading()

    def _on_readable(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # ------------------------------------------------------------------ writing

    def _send_status(self, *, reply: bool) -> None:
        if not self._streaming or self._ended is not None:
            return
        clock = int((time.time() - _POSTGRES_EPOCH_SECONDS) * 1_000_000)
        written = max(self.sent_lsn, self._confirmed_lsn)
        try:
            self._pgconn.put_copy_data(
                _status(b"r", written, self._confirmed_lsn, self._confirmed_lsn, clock, int(reply))
            )
            self._flush()
        except psycopg.Error as error:
            self._fail(_lost(error))

    def _on_lost(self, error: psycopg.Error) -> None:
        self._fail(_lost(error))

    def _on_timer(self) -> None:
        # a reader that is busy elsewhere has not looked, so only one that waits can tell silence
        silent_seconds = time.monotonic() - self._last_heard
        if self._waiter is not None and silent_seconds > SILENCE_SECONDS:
            self._fail(ConnectionLostError(f"the server has been silent for {silent_seconds:.0f} seconds"))
            return
        self._send_status(reply=True)
        self._timer = self._loop.call_later(STATUS_SECONDS, self._on_timer)

    def _fail(self, error: ReplicationError) -> None:
        self._ended = self._ended or error
        self._on_readable()

    # ------------------------------------------------------------------ commands

    async def _command(self, command: bytes) -> PGresult:
        """Runs one command by the simple protocol, the only one that a replication connection knows."""
        try:
            self._pgconn.send_query(command)
            self._flush()
            last: PGresult | None = None
            while True:
                while self._pgconn.is_busy():
                    await self._readable()
                    self._pgconn.consume_input()
                result = self._pgconn.get_result()
                if result is None:
                    break
                last = result
                if result.status == ExecStatus.COPY_BOTH:
                    break
        except psycopg.OperationalError as error:
            raise _lost(error) from error
        if last is None:
            raise ConnectionLostError("the server has closed the connection")
        if last.status == ExecStatus.FATAL_ERROR:
            problem = pg_errors.error_from_result(last)
            if self._pgconn.status == ConnStatus.BAD or (problem.sqlstate or "").startswith(_GONE):
                raise _lost(problem) from problem
            raise problem
        return last

    async def _explain(self, slot: str, error: psycopg.Error) -> ReplicationError:
        """Which prerequisite is missing: the SQLSTATE alone does not say."""
        if _cell(await self._command(b"SHOW wal_level"), 0) != "logical":
            return WalLevelError(
                "the server's wal_level is not logical",
                hint="ALTER SYSTEM SET wal_level = logical; then restart the server.",
                sqlstate=error.sqlstate,
            )
        return SlotInvalidatedError(
            f"replication slot {slot!r} cannot be read any more: {error.diag.message_detail or error}",
            hint="The server gave up keeping log for it; see max_slot_wal_keep_size and idle_replication_slot_timeout.",
            sqlstate=error.sqlstate,
        )

    def _identifier(self, name: str) -> bytes:
        return bytes(self._escaping.escape_identifier(name.encode()))


def _lost(error: psycopg.Error) -> ConnectionLostError:
    lost = ConnectionLostError(str(error).strip(), sqlstate=error.sqlstate)
    lost.__cause__ = error
    return lost


def _cell(result: PGresult, column: int) -> str:
    value = result.get_value(0, column)
    assert value is not None
    return bytes(value).decode()
