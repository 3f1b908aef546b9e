"""A push is killed at any of its statements: a whole version is active, and the next push ends what it began.

By default a few places of one kind of change; with --all-changes every statement of several, 40 to 70 each.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pgsync import names
from pgsync.push import push
from pgsync.schema import Schema
from tests.integration.changes import CHANGES, ROWS, declare
from tests.integration.test_evolution import state
from tests.postgres import Database, Server

KINDS = (
    "another type",
    "model renamed",
    "field becomes required",
    "wider type with an index",
    "index and reference leave",
)
SAMPLE = 4
LIMIT_SECONDS = 60.0
IDENTITY = json.dumps(
    {
        "organizationId": "acme",
        "participantKind": "user",
        "participantId": "ada",
        "syncGroups": ["org:acme"],
        "operations": [],
        "capabilityId": "cap_1",
        "onBehalfOf": None,
    }
)


@pytest.fixture
def template(server: Server, kind: str) -> Iterator[Database]:
    """A database with rows and what comes before the change, to copy."""
    made = server.create_database()
    try:
        push(made.dsn, before(kind))
        made.execute(ROWS.format(count=100))
        yield made
    finally:
        made.drop()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kind" in metafunc.fixturenames:
        metafunc.parametrize("kind", KINDS if metafunc.config.getoption("--all-changes") else KINDS[:1])


def before(kind: str) -> Schema:
    return (CHANGES[kind].before or declare)()


def run(database: Database, kind: str, statement: int, how: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.integration.push_process", database.dsn, kind, str(statement), how]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)


def create(database: Database, model: str, row_id: str) -> str:
    """What becomes of a commit of a client that knows this model."""
    body = json.dumps({"data": {"title": "x", "status": "todo", "estimate": 1}})
    with database.connect(names.GATEWAY) as gateway:
        row = gateway.execute(
            "SELECT pgsync.write_v1(%s, %s, 'create', %s, %s, %s)", [IDENTITY, row_id, model, row_id, body]
        ).fetchone()
    assert row is not None
    return str(row[0]["outcome"])


def test_push_killed_anywhere_leaves_a_whole_version_and_the_next_one_ends_it(
    server: Server, template: Database, kind: str, request: pytest.FixtureRequest
) -> None:
    everything = request.config.getoption("--all-changes")
    change = CHANGES[kind]
    whole = server.create_database(template=template.name)
    try:
        ended = run(whole, kind, 0, "before")
        assert ended.returncode == 0, ended.stderr
        count = int(ended.stdout)
        expected, kept = state(whole), whole.execute(change.kept.format(table=change.table))
    finally:
        whole.drop()
    stops = range(1, count + 1) if everything else [count * n // (SAMPLE + 1) for n in range(1, SAMPLE + 1)]
    versions = set()
    for statement in stops:
        copied = server.create_database(template=template.name)
        try:
            killed = run(copied, kind, statement, ("before", "during")[statement % 2])
            assert killed.returncode == -signal.SIGKILL, killed.stderr
            ((version,),) = copied.execute("SELECT version FROM pgsync_private.schema_version WHERE state = 'active'")
            if version == 1:
                assert not push(copied.dsn, before(kind), migrate=False).changed
                copied.execute("UPDATE tasks SET status = 'done' WHERE id = 't1'")
                assert create(copied, "tasks", "new") == "committed"
                copied.execute("DELETE FROM tasks WHERE id = 'new'")
            versions.add(version)
            assert push(copied.dsn, change.after(), wishes=change.wishes).version == 2
            assert state(copied) == expected
            assert copied.execute(change.kept.format(table=change.table)) == kept
            assert not push(copied.dsn, change.after()).changed
        finally:
            copied.drop()
    assert versions == {1, 2} if everything else 1 in versions
