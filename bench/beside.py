"""Three clients in one process: one that has to receive every change, one of others that pings, one that may not read.

python -m bench.beside URL KEY CHANGES OTHER_KEY STUCK SECONDS. STUCK is 1 for a client that stops reading. Says that it
is ready, then, when the first has CHANGES changes and SECONDS are over, how long the answers to the pings took.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time

import aiohttp
import uvloop

from bench.child import READY
from bench.subscribe import LIMIT_SECONDS, Frames, Subscriber, follow, opened

PAUSE_SECONDS = 0.01


async def ping_until(other: Subscriber, done: asyncio.Event) -> list[float]:
    """Milliseconds from each ping to its answer, one after another. Nothing else may come."""
    taken: list[float] = []
    while not done.is_set():
        began = time.perf_counter()
        await other.socket.send_json({"type": "ping", "payload": {}})
        if '"pong"' not in (text := await other.socket.receive_str()):
            raise ValueError(f"a subscriber that is not concerned has received {text[:200]}")
        taken.append((time.perf_counter() - began) * 1000)
        await asyncio.sleep(PAUSE_SECONDS)
    return taken


async def main(url: str, key: str, changes: int, other_key: str, stuck: bool, seconds: float) -> None:
    turn, done = asyncio.Semaphore(3), asyncio.Event()
    async with aiohttp.ClientSession() as session, asyncio.timeout(LIMIT_SECONDS):
        reader, other = await opened(session, url, key, turn), await opened(session, url, other_key, turn)
        if stuck:
            await opened(session, url, key, turn)  # nobody receives from it any more
        print(READY, flush=True)
        pinging = asyncio.create_task(ping_until(other, done))
        begun = time.monotonic()
        await follow(reader, Frames(), changes)
        await asyncio.sleep(seconds - (time.monotonic() - begun))
        done.set()
        taken = await pinging
    p99 = statistics.quantiles(taken, n=100, method="inclusive")[98] if len(taken) > 1 else taken[0]
    print(json.dumps({"p50": statistics.median(taken), "p99": p99, "finished_ns": reader.finished_ns}), flush=True)


if __name__ == "__main__":
    given = sys.argv[1:]
    uvloop.run(main(given[0], given[1], int(given[2]), given[3], given[4] == "1", float(given[5])))
