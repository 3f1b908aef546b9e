"""A schema changes while a gateway serves it and others read and write its tables: nobody waits long, nothing is lost.

A few kinds of change run by default, all of them with --all-changes, which also prints the longest waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import psycopg
import pytest

from pgsync.gateway import serve
from pgsync.push import Limits, push
from tests import postgres
from tests.acceptance.conftest import LIMIT_SECONDS, Client, World, config_of, until
from tests.integration.changes import CHANGES, ROWS, Change, declare

ROWS_COUNT: Final = 3000
CHEAP: Final = ("enum field added", "field renamed", "field becomes required", "reference", "wider type")
LOCK_TIMEOUT_SECONDS: Final = 0.3
LIMITS: Final = Limits(lock_timeout_seconds=LOCK_TIMEOUT_SECONDS, patience_seconds=LIMIT_SECONDS)
HELD_SECONDS: Final = 0.8
# Beside the lock timeout: what the push needs from its locks to its commit, on a machine that runs other tests too.
SLACK_SECONDS: Final = 4.0
GROUPS: Final = ["org:acme", "project:p1"]
TASKS: Final = "/api/v1/models/tasks"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "change_name" in metafunc.fixturenames:
        metafunc.parametrize("change_name", CHANGES if metafunc.config.getoption("--all-changes") else CHEAP)


@pytest.fixture(scope="module")
def filled(server: postgres.Server) -> Iterator[postgres.Database]:
    """A database with the schema of before and rows, to copy."""
    prepared = server.create_database()
    push(prepared.dsn, declare())
    prepared.execute(ROWS.format(count=ROWS_COUNT))
    yield prepared
    prepared.drop()


@pytest.fixture
def target(server: postgres.Server, filled: postgres.Database) -> Iterator[postgres.Database]:
    copied = server.create_database(template=filled.name)
    try:
        yield copied
    finally:
        copied.drop()


@pytest.fixture
async def busy(target: postgres.Database) -> AsyncIterator[World]:
    async with serve(config_of(target)) as gateway, aiohttp.ClientSession() as session:
        yield World(gateway, target, session)


@dataclass(slots=True)
class Crowd:
    """Who uses the table by SQL, each statement timed, until told to stop. They know what every version has."""

    database: postgres.Database
    longest: dict[str, float] = field(default_factory=dict)
    failures: list[BaseException] = field(default_factory=list)
    turns: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        for run in (self._read, self._write, self._linger):
            thread = threading.Thread(target=self._guarded, args=(run,))
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(LIMIT_SECONDS)
            assert not thread.is_alive()

    def _guarded(self, run: Any) -> None:
        try:
            with self.database.connect() as connection:
                run(connection)
        except BaseException as error:  # noqa: BLE001  the test looks at it
            self.failures.append(error)

    def _timed(self, who: str, connection: psycopg.Connection[Any], statement: str, *parameters: Any) -> None:
        begun = time.monotonic()
        connection.execute(statement, parameters)
        self.longest[who] = max(self.longest.get(who, 0), time.monotonic() - begun)

    def _read(self, connection: psycopg.Connection[Any]) -> None:
        while not self._stop.is_set():
            self._timed("reader", connection, "SELECT id FROM tasks WHERE organization_id = 'acme' AND id = 't7'")
            self.turns += 1

    def _write(self, connection: psycopg.Connection[Any]) -> None:
        number = 0
        while not self._stop.is_set():
            row_id = f"t{number % (ROWS_COUNT - 1) + 2}"  # t1 is somebody else's for a while
            self._timed("writer", connection, "UPDATE tasks SET updated_at = now() WHERE id = %s", row_id)
            number += 1

    def _linger(self, connection: psycopg.Connection[Any]) -> None:
        """A reader and a writer of several minutes in small: the push has to try again."""
        with connection.transaction():
            connection.execute("SELECT count(*) FROM tasks")
            connection.execute("UPDATE tasks SET updated_at = now() WHERE id = 't1'")
            self._stop.wait(HELD_SECONDS)


@dataclass(slots=True)
class OldClient:
    """A client of the version before that creates rows one after the other, and what became of them."""

    client: Client
    created: list[str] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)
    unread: list[tuple[int, str]] = field(default_factory=list)

    async def run(self) -> None:
        number = 0
        while True:
            row_id = f"c{number}"
            number += 1
            reply = await self.client.create("tasks", row_id, {"title": row_id, "status": "todo", "estimate": 1})
            if reply.status == 200:
                self.created.append(row_id)
            else:
                self.refused.append(reply.error[:2])
            for path in (f"{TASKS}?limit=3", f"{TASKS}/t7"):
                answer = await self.client.get(path)
                if answer.status != 200:
                    self.unread.append(answer.error[:2])

    @property
    def turns(self) -> int:
        return len(self.created) + len(self.refused)


async def test_nobody_waits_long_and_nothing_is_lost(
    busy: World, change_name: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    change: Change = CHANGES[change_name]
    first = 1
    if change.before is not None:
        first = push(busy.database.dsn, change.before(), force=True).version
    crowd, old = Crowd(busy.database), OldClient(busy.client())

    async def turns(count: int) -> None:
        crowd_goal, old_goal = crowd.turns + count, old.turns + count

        async def done() -> bool:
            return (crowd.turns >= crowd_goal or bool(crowd.failures)) and old.turns >= old_goal

        await until(done, "readers and writers go on")

    async with busy.client(participant="watcher", syncGroups=GROUPS).socket() as socket:
        await socket.sync()
        crowd.start()
        writing = asyncio.create_task(old.run())
        try:
            await turns(20)
            begun = time.monotonic()
            result = await asyncio.to_thread(
                push, busy.database.dsn, change.after(), wishes=change.wishes, limits=LIMITS
            )
            took = time.monotonic() - begun
            before = len(old.refused)
            await turns(20)
        finally:
            crowd.stop()
            writing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writing
        # Whoever names the table by SQL has to know its name.
        assert change.table != "tasks" or crowd.failures == []
        assert {type(each) for each in crowd.failures} <= {psycopg.errors.UndefinedTable}
        assert not socket.raw.closed
        assert max(crowd.longest.values()) < LOCK_TIMEOUT_SECONDS + SLACK_SECONDS
        assert result.version == first + 1
        present = {row[0] for row in busy.database.execute(f"SELECT id FROM {change.table}")}
        assert set(old.created) <= present, "a row that was confirmed is gone"
        assert {f"t{n}" for n in range(1, ROWS_COUNT + 1)} <= present
        assert not old.unread or change_name in ("model removed", "model renamed")
        assert all(400 <= status < 500 for status, _ in old.unread), set(old.unread)
        if change.refuses:
            assert len(old.refused) > before
            assert all(400 <= status < 500 for status, _ in old.refused), set(old.refused)
        else:
            assert old.refused == []
            last = {"title": "last", "status": "todo", "estimate": 1, "project_id": "p1"}
            await busy.client(syncGroups=GROUPS).create("tasks", "last", last)
            await until(lambda: saw(socket, "last"), "the client is still told what happens")
    assert not push(busy.database.dsn, change.after()).changed
    if request.config.getoption("--all-changes"):
        waits = ", ".join(f"{who} {seconds * 1000:.0f} ms" for who, seconds in sorted(crowd.longest.items()))
        reporter = request.config.pluginmanager.getplugin("terminalreporter")
        assert reporter is not None
        with capsys.disabled():
            reporter.write_line(
                f"{change_name}: push {took:.2f} s; longest {waits}; old client refused {sorted(set(old.refused))}"
            )


async def saw(socket: Any, row_id: str) -> bool:
    frame = await socket.receive()
    payload = frame.get("payload")
    deltas = payload if isinstance(payload, list) else [payload]
    return frame["type"] == "delta" and any(
        d.get("modelId") == row_id for p in deltas for d in (p.get("deltas", [p]) if isinstance(p, dict) else [])
    )


async def test_failure_in_the_middle_leaves_the_version_before_active(busy: World) -> None:
    """The last step before the activation fails: everything is as it was, and clients notice nothing."""
    client = busy.client()
    busy.database.execute(
        "CREATE FUNCTION public.no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;"
        "CREATE TRIGGER no BEFORE INSERT ON pgsync_private.schema_version FOR EACH ROW EXECUTE FUNCTION public.no()"
    )
    change = CHANGES["field renamed"]
    with pytest.raises(Exception, match="activate this version: no"):
        await asyncio.to_thread(push, busy.database.dsn, change.after(), wishes=change.wishes, limits=LIMITS)
    reply = await client.create("tasks", "c1", {"title": "as before", "estimate": 1})
    assert reply.status == 200, reply.body
    assert (await client.get(f"{TASKS}/c1")).status == 200
    busy.database.execute("DROP FUNCTION public.no() CASCADE")
    assert push(busy.database.dsn, change.after(), wishes=change.wishes).version == 2
