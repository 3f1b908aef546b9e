"""Several processes that serve on one port: this one reads the slot and hands the log on, and keeps the others running.

A worker that dies is replaced and finds its place; its clients connect to another, whose clients notice nothing. When
this process dies the workers end, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from pgsync.config import GatewayConfig
from pgsync.gateway.worker_metrics import KEEPER, KeeperMeasures, handed_out
from pgsync.log import Event, emit
from pgsync.stream.relay import STUCK_SECONDS, Relay

# A worker says every ALIVE_SECONDS that its event loop turns; one that has not for so long never will.
ALIVE_SECONDS: Final = 1.0
SILENT_SECONDS: Final = 30.0
BEGIN_SECONDS: Final = 60.0  # until it first says so
DRAIN_SECONDS: Final = 20.0
FIRST_RESTART_SECONDS: Final = 0.1
LAST_RESTART_SECONDS: Final = 5.0


ALIVE: Final = b"alive\n"
READY: Final = b"ready\n"


class WorkerFailedError(Exception):
    """A worker ended before all of them had ever served; it has told why. `exit_code` is the worker's."""

    def __init__(self, worker: int, exit_code: int) -> None:
        super().__init__(f"worker {worker} could not start and ended with code {exit_code}")
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Orders:
    """What a worker is told on the socket that it is given, one line of JSON. `directory`: where all of them meet."""

    config: GatewayConfig
    worker: int
    directory: str

    def to_json(self) -> bytes:
        """One line."""
        return orjson.dumps(asdict(self)) + b"\n"

    @staticmethod
    def from_json(line: bytes) -> Orders:
        """Raises ConfigError as `GatewayConfig` does."""
        given = orjson.loads(line)
        return Orders(GatewayConfig(**given["config"]), given["worker"], given["directory"])


@dataclass(slots=True, eq=False)
class _Process:
    """A worker that runs, and this end of its socket, which ends when we do."""

    process: asyncio.subprocess.Process
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    is_ready: bool = False

    def kill(self) -> None:
        """As kill -9 does."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()


async def run_workers(
    config: GatewayConfig,
    program: Sequence[str],
    *,
    silent_seconds: float = SILENT_SECONDS,
    stuck_seconds: float = STUCK_SECONDS,
) -> None:
    """Serves with `config.workers` processes until SIGINT or SIGTERM. `program` is a worker's command line.

    The number of a socket is added to it, over which the worker gets its `Orders`. Raises what `Relay.start` raises,
    what ends the stream for good, and WorkerFailedError.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    # /tmp whatever TMPDIR says: a socket's path must be short
    with tempfile.TemporaryDirectory(prefix="pgsync-", dir="/tmp") as directory:
        place, measures = Path(directory), KeeperMeasures(config.workers)
        pool = _Pool(config, program, place, measures, silent_seconds=silent_seconds, stuck_seconds=stuck_seconds)
        try:
            async with handed_out(place, KEEPER, measures.text):
                await pool.run(stop)
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


def relay_in(directory: Path) -> Path:
    """The socket on which workers get the log."""
    return directory / "relay"


def reserve(host: str, port: int) -> tuple[list[socket.socket], int]:
    """Sockets that keep the port for us, without listening, and the port: a free one for 0.

    Raises OSError when somebody listens there: with SO_REUSEPORT alone two servers would share it unawares.
    """
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind((address[0], port, *address[2:]))
                port = probe.getsockname()[1]
            kept = socket.socket(family, kind, protocol)
            sockets.append(kept)
            kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                kept.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            kept.bind((address[0], port, *address[2:]))
    except BaseException:
        for opened in sockets:
            opened.close()
        raise
    return sockets, port


