"""`pgsync serve` as a process: it ends when it is told to, also before it has begun."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from pgsync import names
from tests.acceptance.conftest import LIMIT_SECONDS, World

ROOT = Path(__file__).resolve().parents[2]


async def test_gateway_that_waits_for_a_slot_ends_when_it_is_told_to(world: World) -> None:
    database = world.database
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from pgsync.cli import main; main()",
        "serve",
        "--database-url",
        database.dsn_as(names.GATEWAY),
        "--listener-url",
        database.dsn_as(names.LISTENER),
        "--port",
        "0",
        "--deployment",
        database.name,
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    async with asyncio.timeout(2 * LIMIT_SECONDS):
        while b"stream_disconnected" not in (line := await process.stderr.readline()):
            assert line, "it has ended"
        assert b"SlotActiveError" in line
        process.send_signal(signal.SIGTERM)
        said = await process.stderr.read()
        assert await process.wait() == 0
    assert b"Traceback" not in said
    assert world.gateway.feed.is_connected
