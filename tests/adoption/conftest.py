"""The command line as a user calls it, a gateway in a process of its own, and programs of published packages."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import psycopg
import pytest

from pgsync.cli import main
from tests.acceptance.conftest import LIMIT_SECONDS, Client
from tests.postgres import Database, Server

ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Said:
    """What a command said."""

    code: int
    out: str
    err: str


def pgsync(*arguments: str) -> Said:
    """Runs a command of pgsync's."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main(arguments)
    return Said(int(ended.value.code or 0), out.getvalue(), err.getvalue())


def done(*arguments: str) -> Said:
    """Runs a command that has to succeed."""
    said = pgsync(*arguments)
    assert said.code == 0, said
    return said


@contextlib.asynccontextmanager
async def serving(settings: Mapping[str, str], **more: str) -> AsyncIterator[str]:
    """The URL of a `pgsync serve` with these environment variables; it has to end well when it is told to."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from pgsync.cli import main; main()",
        "serve",
        "--port=0",
        "--log-format=json",
        *(f"--{name}={value}" for name, value in more.items()),
        cwd=ROOT,
        env=os.environ | settings,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    lines: list[bytes] = []
    try:
        async with asyncio.timeout(2 * LIMIT_SECONDS):
            port = None
            while port is None:
                line = await process.stderr.readline()
                lines.append(line)
                assert line, b"".join(lines).decode()
                event = json.loads(line)
                port = event["port"] if event["event"] == "gateway_started" else None
        rest = asyncio.create_task(process.stderr.read())
        yield f"http://127.0.0.1:{port}"
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(LIMIT_SECONDS):
            assert await process.wait() == 0, (await rest).decode()
            lines.append(await rest)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    for line in b"".join(lines).splitlines():
        assert json.loads(line)["level"] not in ("error", "critical"), line.decode()


@contextlib.asynccontextmanager
async def calling(url: str, key: str) -> AsyncIterator[Client]:
    """A client of a gateway."""
    async with aiohttp.ClientSession() as session:
        yield Client(session, url, key)


@dataclass(frozen=True, slots=True)
class Program:
    """A program of `tests/adoption/programs` that runs."""

    name: str
    process: subprocess.Popen[str]

    def do(self, what: str, *given: object) -> Any:
        """What it says when it has done something."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": what, "with": given}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"{self.name} has ended"
        answer = json.loads(line)
        assert "failed" not in answer, f"{self.name}, {what}: {answer['failed']}"
        return answer["said"]


@contextlib.contextmanager
def running(name: str, dsn: str) -> Iterator[Program]:
    """A program, connected as the role of `dsn`."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"tests.adoption.programs.{name}", dsn],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Program(name, process)
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.stdout.close()
        process.wait()


@pytest.fixture
def owned(server: Server) -> Iterator[tuple[Database, str]]:
    """A database that belongs to a role of its application, which is no superuser; and that role."""
    database = server.create_database()
    role = f"app_{database.name}"
    try:
        database.execute(f"CREATE ROLE {role} LOGIN; ALTER DATABASE {database.name} OWNER TO {role}")
        yield database, role
    finally:
        database.drop()
        with psycopg.connect(server.dsn, autocommit=True) as connection:
            connection.execute(f"DROP ROLE {role}")
