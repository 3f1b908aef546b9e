"""One pooled database connection in libpq's pipeline mode, driven by the event loop's readiness callbacks.

A request is a list of statements that travel in one network round trip; psycopg's own async connection takes several
times the processor time per statement, and the gateway's throughput is bound by exactly that.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg import errors as pg_errors
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult
from psycopg.rows import TupleRow

from pgsync.libpq import Watched


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL with `$n` places. `name` makes it a prepared statement of that name; without it, it is parsed each time."""

    sql: bytes
    name: bytes | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A statement with its parameters in Postgres text form (None is NULL)."""

    statement: Statement
    parameters: tuple[bytes | None, ...] = ()


_COMMAND, _PREPARATION = 0, 1
_ROLLBACK = Statement(b"ROLLBACK")


class PooledConnection(psycopg.AsyncConnection[TupleRow]):
    """What psycopg's pool holds: a connection whose requests go through `exchange`, from `start_exchange` on."""

    _exchange: Exchange | None = None

    @property
    def exchange(self) -> Exchange:
        """Runs the requests."""
        assert self._exchange is not None, "start_exchange has been awaited"
        return self._exchange

    async def start_exchange(self) -> None:
        """Enters pipeline mode; psycopg's own ways to run statements are not for this connection any more."""
        self._exchange = Exchange(self)

    async def close(self) -> None:
        """Closes at once; a request under way fails."""
        if self._exchange is not None:
            self._exchange.stop()
        await super().close()


class Exchange(Watched):
    """Runs one request at a time; `run` may be called again when its future is done.

    A caller that stops waiting does not disturb the connection: the answer is read to its end whoever wants it.
    """

    def __init__(self, owner: PooledConnection) -> None:
        super().__init__(owner)
        self._prepared: set[bytes] = set()
        self._preparing: deque[bytes] = deque()
        self._expected: deque[int] = deque()
        self._results: list[PGresult] = []
        self._error: psycopg.Error | None = None
        self._waiter: asyncio.Future[list[PGresult]] | None = None
        self.is_open = True
        self._pgconn.enter_pipeline_mode()
        self._start_reading()

    def run(self, calls: Sequence[Call]) -> asyncio.Future[list[PGresult]]:
        """Sends the statements, which share one transaction, and gives the result of each.

        Raises psycopg.Error: of the first statement that failed (the others were not run), or OperationalError when the
        connection was lost, in which case it is unknown whether they were.
        """
        assert self._waiter is None, "one request at a time"
        waiter = self._waiter = self._loop.create_future()
        try:
            pgconn = self._pgconn
            for call in calls:
                statement = call.statement
                name = statement.name
                if name is None:
                    pgconn.send_query_params(statement.sql, call.parameters)
                else:
                    if name not in self._prepared:
                        pgconn.send_prepare(name, statement.sql)
                        self._expected.append(_PREPARATION)
                        self._preparing.append(name)
                        self._prepared.add(name)
                    pgconn.send_query_prepared(name, call.parameters)
                self._expected.append(_COMMAND)
            pgconn.pipeline_sync()
            self._flush()
        except psycopg.Error as error:
            self._lose(error)
        return waiter

    def _on_readable(self) -> None:
        try:
            while True:
                self._pgconn.consume_input()  # raises at the end
                while self._waiter is not None and not self._pgconn.is_busy():
                    self._take(self._pgconn.get_result())
                if not self._has_hung_up():
                    break
        except psycopg.Error as error:
            self._lose(error)

    def _take(self, result: PGresult | None) -> None:
        if result is None:  # the end of one statement's results
            if not self._expected:  # of all that libpq has: the connection is gone
                raise self._error or psycopg.OperationalError("the server closed the connection")
            self._expected.popleft()
            return
        status = result.status
        if status == ExecStatus.PIPELINE_SYNC:
            self._finish()
        elif status in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
            if self._expected[0] == _COMMAND:
                self._results.append(result)
            else:  # it stays prepared, whatever becomes of the transaction
                self._preparing.popleft()
        elif self._error is None and status != ExecStatus.PIPELINE_ABORTED:
            self._error = pg_errors.error_from_result(result)

    def _finish(self) -> None:
        waiter, error, results = self._waiter, self._error, self._results
        self._waiter, self._error, self._results = None, None, []
        self._expected.clear()
        assert waiter is not None
        if error is None:
            if not waiter.cancelled():
                waiter.set_result(results)
            return
        self._prepared.difference_update(self._preparing)  # those behind the failure were never prepared
        self._preparing.clear()
        if self._pgconn.transaction_status == TransactionStatus.IDLE:
            if not waiter.cancelled():
                waiter.set_exception(error)
            return
        cleanup = self.run([Call(_ROLLBACK)])
        cleanup.add_done_callback(lambda done: self._after_rollback(done, waiter, error))

    @staticmethod
    def _after_rollback(
        done: asyncio.Future[list[PGresult]], waiter: asyncio.Future[list[PGresult]], error: psycopg.Error
    ) -> None:
        done.exception()  # a rollback that failed lost the connection, which is noticed where it is used next
        if not waiter.cancelled():
            waiter.set_exception(error)

    def stop(self) -> None:
        """Stops watching the socket, before it is closed; a request under way fails."""
        self._lose(psycopg.OperationalError("the gateway closed the connection"))

    def _on_lost(self, error: psycopg.Error) -> None:
        self._lose(error)

    def _lose(self, error: psycopg.Error) -> None:
        if self.is_open:
            self.is_open = False
            self._stop_watching()
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(psycopg.OperationalError(str(error)))
