"""Waits for changes and notes when each came in: over a WebSocket, from our reader of a slot, or from `pg_recvlogical`.

python -m bench.watch socket URL KEY PREFIX COUNT | stream CONNINFO SLOT PREFIX COUNT | recvlogical CONNINFO SLOT PREFIX
COUNT PROGRAM. Says that it is ready, then, once it has seen COUNT different values that begin with PREFIX, all
of them with the nanosecond of the machine's monotonic clock, which the writer's process reads, too.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable

import aiohttp
import uvloop

from bench.child import READY
from bench.read_slot import active_schema
from pgsync.names import PUBLICATION
from pgsync.stream.connect import Replication
from pgsync.stream.group import Grouper


class Sightings:
    """When each value was seen first."""

    def __init__(self, prefix: str, count: int) -> None:
        self._pattern = re.compile(re.escape(prefix).encode() + rb"\d{6}")
        self._count = count
        self.times: dict[str, int] = {}

    def look(self, data: bytes) -> bool:
        """Notes the values in what has just come in; whether all have been seen."""
        now = time.monotonic_ns()
        for value in self._pattern.findall(data):
            self.times.setdefault(value.decode(), now)
        return len(self.times) >= self._count


async def watch_socket(url: str, key: str, look: Callable[[bytes], bool]) -> None:
    """A client of the gateway, from its first sync_request on."""
    protocols = (f"ablo.bearer.{key}", "ablo.sync.v1")
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{url}/api/sync/ws", protocols=protocols) as socket,
    ):
        await socket.send_json({"type": "sync_request", "payload": {"lastSyncId": 0, "protocolVersion": 1}})
        is_open = False
        while True:
            frame = await socket.receive()
            if frame.type is not aiohttp.WSMsgType.TEXT:
                raise RuntimeError(f"the socket was closed: {frame}")
            data = frame.data.encode()
            if is_open and look(data):
                return
            if not is_open and b'"sync_response"' in data:
                is_open = True
                print(READY, flush=True)


async def watch_stream(conninfo: str, slot: str, look: Callable[[bytes], bool]) -> None:
    """The reader that a gateway has, without the gateway around it."""
    grouper = Grouper(active_schema(conninfo))
    replication = await Replication.connect(conninfo, application_name="pgsync bench")
    try:
        await replication.start(slot, publication=PUBLICATION)
        print(READY, flush=True)
        while True:
            for data in await replication.read():
                group = grouper.take(data)
                if group is not None:
                    for change in group.transaction.changes:
                        if change.data is not None and look(change.data):
                            return
    finally:
        await replication.close()


def watch_recvlogical(conninfo: str, slot: str, program: str, look: Callable[[bytes], bool]) -> None:
    """What `pg_recvlogical` prints, read from its pipe as it comes."""
    options = ["proto_version=1", f"publication_names={PUBLICATION}", "messages=true"]
    command = [program, "--start", "--slot", slot, "--dbname", conninfo, "--file", "-", "--fsync-interval", "0"]
    command += [part for option in options for part in ("--option", option)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            print(READY, flush=True)  # it is when the server says that the slot is active
            assert process.stdout is not None
            rest = b""
            while data := os.read(process.stdout.fileno(), 1 << 16):
                if look(rest + data):
                    return
                rest = data[-32:]
            raise RuntimeError("pg_recvlogical has ended")
        finally:
            process.terminate()


def main(kind: str, where: str, who: str, prefix: str, count: str, program: str = "") -> None:
    sightings = Sightings(prefix, int(count))
    match kind:
        case "socket":
            uvloop.run(watch_socket(where, who, sightings.look))
        case "stream":
            uvloop.run(watch_stream(where, who, sightings.look))
        case _:
            watch_recvlogical(where, who, program, sightings.look)
    print(json.dumps(sightings.times), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
