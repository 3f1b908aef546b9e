"""Processes that do the work or make the load: started, heard, and ended with the block that started them."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import psycopg

ROOT: Final = Path(__file__).parents[1]
READY: Final = "ready"
START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 10.0
LINE_SECONDS: Final = 300.0
_POLL_SECONDS: Final = 0.02


@dataclass(slots=True)
class Child:
    """A running process. What it prints on standard output is for us, standard error is shown when it fails."""

    name: str
    process: subprocess.Popen[str]
    errors: IO[str]

    def line(self) -> str:
        """The next line of standard output; raises when the process ends without one or takes LINE_SECONDS."""
        assert self.process.stdout is not None
        limit = threading.Timer(LINE_SECONDS, self.process.kill)
        limit.start()
        try:
            said = self.process.stdout.readline()
        finally:
            limit.cancel()
        if not said:
            raise self.failure("has said nothing")
        return said.rstrip("\n")

    def wait_ready(self) -> None:
        """Until it says that it is ready."""
        said = self.line()
        if said != READY:
            raise self.failure(f"said {said!r} instead of {READY!r}")

    def result(self) -> Any:
        """The JSON of its next line."""
        return json.loads(self.line())

    def cpu_seconds(self) -> float:
        """What it has used so far, on Linux; 0 elsewhere."""
        stat = Path(f"/proc/{self.process.pid}/stat")
        if not stat.exists():
            return 0.0
        fields = stat.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def failure(self, what: str) -> RuntimeError:
        """An error with what the process has said on standard error."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(1)
        self.errors.seek(0)
        return RuntimeError(f"{self.name} {what} (exit status {self.process.poll()}):\n{self.errors.read()[-4000:]}")


@contextlib.contextmanager
def started(
    name: str, command: Sequence[str | Path], *, environment: Mapping[str, str] | None = None
) -> Iterator[Child]:
    """A process that runs as long as the block, in the project's folder; interrupted at the end if it still runs."""
    with tempfile.TemporaryFile("w+", prefix="pgsync-bench-") as errors:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=ROOT,
            env=None if environment is None else dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            yield Child(name, process, errors)
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            assert process.stdout is not None
            process.stdout.close()


def module(name: str, *arguments: str) -> list[str | Path]:
    """The command that runs a module of ours."""
    return [sys.executable, "-m", name, *arguments]


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_slot(dsn: str, slot: str) -> None:
    """Until somebody reads from the replication slot, by whatever process."""
    deadline = time.monotonic() + START_SECONDS
    with psycopg.connect(dsn, autocommit=True) as connection:
        while not connection.execute(
            "SELECT FROM pg_replication_slots WHERE slot_name = %s AND active", [slot]
        ).fetchall():
            if time.monotonic() > deadline:
                raise TimeoutError(f"nobody reads from slot {slot} after {START_SECONDS:.0f} s")
            time.sleep(_POLL_SECONDS)
