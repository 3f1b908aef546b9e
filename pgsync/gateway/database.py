"""The gateway's connections: a pool that grows on demand, gives the last used one first and drops what broke.

Reads and writes have a pool each, so that writers who wait for a row lock never keep a reader waiting.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Final

import psycopg
from psycopg import errors as pg_errors
from psycopg.pq.abc import PGresult

from pgsync.gateway.connection import Call, Connection, Statement
from pgsync.values import SESSION_OPTIONS

_RETRIES: Final = 3
_ROLE_CHECK = Statement(
    b"SELECT r.rolname, r.rolsuper, r.rolbypassrls FROM pg_catalog.pg_roles AS r WHERE r.rolname = current_user"
)


class DatabaseUnavailableError(Exception):
    """No connection could be had: the server does not answer, or every connection stays busy."""


class UnsafeRoleError(Exception):
    """The gateway's role would bypass row-level security; the message holds the statement that fixes it."""


class Database:
    """A pool of at most `size` connections of the gateway role.

    `wait_seconds` bounds the wait for a free connection and `max_waiting` the number of those who wait; beyond either
    the request fails with DatabaseUnavailableError instead of joining a line that only grows. A timeout of 0 is none.
    """

    def __init__(
        self,
        conninfo: str,
        *,
        size: int,
        application_name: str = "pgsync gateway",
        statement_timeout_seconds: float = 30.0,
        lock_timeout_seconds: float = 0.0,
        wait_seconds: float = 10.0,
        max_waiting: int = 1000,
    ) -> None:
        self._conninfo = conninfo
        self._size = size
        self._application_name = application_name
        timeouts = {"statement_timeout": statement_timeout_seconds, "lock_timeout": lock_timeout_seconds}
        limits = " ".join(f"-c {name}={round(seconds * 1000)}" for name, seconds in timeouts.items())
        self._options = f"{SESSION_OPTIONS} {limits}"
        self._wait_seconds = wait_seconds
        self._max_waiting = max_waiting
        self._free: list[Connection] = []
        self._open: set[Connection] = set()
        self._opening = 0
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()
        self._closed = False

    @property
    def is_saturated(self) -> bool:
        """Whether a request that came now would have to wait for a connection."""
        return not self._free and len(self._open) + self._opening >= self._size

    async def check_role(self) -> str:
        """The name of the role the pool connects as. Raises UnsafeRoleError when it is not bound by row security."""
        (result,) = await self.run([Call(_ROLE_CHECK)])
        role, is_superuser, bypasses = (result.get_value(0, column) for column in range(3))
        name = (role or b"").decode()
        if b"t" in (is_superuser, bypasses):
            raise UnsafeRoleError(
                f"role {name} is a superuser or bypasses row security, so it would see every tenant's rows:"
                f' connect as pgsync_gateway, or run ALTER ROLE "{name}" NOSUPERUSER NOBYPASSRLS'
            )
        return name

    async def run(self, calls: Sequence[Call]) -> list[PGresult]:
        """Runs the statements in one transaction and one round trip; the results in their order.

        A lost connection, a deadlock and a plan that DDL made stale are tried again, so the statements must be safe to
        repeat: reads are, and a write is by its idempotency key. Raises psycopg.Error and DatabaseUnavailableError.
        """
        attempt = 0
        while True:
            attempt += 1
            connection = await self._acquire()
            running = connection.run(calls)
            running.add_done_callback(partial(self._release_after, connection))
            try:
                return await asyncio.shield(running)
            except pg_errors.FeatureNotSupported:  # "cached plan must not change result type"
                if attempt > 1 or not any(call.statement.name for call in calls):
                    raise
                self._retire_all()
            except (pg_errors.DeadlockDetected, pg_errors.SerializationFailure):
                if attempt > _RETRIES:
                    raise
            except psycopg.OperationalError as error:
                if connection.is_open or self._closed:
                    raise
                if attempt > 1:
                    raise DatabaseUnavailableError("the connection to the database was lost") from error

    def close(self) -> None:
        """Closes every connection; requests under way fail."""
        self._closed = True
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
        for connection in list(self._open):
            self._open.discard(connection)
            connection.retire()
        self._free.clear()

    def _retire_all(self) -> None:
        """Lets connections go whose prepared statements DDL has made stale; those in use go when they are done."""
        for connection in self._free:
            self._open.discard(connection)
            connection.retire()
        self._free.clear()
        for connection in self._open:
            connection.is_stale = True

    async def _acquire(self) -> Connection:
        while not self._closed:
            while self._free:
                connection = self._free.pop()
                if connection.is_open:
                    return connection
                self._drop(connection)
            if len(self._open) + self._opening < self._size:
                return await self._connect()
            if len(self._waiting) >= self._max_waiting:
                raise DatabaseUnavailableError("too many requests wait for the database")
            waiter: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            try:
                async with asyncio.timeout(self._wait_seconds):
                    given = await waiter
            except BaseException as error:
                if waiter.done() and not waiter.cancelled() and (late := waiter.result()) is not None:
                    self._release(late)  # handed over in the moment we gave up
                if isinstance(error, TimeoutError):
                    raise DatabaseUnavailableError("no connection to the database became free in time") from error
                raise
            if given is not None:
                return given
        raise DatabaseUnavailableError("the gateway is closing")

    async def _connect(self) -> Connection:
        self._opening += 1
        try:
            connection = await Connection.connect(
                self._conninfo, application_name=self._application_name, options=self._options
            )
        except psycopg.OperationalError as error:
            self._wake_one()
            raise DatabaseUnavailableError("the database does not accept connections") from error
        finally:
            self._opening -= 1
        self._open.add(connection)
        return connection

    def _release_after(self, connection: Connection, running: asyncio.Future[list[PGresult]]) -> None:
        if not running.cancelled():
            running.exception()  # seen, also when the caller has gone
        self._release(connection)

    def _release(self, connection: Connection) -> None:
        if not connection.is_open or connection.is_stale or self._closed:
            self._drop(connection)
            return
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        self._free.append(connection)

    def _drop(self, connection: Connection) -> None:
        self._open.discard(connection)
        connection.retire()
        self._wake_one()

    def _wake_one(self) -> None:
        """Somebody who waits may open a connection in place of one that went."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
