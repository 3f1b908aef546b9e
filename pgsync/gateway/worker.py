"""One of several processes that serve on one port; see `pgsync.gateway.workers`.

It ends with the process that started it: their socket ends, however that one died.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from functools import partial
from pathlib import Path

from pgsync.gateway.app import Worker, run
from pgsync.gateway.schema import SchemaReceiver
from pgsync.gateway.workers import ALIVE, ALIVE_SECONDS, READY, Orders, relay_in
from pgsync.stream.relay import RelaySource


def read_orders(control: socket.socket) -> Orders:
    """What this worker is to do: the first line on its socket."""
    line = b""
    while not line.endswith(b"\n"):
        part = control.recv(1 << 16)
        if not part:
            raise ConnectionError("the process that started this worker has ended")
        line += part
    return Orders.from_json(line)


async def ended(reader: asyncio.StreamReader) -> None:
    """Waits until the process at the other end has ended, whatever of ours it has not read."""
    with contextlib.suppress(ConnectionError):
        await reader.read()  # nothing comes but the end


async def run_worker(orders: Orders, control: socket.socket, *, receive_schema: SchemaReceiver | None = None) -> None:
    """Serves until SIGTERM, or until the process at the other end of `control` ends."""
    stop = asyncio.Event()
    directory = Path(orders.directory)
    reader, writer = await asyncio.open_connection(sock=control)

    async def follow() -> None:
        await ended(reader)
        stop.set()

    async def tell() -> None:
        while not writer.is_closing():
            writer.write(ALIVE)
            await asyncio.sleep(ALIVE_SECONDS)

    tasks = [asyncio.create_task(follow()), asyncio.create_task(tell())]
    try:
        await run(
            orders.config,
            receive_schema=receive_schema,
            worker=Worker(
                orders.worker,
                partial(RelaySource.connect, str(relay_in(directory)), orders.worker),
                directory,
            ),
            stop=stop,
            on_ready=partial(writer.write, READY),
        )
    finally:
        for task in tasks:
            task.cancel()
        writer.close()
