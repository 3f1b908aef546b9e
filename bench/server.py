"""The servers under load, each a process of its own: a gateway, and what one would write with FastAPI instead."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Final

from bench.child import START_SECONDS, Child, free_port, started
from bench.world import APPLICATION
from pgsync import names
from tests.postgres import Database

HOST: Final = "127.0.0.1"
_POLL_SECONDS: Final = 0.05


@contextlib.contextmanager
def gateway(database: Database, **settings: str) -> Iterator[tuple[Child, int]]:
    """`pgsync serve` that has caught up with the log, and its port. `settings` are those of `GatewayConfig`."""
    port = free_port()
    given = {
        "database_url": database.dsn_as(names.GATEWAY),
        "listener_url": database.dsn_as(names.LISTENER),
        "host": HOST,
        "port": str(port),
        "deployment": database.name,
        "log_level": "warning",
        **settings,
    }
    environment = {f"PGSYNC_{name.upper()}": value for name, value in given.items()}
    command = [sys.executable, "-c", "from pgsync.cli import main; main()", "serve"]
    with _serving("pgsync serve", command, environment, port, "/api/health") as child:
        yield child, port


@contextlib.contextmanager
def fastapi(database: Database) -> Iterator[tuple[Child, int]]:
    """One uvicorn worker with `bench.fastapi_app`, and its port."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "bench.fastapi_app:create", "--factory"]
    command += ["--host", HOST, "--port", str(port), "--log-level", "warning", "--no-access-log"]
    with _serving("uvicorn", command, {"BENCH_DSN": database.url_as(APPLICATION)}, port, "/health") as child:
        yield child, port


@contextlib.contextmanager
def _serving(name: str, command: list[str], environment: Mapping[str, str], port: int, path: str) -> Iterator[Child]:
    with started(name, command, environment={**os.environ, **environment}) as child:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(port, path):
            if child.process.poll() is not None:
                raise child.failure("did not start")
            if time.monotonic() > deadline:
                raise child.failure(f"does not answer after {START_SECONDS:.0f} s")
            time.sleep(_POLL_SECONDS)
        yield child


def _answers(port: int, path: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}{path}", timeout=1) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False
