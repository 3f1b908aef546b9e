"""`pgsync dev` and `pgsync demo` as a newcomer meets them: a process, what it prints, what it leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import psycopg
import pytest

ROOT = Path(__file__).parents[2]
PGSYNC = (sys.executable, "-c", "from pgsync.cli import main; main()")
START_SECONDS = 60.0
STOP_SECONDS = 10.0
PATIENCE_SECONDS = 20.0

SCHEMA = """
from pgsync.schema import Model

class Note(Model):
    text: str
"""


@dataclass
class Running:
    """A `pgsync dev` of its own; `output` is the file that its terminal would show."""

    process: subprocess.Popen[bytes]
    data: Path
    output: Path
    state: dict[str, str] = field(default_factory=dict)

    def printed(self) -> str:
        return self.output.read_text()

    def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        request = urllib.request.Request(
            self.state["url"] + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.state['secret_key']}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, json.loads(refused.read())

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.state["database_url"], autocommit=True) as connection:
            return connection.execute(statement.encode()).fetchall()

    def postgres_pid(self) -> int:
        return int((self.data / "postgres" / "postmaster.pid").read_text().splitlines()[0])

    def stop(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)


T = TypeVar("T")


def wait_until(ask: Callable[[], T], what: str, *, seconds: float = PATIENCE_SECONDS) -> T:
    deadline = time.monotonic() + seconds
    while not (found := ask()):
        assert time.monotonic() < deadline, f"not {what} within {seconds} s"
        time.sleep(0.02)
    return found


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that the server's user can reach too when root runs the tests."""
    made = Path(tempfile.mkdtemp(prefix="pgsync-dev-", dir="/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@contextlib.contextmanager
def started(place: Path, *arguments: str) -> Iterator[Running]:
    output = place / "output"
    with output.open("wb") as terminal:
        process = subprocess.Popen(
            [*PGSYNC, *arguments, "--data", place / "data"],
            cwd=place,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
    running = Running(process, place / "data", output)
    try:

        def is_up() -> bool:
            assert process.poll() is None, running.printed()
            return "pgsync is running at" in running.printed()

        wait_until(is_up, "started", seconds=START_SECONDS)
        running.state = json.loads((running.data / "dev.json").read_text())
        yield running
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(STOP_SECONDS)


def ran(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A `pgsync` that is expected to end by itself."""
    return subprocess.run(
        [*PGSYNC, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=START_SECONDS,
    )


def paste(line: str) -> str:
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True).stdout


async def test_the_printed_lines_work_as_pasted_and_a_live_client_sees_all_three(place: Path) -> None:
    with started(place, "demo", "--port", "0") as demo:
        lines = wait_until(
            lambda: [line for line in demo.printed().splitlines() if re.match(r"curl |\S*psql ", line)], "printed"
        )
        assert [line.split()[0].rpartition("/")[2] for line in lines] == ["curl", "curl", "psql"]
        async with aiohttp.ClientSession() as http:
            socket = await http.ws_connect(
                demo.state["url"] + "/api/sync/ws?cursor=&kind=system",
                protocols=(f"ablo.bearer.{demo.state['secret_key']}", "ablo.sync.v1"),
            )
            opening = {"cursor": "", "lastSyncId": 0, "capabilities": [], "protocolVersion": 1}
            await socket.send_json({"type": "sync_request", "payload": opening})
            async with asyncio.timeout(PATIENCE_SECONDS):
                while json.loads((await socket.receive()).data)["type"] != "sync_response":
                    pass
            answers = [await asyncio.to_thread(paste, line) for line in lines]
            deltas: list[dict[str, Any]] = []
            async with asyncio.timeout(PATIENCE_SECONDS):
                while len(deltas) < 3:
                    frame = json.loads((await socket.receive()).data)
                    if frame["type"] == "delta":
                        deltas += frame["payload"].get("deltas", [frame["payload"]])
            await socket.close()
        assert [json.loads(answer)["status"] for answer in answers[:2]] == ["confirmed", "confirmed"]
        assert answers[2] == "UPDATE 1\n"
        first = deltas[0]["id"]
        assert [delta["id"] for delta in deltas] == [first, first + 1, first + 2]
        assert [delta["actionType"] for delta in deltas] == ["I", "U", "U"]
        assert [json.loads(answer)["lastSyncId"] for answer in answers[:2]] == [first, first + 1]
        assert [delta["data"]["status"] for delta in deltas] == ["todo", "doing", "done"]
        assert [delta["actor"] for delta in deltas] == [
            {"kind": "system", "id": "dev"},
            {"kind": "system", "id": "dev"},
            {"kind": "system", "id": "postgres"},
        ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_stops_all_that_was_started(place: Path, number: signal.Signals) -> None:
    with started(place, "demo", "--port", "0") as demo:
        postgres = demo.postgres_pid()
        began = time.monotonic()
        assert demo.stop(number) == 0, demo.printed()
        assert time.monotonic() - began < STOP_SECONDS / 2
        assert not is_running(postgres)
        assert "Traceback" not in demo.printed()


def test_keys_and_urls_are_the_owners_alone_and_outlive_the_run(place: Path) -> None:
    states = []
    for _ in range(2):
        with started(place, "demo", "--port", "0") as demo:
            assert stat.S_IMODE((demo.data / "dev.json").stat().st_mode) == 0o600
            assert demo.state.keys() == {"url", "database_url", "secret_key", "organization_id"}
            assert demo.call("GET", "/api/auth/identity")[0] == 200
            states.append(demo.state)
    kept = ("database_url", "secret_key", "organization_id")
    assert [states[0][name] for name in kept] == [states[1][name] for name in kept]


def test_rows_outlive_the_run(place: Path) -> None:
    with started(place, "demo", "--port", "0") as demo:
        assert demo.call("POST", "/api/v1/models/tasks", {"id": "t1", "data": {"title": "Stay"}})[0] == 200
    with started(place, "demo", "--port", "0") as demo:
        status, answer = demo.call("GET", "/api/v1/models/tasks/t1")
        assert (status, answer["data"]["title"]) == (200, "Stay")


def test_saving_the_schema_pushes_it_and_a_mistake_changes_nothing(place: Path) -> None:
    schema = place / "schema.py"
    schema.write_text(SCHEMA)
    with started(place, "dev", str(schema), "--port", "0") as dev:

        def fields() -> set[str]:
            return set(dev.call("GET", "/api/schema")[1]["models"][0]["fields"])

        assert fields() == {"text"}
        schema.write_text(SCHEMA + "    pinned: bool = False\n")
        wait_until(lambda: fields() == {"text", "pinned"}, "pushed")
        schema.write_text(SCHEMA + "    pinned: nonsense\n")
        wait_until(lambda: "nonsense" in dev.printed(), "reported")
        assert fields() == {"text", "pinned"}
        assert dev.call("POST", "/api/v1/models/notes", {"id": "n1", "data": {"text": "a", "pinned": True}})[0] == 200
        schema.write_text(SCHEMA + "    pinned: bool = False\n    stars: int = 0\n")
        wait_until(lambda: fields() == {"text", "pinned", "stars"}, "pushed after the mistake")
        assert dev.query("SELECT id, pinned, stars FROM notes") == [("n1", True, 0)]


def test_without_a_schema_it_waits_for_one_over_http_which_takes_effect_at_once(place: Path) -> None:
    declared: dict[str, Any] = {
        "v": 3,
        "models": {
            "notes": {
                "fields": {"text": {"type": "string", "isOptional": False, "isIndexed": False}},
                "relations": {},
                "load": "instant",
                "typename": "Note",
                "tableName": "notes",
                "tenancy": {"kind": "column", "column": "organization_id"},
            }
        },
        "identityRoles": [],
    }
    with started(place, "dev", "--port", "0") as dev:
        assert dev.call("GET", "/api/schema")[1]["active"] is False
        push = {"schema": declared, "force": False, "renames": [], "backfills": []}
        status, answer = dev.call("POST", "/api/schema", push)
        assert status == 200, answer
        assert dev.call("POST", "/api/v1/models/notes", {"id": "n1", "data": {"text": "a"}})[0] == 200
        assert dev.call("POST", "/api/schema", {"schema": declared})[1]["unchanged"] is True
        declared["models"]["notes"]["fields"]["text"]["type"] = "sculpture"
        status, answer = dev.call("POST", "/api/schema", {"schema": declared})
        assert (status, answer["code"]) == (400, "invalid_schema")
        assert "text" in answer["errors"][0]["param"]


def test_a_port_in_use_is_named(place: Path) -> None:
    with started(place, "demo", "--port", "0") as demo:
        port = demo.state["url"].rpartition(":")[2]
        said = ran("demo", "--port", port, "--data", str(place / "other"))
    assert said.returncode == 2
    assert f"port {port} is in use" in said.stderr


def test_a_second_run_on_the_same_data_is_refused(place: Path) -> None:
    with started(place, "demo", "--port", "0"):
        said = ran("demo", "--port", "0", "--data", str(place / "data"))
    assert said.returncode == 1
    assert "is in use by process" in said.stderr
