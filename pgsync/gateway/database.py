"""The gateway's connections: psycopg's pool, whose connections run a request in one round trip.

Reads and writes have a pool each, so that writers who wait for a row lock never keep a reader waiting.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final
from weakref import WeakValueDictionary

import psycopg
from psycopg import errors as pg_errors
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq.abc import PGresult
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from pgsync.gateway.connection import Call, Exchange, PooledConnection, Statement
from pgsync.values import SESSION_OPTIONS

_RETRIES: Final = 3
_RECONNECT_SECONDS: Final = 1.0
# What the functions and policies need, whatever somebody has set for the database or the role.
_NEEDED: Final = r"-c default_transaction_isolation=read\ committed -c row_security=on"
_ROLE_CHECK = Statement(
    b"SELECT r.rolname, r.rolsuper, r.rolbypassrls FROM pg_catalog.pg_roles AS r WHERE r.rolname = current_user"
)


def _path(namespaces: Sequence[str]) -> str:
    """The option that sets a search_path: Postgres's own names first, temporary ones last."""
    path = ",".join(("pg_catalog", *namespaces, "pg_temp"))
    escaped = re.sub(r"[\\\s]", r"\\\g<0>", path)
    return f"-c search_path={escaped}"


class DatabaseUnavailableError(Exception):
    """No connection could be had: the server does not answer, or every connection stays busy."""


class UnsafeRoleError(Exception):
    """The gateway's role would bypass row-level security; the message holds the statement that fixes it."""


