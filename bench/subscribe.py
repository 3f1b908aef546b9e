"""Many WebSocket subscribers in one process, each of which has to receive every change once and in order.

python -m bench.subscribe URL KEY SUBSCRIBERS OTHER_KEY OTHERS CHANGES. The others must receive nothing. Says that
it is ready, then, when all have everything, the nanosecond of the machine's monotonic clock at which the
last of them had.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from dataclasses import dataclass

import aiohttp
import uvloop

from bench.child import READY

LIMIT_SECONDS = 240.0
OPENING = 50  # handshakes at a time
_DELTA = re.compile(r'"id":(\d+),"actionType"')


@dataclass(slots=True)
class Subscriber:
    """What one has received."""

    socket: aiohttp.ClientWebSocketResponse
    count: int = 0
    last: int = 0
    finished_ns: int = 0


class Frames:
    """The sync ids of the changes in a frame; equal frames, of which there is one per subscriber, are read once."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, int, int]] = {}

    def read(self, text: str) -> tuple[int, int, int]:
        """First and last sync id and how many; (0, 0, 0) without any. Raises ValueError when one is missing."""
        found = self._known.get(text)
        if found is None:
            ids = [int(number) for number in _DELTA.findall(text)]
            if ids and ids != list(range(ids[0], ids[0] + len(ids))):
                raise ValueError("a frame lacks changes or has them out of order")
            found = (ids[0], ids[-1], len(ids)) if ids else (0, 0, 0)
            if len(self._known) > 200:
                self._known.clear()
            self._known[text] = found
        return found


async def opened(session: aiohttp.ClientSession, url: str, key: str, turn: asyncio.Semaphore) -> Subscriber:
    """A subscriber that is in step with the stream."""
    async with turn:
        protocols = (f"ablo.bearer.{key}", "ablo.sync.v1")
        socket = await session.ws_connect(f"{url}/api/sync/ws", protocols=protocols, max_msg_size=0)
        await socket.send_json({"type": "sync_request", "payload": {"lastSyncId": 0, "protocolVersion": 1}})
        while "sync_response" not in (await socket.receive_str()):
            pass
        return Subscriber(socket)


async def follow(subscriber: Subscriber, frames: Frames, expected: int) -> None:
    """Reads until it has everything."""
    while subscriber.count < expected:
        first, last, count = frames.read(await subscriber.socket.receive_str())
        if count:
            if subscriber.last and first != subscriber.last + 1:
                raise ValueError(f"{subscriber.last} is followed by {first}")
            subscriber.last = last
            subscriber.count += count
    subscriber.finished_ns = time.monotonic_ns()


async def ping(others: list[Subscriber]) -> None:
    """They have received nothing if the first that comes is the answer to a ping."""
    for other in others:
        await other.socket.send_json({"type": "ping", "payload": {}})
        if '"pong"' not in (text := await other.socket.receive_str()):
            raise ValueError(f"a subscriber that is not concerned has received {text[:200]}")


async def main(url: str, key: str, subscribers: int, other_key: str, others: int, changes: int) -> None:
    frames, turn = Frames(), asyncio.Semaphore(OPENING)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.timeout(LIMIT_SECONDS):
        concerned = await asyncio.gather(*(opened(session, url, key, turn) for _ in range(subscribers)))
        unconcerned = await asyncio.gather(*(opened(session, url, other_key, turn) for _ in range(others)))
        print(READY, flush=True)
        await asyncio.gather(*(follow(one, frames, changes) for one in concerned))
        finished = max(one.finished_ns for one in concerned)
        await ping(list(unconcerned))
        print(json.dumps({"finished_ns": finished}), flush=True)


if __name__ == "__main__":
    given = sys.argv[1:]
    uvloop.run(main(given[0], given[1], int(given[2]), given[3], int(given[4]), int(given[5])))
