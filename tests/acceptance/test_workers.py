"""Several processes on one port and one slot: what one of them suffers, clients of the others do not notice."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson

from pgsync import names
from tests import postgres
from tests.acceptance.conftest import LIMIT_SECONDS, Client, Socket, new_key, until
from tests.credentials import create_credential

ROOT: Final = Path(__file__).resolve().parents[2]
START_SECONDS: Final = 60.0  # three interpreters on a busy machine


@dataclass
class Workers:
    """Two workers and the process that keeps them running, which is `process`; `log` is what they all have said."""

    process: asyncio.subprocess.Process
    database: postgres.Database
    log: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""
    key: str = ""

    async def said(self, event: str, count: int = 1) -> list[dict[str, Any]]:
        """Waits for so many events of this name."""
        async with asyncio.timeout(START_SECONDS):
            while len(found := [line for line in self.log if line["event"] == event]) < count:
                await asyncio.sleep(0.02)
                assert self.process.returncode is None or self.log[-1]["event"] == "workers_stopped", self.log
        return found

    def pid(self, worker: int) -> int:
        """The newest process of this worker."""
        pids = [line["pid"] for line in self.log if line["event"] == "worker_started" and line["worker"] == worker]
        return int(pids[-1])

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """A caller whose every request is a connection of its own, so that any worker may answer."""
        connector = aiohttp.TCPConnector(force_close=True)
        async with aiohttp.ClientSession(connector=connector) as session:
            yield Client(session, self.url, self.key)

    def new_credential(self, participant: str) -> str:
        """A secret key of the organization acme."""
        return create_credential(self.database, participant=participant)[0]

    async def create(self, client: Client, row_id: str) -> None:
        """Creates a task, and retries as a client does whose connection breaks."""
        key = new_key()
        async with asyncio.timeout(START_SECONDS):
            while True:
                try:
                    reply = await client.create("tasks", row_id, {"title": "x"}, Idempotency_Key=key)
                except (aiohttp.ClientError, ConnectionError):
                    await asyncio.sleep(0.05)
                    continue
                assert reply.status == 200, reply.body
                return


@contextlib.asynccontextmanager
async def running(database: postgres.Database, *, silent_seconds: float = 30.0) -> AsyncIterator[Workers]:
    environment = {
        **os.environ,
        "PGSYNC_DATABASE_URL": database.dsn_as(names.GATEWAY),
        "PGSYNC_LISTENER_URL": database.dsn_as(names.LISTENER),
        "PGSYNC_PORT": "0",
        "PGSYNC_WORKERS": "2",
        "PGSYNC_DEPLOYMENT": database.name,
        "PGSYNC_LOG_FORMAT": "json",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.acceptance.workers_process",
        str(silent_seconds),
        cwd=ROOT,
        env=environment,
        stderr=asyncio.subprocess.PIPE,
    )
    workers = Workers(process, database)

    async def follow() -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            workers.log.append(
                orjson.loads(line)
                if line.startswith(b"{")
                else {"event": "said", "text": line.decode(errors="replace")}
            )

    following = asyncio.create_task(follow())
    try:
        (started,) = await workers.said("workers_started")
        workers.url = f"http://127.0.0.1:{started['port']}"
        workers.key = workers.new_credential("ci")
        yield workers
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(START_SECONDS):
            await process.wait()
            await following


def is_running(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_workers_share_port_slot_and_number_line(pushed: postgres.Database) -> None:
    async with running(pushed) as workers, workers.client() as client:
        answered: dict[int, int] = {}
        key = new_key()
        receipts: list[tuple[str, int, str]] = []
        async with asyncio.timeout(LIMIT_SECONDS):
            while len(answered) < 2 or len(receipts) < 8:
                health = (await client.get("/api/health")).json
                answered[health["worker"]] = health["stream"]["lastSyncId"]
                reply = await client.create("tasks", "t1", {"title": "x"}, Idempotency_Key=key)
                receipts.append((reply.json["serverTxId"], reply.json["lastSyncId"], reply.json["createdAt"]))
        assert len(set(receipts)) == 1, "whichever worker a retry reaches"
        assert pushed.execute("SELECT count(*) FROM pg_replication_slots WHERE database = %s", [pushed.name]) == [(1,)]
        assert {line["worker"] for line in workers.log if line["event"] == "gateway_started"} == {1, 2}

        async with contextlib.AsyncExitStack() as stack:  # enough that both workers have some, all but surely
            other = Client(client.session, client.url, workers.new_credential("someone"))
            watching = [await stack.enter_async_context(client.socket()) for _ in range(10)]
            said = await stack.enter_async_context(other.socket())
            await said.send("presence_update", {"status": "busy"})
            for socket in watching:
                while (await socket.wait_for("presence_update"))["status"] != "busy":
                    pass
            pushed.execute(
                "SELECT pgsync.revoke_credential_v1(id) FROM pgsync_private.credential WHERE participant_id = 'ci'"
            )
            for socket in watching:
                async with asyncio.timeout(LIMIT_SECONDS):
                    while (await socket.raw.receive()).type is aiohttp.WSMsgType.TEXT:
                        pass
        workers.process.send_signal(signal.SIGTERM)
        await workers.said("gateway_stopped", 2)
        await workers.said("workers_stopped")
        assert await workers.process.wait() == 0
        assert pushed.execute("SELECT active FROM pg_replication_slots WHERE database = %s", [pushed.name]) == [
            (False,)
        ]


async def test_killed_worker_loses_nothing_and_the_others_clients_see_no_gap(pushed: postgres.Database) -> None:
    async with running(pushed) as workers, workers.client() as client, contextlib.AsyncExitStack() as stack:
        # so many that both workers have some, all but surely
        sockets: list[Socket] = [await stack.enter_async_context(client.socket()) for _ in range(12)]
        cursors = [(await socket.sync())["cursor"] for socket in sockets]
        received: list[list[tuple[int, str]]] = [[] for _ in sockets]
        rows = {f"t{i}" for i in range(80)}

        async def follow(at: int) -> bool:
            """Until there are all rows; whether the worker was killed meanwhile."""
            async with asyncio.timeout(START_SECONDS):
                while len(received[at]) < len(rows):
                    message = await sockets[at].raw.receive()
                    if message.type is not aiohttp.WSMsgType.TEXT:
                        return True
                    frame = orjson.loads(message.data)
                    if frame["type"] == "delta":
                        payload = frame["payload"]
                        received[at] += [(d["id"], d["modelId"]) for d in payload.get("deltas", [payload])]
            return False

        async def write(first: int) -> None:
            for i in range(first, len(rows), 4):
                await workers.create(client, f"t{i}")

        async def kill() -> None:
            await until(lambda: _some(len(max(received, key=len)) >= 20), "the middle of the commits")
            os.kill(workers.pid(1), signal.SIGKILL)

        following = [asyncio.create_task(follow(at)) for at in range(len(sockets))]
        await asyncio.gather(kill(), *map(write, range(4)))
        killed = await asyncio.gather(*following)
        assert any(killed)
        assert not all(killed)
        whole = received[killed.index(False)]
        assert {row for _, row in whole} == rows
        assert [sync_id for sync_id, _ in whole] == list(range(whole[0][0], whole[0][0] + len(rows)))
        for at, was_killed in enumerate(killed):
            assert received[at] == (whole[: len(received[at])] if was_killed else whole)
        assert pushed.execute("SELECT count(*) FROM tasks") == [(len(rows),)]
        (ended,) = await workers.said("worker_ended")
        assert (ended["worker"], ended["exit_code"]) == (1, -signal.SIGKILL)
        await workers.said("gateway_started", 3)

        # a client of before resumes by its cursor, whichever worker it reaches now
        for _ in range(6):
            async with client.socket() as again:
                answer = await again.sync(1, cursors[0])
                assert "requiresBootstrap" not in answer
                assert [(delta["id"], delta["modelId"]) for delta in answer["deltas"]] == whole

        # and when the process that keeps the workers dies, they do not stay behind
        pids = [workers.pid(1), workers.pid(2)]
        workers.process.send_signal(signal.SIGKILL)
        await workers.process.wait()
        await until(lambda: _some(not any(map(is_running, pids))), "the workers to end")


async def _some(found: bool) -> bool:
    return found


async def test_worker_that_stands_still_is_replaced(pushed: postgres.Database) -> None:
    async with running(pushed, silent_seconds=3.0) as workers:
        stopped = workers.pid(2)
        os.kill(stopped, signal.SIGSTOP)
        stuck = (await workers.said("worker_stuck"))[0]
        assert (stuck["worker"], stuck["pid"]) == (2, stopped)
        await workers.said("gateway_started", 3)
        assert workers.pid(2) != stopped


async def test_workers_that_cannot_start_end_everything_and_say_why(
    pushed: postgres.Database,
) -> None:
    command = [sys.executable, "-c", "from pgsync.cli import main; main()", "serve", "--workers", "2", "--port", "0"]
    urls = ["--database-url", pushed.dsn, "--listener-url", pushed.dsn_as(names.LISTENER)]
    process = await asyncio.create_subprocess_exec(
        *command, *urls, "--deployment", pushed.name, cwd=ROOT, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(START_SECONDS):
        _, said = await process.communicate()
    assert process.returncode == 1
    assert b"database_role_cannot_enforce_rls" in said