@dataclass(slots=True, eq=False)
class _Pool:
    """The workers of one port, by number."""

    config: GatewayConfig
    program: Sequence[str]
    directory: Path
    measures: KeeperMeasures
    silent_seconds: float
    stuck_seconds: float
    port: int = 0
    processes: dict[int, _Process] = field(default_factory=dict)
    have_started: bool = False
    is_stopping: bool = False

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set, the stream ends for good, or no worker can start."""
        config = self.config
        reserved, self.port = reserve(config.host, config.port)
        relay = Relay(
            config.listener_url,
            deployment=config.deployment,
            path=relay_in(self.directory),
            workers=config.workers,
            max_bytes=config.ring_bytes,
            failover=config.slot_failover == "on",
            on_stuck=self._on_stuck,
            stuck_seconds=self.stuck_seconds,
        )
        keepers: list[asyncio.Task[None]] = []
        watched: list[asyncio.Task[Any]] = [asyncio.create_task(stop.wait())]
        try:
            starting = asyncio.create_task(relay.start())
            await asyncio.wait({starting, *watched}, return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                starting.cancel()
                return
            await starting
            watched.append(asyncio.create_task(relay.ended()))
            numbers = range(1, config.workers + 1)
            keepers = [asyncio.create_task(self._keep(n, relay), name=f"worker {n}") for n in numbers]
            done, _ = await asyncio.wait({*watched, *keepers}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                await task
        finally:
            self.is_stopping = True
            await self._drain()
            for task in (*watched, *keepers):
                task.cancel()
            await asyncio.gather(*watched, *keepers, return_exceptions=True)
            await relay.stop()
            for kept in reserved:
                kept.close()
            emit(Event.WORKERS_STOPPED)

    async def _keep(self, number: int, relay: Relay) -> None:
        """Runs the worker, and another in its place whenever it ends."""
        restart_seconds = FIRST_RESTART_SECONDS
        while True:
            started_at = time.monotonic()
            running = await self._spawn(number)
            await self._watch(number, running)
            exit_code = await running.process.wait()
            del self.processes[number]
            relay.release(number)
            if self.is_stopping:
                return
            if not self.have_started:
                raise WorkerFailedError(number, exit_code)
            if time.monotonic() - started_at > 10 * LAST_RESTART_SECONDS:
                restart_seconds = FIRST_RESTART_SECONDS
            emit(
                Event.WORKER_ENDED,
                worker=number,
                pid=running.process.pid,
                exit_code=exit_code,
                restart_seconds=restart_seconds,
            )
            self.measures.restarts.labels(str(number)).inc()
            await asyncio.sleep(restart_seconds)
            restart_seconds = min(2 * restart_seconds, LAST_RESTART_SECONDS)

    async def _spawn(self, number: int) -> _Process:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    *self.program,
                    str(theirs.fileno()),
                    pass_fds=[theirs.fileno()],
                    stdin=asyncio.subprocess.DEVNULL,
                )
            except BaseException:
                ours.close()
                raise
        reader, writer = await asyncio.open_connection(sock=ours)
        self.processes[number] = running = _Process(process, reader, writer)
        emit(Event.WORKER_STARTED, worker=number, pid=process.pid)
        config = GatewayConfig(**{**asdict(self.config), "port": self.port})
        writer.write(Orders(config, number, str(self.directory)).to_json())
        return running

    async def _watch(self, number: int, running: _Process) -> None:
        """Until the worker has ended. One whose event loop stands still is killed."""
        limit_seconds = BEGIN_SECONDS
        with contextlib.suppress(ConnectionError):
            while True:
                try:
                    async with asyncio.timeout(limit_seconds):
                        line = await running.reader.readline()
                except TimeoutError:
                    self._give_up(number, f"it has done nothing for {limit_seconds:.0f} seconds")
                    break
                if not line:
                    break
                limit_seconds = self.silent_seconds
                if line == READY and not running.is_ready:
                    running.is_ready = True
                    self._announce()
        running.writer.close()

    def _announce(self) -> None:
        """Says so once, when all workers serve for the first time."""
        if not self.have_started and all(p.is_ready for p in self.processes.values()):
            self.have_started = len(self.processes) == self.config.workers
            if self.have_started:
                emit(
                    Event.WORKERS_STARTED,
                    host=self.config.host,
                    port=self.port,
                    workers=self.config.workers,
                    pid=os.getpid(),
                )

    def _on_stuck(self, number: int) -> None:
        self._give_up(number, f"it has taken nothing of the log for {self.stuck_seconds:.0f} seconds")

    def _give_up(self, number: int, meaning: str) -> None:
        running = self.processes.get(number)
        if running is not None:
            emit(Event.WORKER_STUCK, worker=number, pid=running.process.pid, meaning=f"{meaning}; another replaces it")
            running.kill()

    async def _drain(self) -> None:
        """Has every worker end orderly, and at once those that never served or do not end in time."""
        ending = list(self.processes.values())
        for running in ending:
            if running.is_ready:
                with contextlib.suppress(ProcessLookupError):
                    running.process.terminate()
            else:
                running.kill()
        waits = [asyncio.create_task(running.process.wait()) for running in ending]
        if waits:
            await asyncio.wait(waits, timeout=DRAIN_SECONDS)
        for running in ending:
            running.kill()
        await asyncio.gather(*waits)
