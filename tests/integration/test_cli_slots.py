"""`pgsync slots` and `pgsync status`: what gateways hold back in the server is seen, and who they are."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from pgsync.cli import main
from pgsync.cli.failure import EXIT_INTERRUPTED, EXIT_REFUSED
from pgsync.push import push
from pgsync.schema import Model, Schema
from tests.integration.stream_support import running, until
from tests.postgres import Database


class Task(Model):
    title: str = ""


@pytest.fixture
def pushed(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    push(database.dsn, Schema(Task))
    monkeypatch.setenv("DATABASE_URL", database.dsn)
    return database


def exit_code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def listed(database: Database, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    """The one slot of this test's database."""
    capsys.readouterr()
    assert exit_code("slots", "--json", *options) == 0
    (slot,) = [slot for slot in json.loads(capsys.readouterr().out) if slot["database"] == database.name]
    return dict(slot)


async def test_slot_is_listed_while_it_is_read_and_after(pushed: Database, capsys: pytest.CaptureFixture[str]) -> None:
    async with running(pushed, pushed.name) as a:
        await until(lambda: a.feed.slot_state is not None, "a first checkpoint")
        slot = listed(pushed, capsys)
        assert (slot["name"], slot["deployment"], slot["state"]) == (a.feed.slot, pushed.name, "active")
        assert slot["since"]
        assert slot["lagBytes"] >= 0
        assert slot["retainedBytes"] > 0
        assert slot["walStatus"] == "reserved"
        assert slot["checkpointKnown"] is True
        assert slot["failover"] is (True if pushed.server.major >= 17 else None)
    slot = listed(pushed, capsys)
    assert slot["state"] == "inactive"
    assert slot["lagSeconds"] < 60
    assert (slot["since"] is not None) is (pushed.server.major >= 17)
    assert listed(pushed, capsys, "--orphaned-hours", "0")["state"] == "orphaned"
    assert exit_code("slots", "--orphaned-hours", "0") == 0
    printed = capsys.readouterr()
    assert f"pgsync slots drop {slot['name']}" in printed.err
    assert "no limit" in printed.out


async def test_slot_is_dropped_when_asked_for_and_nobody_reads_it(
    pushed: Database, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"pgsync_{pushed.name}"
    async with running(pushed, pushed.name):
        assert exit_code("slots", "drop", name, "--yes") == EXIT_REFUSED
        assert "stop its gateway first" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert exit_code("slots", "drop", name) == EXIT_INTERRUPTED  # nobody there to say yes
    assert "holds" in capsys.readouterr().err
    assert listed(pushed, capsys)["state"] == "inactive"
    assert exit_code("slots", "drop", pushed.name, "--yes") == 0
    assert capsys.readouterr().out == f"{name} is dropped\n"
    assert exit_code("slots", "drop", name, "--yes") == EXIT_REFUSED
    assert "no slot" in capsys.readouterr().err


def test_slot_whose_position_no_checkpoint_follows_is_orphaned(
    pushed: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    pushed.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [f"pgsync_{pushed.name}"])
    slot = listed(pushed, capsys)
    assert (slot["state"], slot["checkpointKnown"]) == ("orphaned", False)


async def test_status_tells_who_is_connected_and_how_far(pushed: Database, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("status") == 0
    assert "no gateway is connected" in capsys.readouterr().out
    async with running(pushed, pushed.name) as a:
        pushed.execute("INSERT INTO tasks (id, organization_id) VALUES ('t1', 'o1')")
        await a.has(1)

        await until(lambda: status(capsys)["lastSyncId"] == a.feed.head, "a checkpoint")
        told = status(capsys)
        assert told["schema"]["version"] == 1
        (deployment,) = told["deployments"]
        assert (deployment["deployment"], deployment["gateways"], deployment["workers"]) == (pushed.name, 1, False)
        assert deployment["addresses"] == ["local"]
        assert deployment["slot"]["state"] == "active"
        assert exit_code("status") == 0
        said = capsys.readouterr().out
        assert f"up to {a.feed.head}" in said
        assert "active" in said
    await until(lambda: status(capsys)["deployments"][0]["gateways"] == 0, "its session to be gone")
    (deployment,) = status(capsys)["deployments"]
    assert deployment["slot"]["state"] == "inactive"


def status(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert exit_code("status", "--json") == 0
    return dict(json.loads(capsys.readouterr().out))