class Database:
    """A pool of at most `size` connections of the gateway role.

    `wait_seconds` bounds the wait for a free connection and `max_waiting` the number of those who wait; beyond either
    the request fails with DatabaseUnavailableError instead of joining a line that only grows. A timeout of 0 is none.
    One organization has three quarters of the connections at most, so that none who waits for its locks, or for its
    own slow queries, keeps the others from theirs.
    `namespaces` are where names of types and operators are looked up besides Postgres's own; None: where the role's
    `search_path` says.
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
        namespaces: Sequence[str] | None = None,
    ) -> None:
        timeouts = {"statement_timeout": statement_timeout_seconds, "lock_timeout": lock_timeout_seconds}
        limits = " ".join(f"-c {name}={round(seconds * 1000)}" for name, seconds in timeouts.items())
        # The session settings fix the text form of every value (`pgsync.values`); the operator's own go first.
        self._options = (
            f"{conninfo_to_dict(conninfo).get('options') or ''} {SESSION_OPTIONS} {_NEEDED} {limits}".strip()
        )
        self._conninfo = conninfo
        self._settings = {
            "autocommit": True,
            "application_name": application_name,
            "options": self._options if namespaces is None else f"{self._options} {_path(namespaces)}",
            "client_encoding": "UTF8",  # whatever the database's own is
        }
        self._size = size
        self._wait_seconds = wait_seconds
        self._max_waiting = max_waiting
        self._pool = self._make_pool()
        self._share = size - size // 4
        self._shares = WeakValueDictionary[str, asyncio.Semaphore]()  # each is there while somebody has or awaits it
        self._waiting_for_share = 0
        self._used: dict[PooledConnection, AsyncConnectionPool[PooledConnection]] = {}
        self._returning: set[asyncio.Task[None]] = set()
        self._closed = False

    def _make_pool(self) -> AsyncConnectionPool[PooledConnection]:
        return AsyncConnectionPool(
            self._conninfo,
            connection_class=PooledConnection,
            kwargs=self._settings,
            min_size=1,
            max_size=self._size,
            max_waiting=self._max_waiting,
            timeout=self._wait_seconds,
            configure=PooledConnection.start_exchange,
            reconnect_timeout=_RECONNECT_SECONDS,
            reconnect_failed=self._on_unreachable,
            open=False,
        )

    async def _on_unreachable(self, pool: AsyncConnectionPool[PooledConnection]) -> None:
        """Nothing can be had and nothing is held: whoever waits hears so now, and the next one finds a new pool."""
        if pool is self._pool and not self._closed and pool.get_stats()["pool_size"] == 0:
            self._pool = self._make_pool()
            self._return(pool.close(timeout=0))

    @property
    def stats(self) -> dict[str, int]:
        """What psycopg's pool counts: pool_size, pool_available, requests_waiting, .. ."""
        return self._pool.get_stats()

    def look_in(self, namespaces: Sequence[str]) -> None:
        """Has names looked up in these namespaces from now on, by connections that are made anew."""
        options = f"{self._options} {_path(namespaces)}"
        if options != self._settings["options"]:
            self._settings["options"] = options
            if not self._pool.closed:
                self._return(self._pool.drain())

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

    async def run(self, calls: Sequence[Call], *, organization: str | None = None) -> list[PGresult]:
        """Runs the statements in one transaction and one round trip; the results in their order.

        `organization` is whose share of the connections it takes, None for nobody's.

        A lost connection, a deadlock and a plan that DDL made stale are tried again, so the statements must be safe to
        repeat: reads are, and a write is by its idempotency key. Raises psycopg.Error and DatabaseUnavailableError.
        """
        attempt = 0
        while True:
            attempt += 1
            share = await self._take_share(organization)
            try:
                connection = await self._acquire()
            except BaseException:
                share.release()
                raise
            running = connection.exchange.run(calls)
            running.add_done_callback(partial(self._release_after, connection, share))
            try:
                return await asyncio.shield(running)
            except pg_errors.FeatureNotSupported:  # "cached plan must not change result type"
                if attempt > 1 or not any(call.statement.name for call in calls):
                    raise
                await self._pool.drain()
            except (pg_errors.DeadlockDetected, pg_errors.SerializationFailure):
                if attempt > _RETRIES:
                    raise
            except psycopg.OperationalError as error:
                if connection.exchange.is_open or self._closed:
                    raise
                if attempt > 1:
                    raise DatabaseUnavailableError("the connection to the database was lost") from error

    @asynccontextmanager
    async def hold(self, *, organization: str | None = None) -> AsyncIterator[Exchange]:
        """A connection for several requests, such as a transaction that is read bit by bit.

        It goes back to the pool when the block ends well, by then outside of any transaction, and is closed else.
        `organization` as of `run`. Raises DatabaseUnavailableError.
        """
        share = await self._take_share(organization)
        try:
            connection = await self._acquire()
            is_well = False
            try:
                yield connection.exchange
                is_well = True
            finally:
                self._return(self._give_back(connection, is_well=is_well))
        finally:
            share.release()

    async def _give_back(self, connection: PooledConnection, *, is_well: bool) -> None:
        if not is_well:
            await connection.close()
        await self._used.pop(connection).putconn(connection)

    async def close(self) -> None:
        """Closes every connection; requests under way fail."""
        self._closed = True
        await self._pool.close()
        for connection in list(self._used):
            await connection.close()

    async def _take_share(self, organization: str | None) -> asyncio.Semaphore:
        """What is to be released when the organization's request has ended."""
        if organization is None:
            return asyncio.Semaphore(0)
        share = self._shares.get(organization)
        if share is None:
            share = self._shares[organization] = asyncio.Semaphore(self._share)
        if not share.locked():
            await share.acquire()  # at once
            return share
        if self._waiting_for_share >= self._max_waiting:
            raise DatabaseUnavailableError("too many requests wait for the database")
        self._waiting_for_share += 1
        try:
            async with asyncio.timeout(self._wait_seconds):
                await share.acquire()
        except TimeoutError as error:
            raise DatabaseUnavailableError("too many requests of the organization hold the database up") from error
        finally:
            self._waiting_for_share -= 1
        return share

    async def _acquire(self) -> PooledConnection:
        """A connection that works, as far as one can tell without asking the server."""
        pool = self._pool
        if pool.closed and not self._closed:
            await pool.open()
        while True:
            try:
                connection = await self._get(pool)
            except PoolTimeout as error:
                raise DatabaseUnavailableError("no connection to the database became free in time") from error
            except TooManyRequests as error:
                raise DatabaseUnavailableError("too many requests wait for the database") from error
            except PoolClosed as error:
                what = "the gateway is closing" if self._closed else "the database does not accept connections"
                raise DatabaseUnavailableError(what) from error
            if connection.exchange.is_open:
                self._used[connection] = pool
                return connection
            await connection.close()  # it was lost while nobody used it; the pool replaces it
            self._return(pool.putconn(connection))

    async def _get(self, pool: AsyncConnectionPool[PooledConnection]) -> PooledConnection:
        """A connection of the pool. Raises CancelledError whenever the task has been cancelled meanwhile.

        Before Python 3.12 `asyncio.wait_for`, by which the pool waits, gives its result to a task that is cancelled
        just when there is one, and the task never learns that it was.
        """
        task = asyncio.current_task()
        assert task is not None
        requests = task.cancelling()
        connection = await pool.getconn()
        if task.cancelling() > requests:
            self._return(pool.putconn(connection))
            raise asyncio.CancelledError
        return connection

    def _release_after(
        self, connection: PooledConnection, share: asyncio.Semaphore, running: asyncio.Future[list[PGresult]]
    ) -> None:
        share.release()
        if not running.cancelled():
            running.exception()  # seen, also when the caller has gone
        self._return(self._used.pop(connection).putconn(connection))

    def _return(self, returning: Coroutine[None, None, None]) -> None:
        """Not in the request's own task: one that is cancelled would keep the connection."""
        task = asyncio.get_running_loop().create_task(returning)
        self._returning.add(task)
        task.add_done_callback(self._returning.discard)
