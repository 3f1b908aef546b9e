"""What every connection that is driven by the event loop's readiness callbacks does alike: write, and be told.

psycopg's `pq` layer has the socket and the buffers; who reads when, and what a loss means, is each connection's own.
"""

from __future__ import annotations

import asyncio
import select

import psycopg
from psycopg.pq.abc import PGconn


class Watched:
    """A `PGconn` in nonblocking mode whose socket the running event loop watches.

    A subclass says what happens in `_on_readable` and in `_on_lost`, and calls `_stop_watching` before the socket goes.
    """

    def __init__(self, owner: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
        self._owner = owner  # keeps the PGconn alive and closes it
        self._pgconn: PGconn = owner.pgconn
        self._pgconn.nonblocking = 1
        self._loop = asyncio.get_running_loop()
        self._socket = self._pgconn.socket
        self._hangups = select.poll()
        self._hangups.register(self._socket, 0)
        self._reading = False
        self._writing = False

    def _on_readable(self) -> None:
        raise NotImplementedError

    def _on_lost(self, error: psycopg.Error) -> None:
        """Writing has failed."""
        raise NotImplementedError

    def _has_hung_up(self) -> bool:
        """Whether the server has let go of the socket; what it has sent before is still there to be read.

        Of a socket with an error uvloop tells once and then never again, whatever is left to read.
        """
        return bool(self._hangups.poll(0))

    def _start_reading(self) -> None:
        if not self._reading:
            self._loop.add_reader(self._socket, self._on_readable)
            self._reading = True

    def _stop_reading(self) -> None:
        if self._reading:
            self._loop.remove_reader(self._socket)
            self._reading = False

    def _flush(self) -> None:
        """Sends what libpq holds; what the socket does not take follows when it can. Raises psycopg.Error."""
        unsent = self._pgconn.flush()
        if unsent and not self._writing:
            self._loop.add_writer(self._socket, self._on_writable)
            self._writing = True
        elif not unsent and self._writing:
            self._stop_writing()

    def _on_writable(self) -> None:
        try:
            self._flush()
        except psycopg.Error as error:
            self._on_lost(error)

    def _stop_writing(self) -> None:
        if self._writing:
            self._loop.remove_writer(self._socket)
            self._writing = False

    def _stop_watching(self) -> None:
        self._stop_reading()
        self._stop_writing()
