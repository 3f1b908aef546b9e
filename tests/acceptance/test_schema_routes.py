"""Schemas over HTTP: what is active, and what is proposed until somebody with rights pushes it."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from pgsync.cli import main
from pgsync.cli.propose import propose
from pgsync.gateway import serve
from pgsync.gateway.schema import MAX_SCHEMA_BYTES
from pgsync.schema import load_schema
from tests import postgres
from tests.acceptance.conftest import SCHEMA, Client, World, config_of, until

ROUTE = "/api/schema"
MODEL = {"key", "typename", "conflict", "hash", "fields", "relations"}


@pytest.fixture
async def world(pushed: postgres.Database) -> AsyncIterator[World]:
    """A gateway as `pgsync serve` runs it."""
    async with serve(config_of(pushed), receive_schema=propose) as gateway, aiohttp.ClientSession() as session:
        yield World(gateway, pushed, session)


def declared() -> dict[str, Any]:
    return load_schema(str(SCHEMA)).to_json()


def changed() -> dict[str, Any]:
    """The schema with one more model."""
    document = declared()
    document["models"]["labels"] = document["models"]["projects"] | {"typename": "Label", "tableName": "labels"}
    return document


def push_proposed(database: postgres.Database, *arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["push", "--proposed", "--migrate", "--database-url", database.dsn, *arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize("route", [ROUTE, "/api/v1/schema"])
async def test_active_schema_is_shown(client: Client, route: str) -> None:
    reply = await client.get(route)
    assert reply.status == 200
    shown = reply.json
    assert (shown["active"], shown["version"]) == (True, 1)
    assert shown["hash"] == load_schema(str(SCHEMA)).hash
    assert shown["pushedAt"].endswith("Z")
    assert {"environment", "project", "schemaId"} <= set(shown)
    for model in shown["models"]:
        assert set(model) == MODEL
    task = next(model for model in shown["models"] if model["key"] == "tasks")
    assert task["typename"] == "Task"
    assert task["fields"]["status"]["enumValues"] == ["todo", "doing", "done"]


async def test_same_schema_again_is_unchanged(client: Client) -> None:
    reply = await client.call("POST", ROUTE, {"schema": declared(), "force": False, "renames": [], "backfills": []})
    assert reply.status == 200, reply.body
    assert reply.json == {"version": 1, "hash": load_schema(str(SCHEMA)).hash, "unchanged": True}


async def test_proposed_schema_takes_effect_when_it_is_pushed(
    world: World, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        reply = await client.call("POST", ROUTE, {"schema": changed(), "force": False})
        assert reply.status == 200, reply.body
        assert (reply.json["version"], reply.json["provisioningDeferred"]) == (2, True)
    assert (await client.get(ROUTE)).json["version"] == 1
    assert (await client.get("/api/v1/models/labels")).error[1] == "unknown_model"

    with contextlib.suppress(SystemExit):
        assert push_proposed(world.database) == 0
    said = capsys.readouterr()
    assert "proposed by system:ci" in said.err
    assert "pushed version 2" in said.out
    assert (await client.get(ROUTE)).json["hash"] == reply.json["hash"]

    async def served() -> bool:
        return (await client.create("labels", "l1", {"name": "x"})).status == 200

    await until(served, "the new model is served")
    assert world.database.execute("SELECT count(*) FROM pgsync_private.schema_proposal") == [(0,)]
    assert push_proposed(world.database) != 0
    assert "no schema is proposed" in capsys.readouterr().err


def broken(**entry: Any) -> dict[str, Any]:
    document = declared()
    document["models"]["tasks"] |= entry
    return document


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "invalid_json"),
        ({}, 400, "invalid_body"),
        ({"schema": []}, 400, "invalid_body"),
        ({"schema": {}, "colour": "red"}, 400, "invalid_body"),
        ({"schema": {}, "force": "yes"}, 400, "invalid_body"),
        ({"schema": {}, "renames": {}}, 400, "invalid_body"),
        ({"schema": {}}, 400, "invalid_schema"),
        ({"schema": {"v": 99, "models": {}}}, 400, "invalid_schema"),
        ({"schema": {"v": 3, "models": {"tasks": 5}}}, 400, "invalid_schema"),
        ({"schema": broken(fields={"x": {"type": "colour"}})}, 400, "invalid_schema"),
        ({"schema": declared(), "renames": [{"from": "a", "to": "b"}]}, 409, "incompatible_change"),
        ({"schema": declared(), "backfills": [{"model": "a", "field": "b", "value": 1}]}, 409, "incompatible_change"),
        (b'{"schema": "' + b"x" * MAX_SCHEMA_BYTES + b'"}', 413, "schema_too_large"),
        (io.BytesIO(b'{"schema": "' + b"x" * (8 << 20) + b'"}'), 413, "schema_too_large"),  # than any body may be
    ],
)
async def test_schema_that_cannot_be_is_refused(client: Client, body: Any, status: int, code: str) -> None:
    assert (await client.call("POST", ROUTE, body)).error[:2] == (status, code)


def renamed() -> dict[str, Any]:
    """The schema with another name for a field."""
    document = declared()
    task = document["models"]["tasks"]
    task["fields"]["headline"] = task["fields"].pop("title")
    return document


async def test_schema_that_breaks_clients_is_refused_unless_it_says_how(world: World, client: Client) -> None:
    reply = await client.call("POST", ROUTE, {"schema": renamed(), "force": False})
    assert reply.error[:2] == (409, "incompatible_change")
    assert any("tasks.title" in said for said in reply.json["unexecutable"])
    assert reply.json["warnings"] == []
    assert world.database.execute("SELECT count(*) FROM pgsync_private.schema_proposal") == [(0,)]
    forced = await client.call("POST", ROUTE, {"schema": renamed(), "force": True})
    assert forced.status == 200
    assert any("tasks.title" in warning for warning in forced.json["warnings"])


@pytest.mark.parametrize("to", ["headline", "tasks.headline"])
async def test_proposed_rename_keeps_the_values_when_it_is_pushed(world: World, client: Client, to: str) -> None:
    assert (await client.create("tasks", "t1", {"title": "kept"})).status == 200
    body = {"schema": renamed(), "force": False, "renames": [{"from": "tasks.title", "to": to}]}
    reply = await client.call("POST", ROUTE, body)
    assert reply.status == 200, reply.body
    assert await asyncio.to_thread(push_proposed, world.database) == 0
    assert world.database.execute("SELECT headline FROM tasks") == [("kept",)]

    async def served() -> bool:
        return bool((await client.get("/api/v1/models/tasks/t1")).json["data"].get("headline") == "kept")

    await until(served, "the field is served under its new name")


async def test_proposed_backfill_is_done_when_it_is_pushed(world: World, client: Client) -> None:
    assert (await client.create("tasks", "t1", {"title": "x"})).status == 200
    document = declared()
    document["models"]["tasks"]["fields"]["owner"] = {"type": "string", "isOptional": False, "isIndexed": False}
    assert (await client.call("POST", ROUTE, {"schema": document})).error[:2] == (409, "incompatible_change")
    wrong = [{"model": "tasks", "field": "owner", "value": 5}]
    assert (await client.call("POST", ROUTE, {"schema": document, "backfills": wrong})).error[:2] == (
        409,
        "incompatible_change",
    )
    body = {"schema": document, "backfills": [{"model": "tasks", "field": "owner", "value": "nobody"}]}
    assert (await client.call("POST", ROUTE, body)).status == 200
    assert await asyncio.to_thread(push_proposed, world.database) == 0
    assert world.database.execute("SELECT owner FROM tasks") == [("nobody",)]


async def test_force_over_http_gives_the_proposal_no_right(
    world: World, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    document = declared()
    del document["models"]["tasks"]["fields"]["title"]
    assert (await client.call("POST", ROUTE, {"schema": document, "force": True})).status == 200
    assert await asyncio.to_thread(push_proposed, world.database) != 0
    assert "--allow tasks.title" in capsys.readouterr().err
    assert await asyncio.to_thread(push_proposed, world.database, "--allow", "tasks.title") == 0


async def test_schema_is_pushed_with_an_unlimited_secret_key_only(world: World) -> None:
    body = {"schema": changed()}
    for kind in ("rk", "ek", "pk"):
        assert (await world.client(kind=kind).call("POST", ROUTE, body)).error[:2] == (403, "forbidden")
    limited = world.client(operations=["task.read"])
    assert (await limited.call("POST", ROUTE, body)).error[:2] == (403, "forbidden")
    assert world.database.execute("SELECT count(*) FROM pgsync_private.schema_proposal") == [(0,)]
