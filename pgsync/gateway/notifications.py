"""Listens to the database's rare announcements: a schema was activated, a key was revoked.

While the connection is down announcements are missed, so on return everything that they would have changed is looked
up anew.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import orjson
import psycopg
from psycopg import sql

from pgsync import names
from pgsync.gateway.database import DatabaseUnavailableError
from pgsync.log import Event, emit

RETRY_SECONDS: Final = 1.0

Listener = Callable[[Mapping[str, Any]], Awaitable[None]]


class Notifications:
    """Calls `on_message` for each announcement and `on_gap` after connecting, when some may have been missed."""

    def __init__(self, conninfo: str, *, on_message: Listener, on_gap: Callable[[], Awaitable[None]]) -> None:
        self._conninfo = conninfo
        self._on_message = on_message
        self._on_gap = on_gap

    async def run(self) -> None:
        """Listens until it is cancelled."""
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    self._conninfo,
                    autocommit=True,
                    application_name="pgsync gateway notifications",
                    client_encoding="UTF8",
                ) as connection:
                    await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(names.CHANNEL)))
                    await self._on_gap()
                    async for notice in connection.notifies():
                        await self._on_message(_parse(notice.payload))
            except (psycopg.Error, DatabaseUnavailableError) as error:
                # Also when what an announcement asks for cannot be had now: connecting again asks for all of it.
                emit(Event.DATABASE_UNAVAILABLE, error=error)
            await asyncio.sleep(RETRY_SECONDS)


def _parse(payload: str) -> Mapping[str, Any]:
    """An announcement; anybody may notify on the channel, so one of another form counts for nothing."""
    with contextlib.suppress(orjson.JSONDecodeError):
        parsed = orjson.loads(payload)
        if isinstance(parsed, dict):
            return parsed
    return {}
