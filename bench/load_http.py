"""Sends updates of random rows over keep-alive connections, one after another on each, and says how many were answered.

python -m bench.load_http JSON: {"host", "port", "connections", "seconds", "warm_up_seconds", "path", "body", "headers",
"expect"}. `path` and `body` hold {id} and {number}. Plain protocol callbacks and requests that are put together from
bytes: several times faster than the servers it is meant for.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import sys
import time
from dataclasses import dataclass, field
from typing import Any, cast

import uvloop

from bench.world import ROWS

_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"content-length:"


@dataclass(slots=True)
class Load:
    """What is sent and what has come back; only what is sent while `counting` counts."""

    path: str
    body: str
    head: bytes
    expect: bytes
    counting: bool = False
    stopping: bool = False
    sent: int = 0
    latencies: list[float] = field(default_factory=list)
    failure: str = ""

    def request(self) -> bytes:
        """The next request, with an idempotency key of its own."""
        self.sent += 1
        body = self.body.replace("{number}", str(self.sent)).encode()
        path = self.path.replace("{id}", str(random.randint(1, ROWS))).encode()
        return b"PATCH %b HTTP/1.1\r\n%bIdempotency-Key: bench-%d-%d\r\nContent-Length: %d\r\n\r\n%b" % (
            path, self.head, os.getpid(), self.sent, len(body), body,
        )  # fmt: skip


class Connection(asyncio.Protocol):
    """Sends, waits for the whole answer, sends again."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._buffer = b""
        self._sent_at = 0.0
        self._counts = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._load.stopping and not self._load.failure:
            self._load.failure = f"a connection was closed: {error}"
        if not self.ended.done():
            self.ended.set_result(None)

    def data_received(self, data: bytes) -> None:
        answer = self._buffer = self._buffer + data
        end_of_head = answer.find(_END_OF_HEAD)
        if end_of_head < 0:
            return
        head = answer[:end_of_head].lower()
        at = head.find(_LENGTH)
        if at < 0:
            self._fail(answer)
            return
        length = int(head[at + len(_LENGTH) :].partition(b"\r\n")[0])
        if len(answer) < end_of_head + len(_END_OF_HEAD) + length:
            return
        if answer[9:12] != b"200" or self._load.expect not in answer:
            self._fail(answer)
            return
        if self._counts and self._load.counting:
            self._load.latencies.append(time.perf_counter() - self._sent_at)
        self._buffer = b""
        if self._load.stopping:
            self._transport.close()
        else:
            self._send()

    def _send(self) -> None:
        self._counts = self._load.counting
        self._sent_at = time.perf_counter()
        self._transport.write(self._load.request())

    def _fail(self, answer: bytes) -> None:
        self._load.failure = self._load.failure or answer.decode(errors="replace")[:2000]
        self._load.stopping = True
        self._transport.close()


async def run(plan: dict[str, Any]) -> dict[str, float]:
    """Rate and latencies of the counted part."""
    headers = {"Host": f"{plan['host']}:{plan['port']}", "Content-Type": "application/json", **plan["headers"]}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
    load = Load(plan["path"], plan["body"], head, plan["expect"].encode())
    loop = asyncio.get_running_loop()
    connections = [
        (await loop.create_connection(lambda: Connection(load), plan["host"], plan["port"]))[1]
        for _ in range(plan["connections"])
    ]
    await asyncio.sleep(plan["warm_up_seconds"])
    before, begun = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    load.counting = True
    await asyncio.sleep(plan["seconds"])
    load.counting, seconds = False, time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_SELF)
    load.stopping = True
    await asyncio.gather(*(connection.ended for connection in connections))
    if load.failure or not load.latencies:
        raise SystemExit(f"not every request was answered as expected: {load.failure}")
    latencies = sorted(load.latencies)
    return {
        "requests": len(latencies) / seconds,
        "p50": latencies[len(latencies) // 2] * 1000,
        "p99": latencies[len(latencies) * 99 // 100] * 1000,
        "load_cpu": (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / seconds * 100,
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(run(json.loads(sys.argv[1])))), flush=True)
