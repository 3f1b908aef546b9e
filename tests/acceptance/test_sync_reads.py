"""Reads of the reactive client: queries in one snapshot, related rows, single entities, the first rows of a model."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg.types.json import Jsonb

from tests.acceptance.conftest import Client, World

QUERY = "/api/sync/query"


async def ask(client: Client, *queries: Any) -> Any:
    reply = await client.call("POST", QUERY, {"queries": list(queries)})
    assert reply.status == 200, reply.body
    return reply.json


@pytest.fixture
async def rows(client: Client) -> int:
    """Two projects with tasks; the last sync id."""
    for row_id in ("p1", "p2"):
        await client.create("projects", row_id, {"name": row_id.upper()})
    for number in range(4):
        project = {"project_id": f"p{number % 2 + 1}"} if number < 3 else {}
        last = await client.create("tasks", f"t{number}", {"title": f"T{number}", "priority": number, **project})
    stamp: int = last.json["lastSyncId"]
    return stamp


async def test_queries_are_answered_in_order_with_evidence(client: Client, rows: int) -> None:
    answer = await ask(
        client,
        {"model": "task", "where": [["priority", ">=", 1]], "orderBy": "priority", "order": "desc", "limit": 2},
        {"model": "Project"},
        {"model": "task", "where": [["title", "nothing"]]},
    )
    assert [[row["id"] for row in found] for found in answer["results"]] == [["t3", "t2"], ["p1", "p2"], []]
    assert answer["evidence"][0] == [{"id": "t3", "stamp": rows}, {"id": "t2", "stamp": rows}]
    assert answer["lastSyncId"] == rows
    assert "errors" not in answer
    assert answer["results"][0][0] == await client.row("tasks", "t3")


async def declare(world: World, client: Client, path: str, said: Any) -> None:
    """Another version of the schema, with this at a place of its document."""
    world.database.execute(
        "UPDATE pgsync_private.schema_version SET version = version + 1, document = jsonb_set(document, %s, %s)",
        [path, Jsonb(said)],
    )
    await client.get("/api/schema")


async def test_related_rows_lie_in_their_row(world: World, client: Client, rows: int) -> None:
    ours = {"type": "hasMany", "target": "tasks", "foreignKey": "project_id"}
    await declare(world, client, "{models,projects,relations,tasks}", ours)
    answer = await ask(client, {"model": "tasks", "related": ["project"]}, {"model": "projects", "related": ["tasks"]})
    tasks, projects = answer["results"]
    named = [None if row["project"] is None else row["project"]["name"] for row in tasks]
    assert named == ["P1", "P2", "P1", None]
    assert [[task["id"] for task in row["tasks"]] for row in projects] == [["t0", "t2"], ["t1"]]


async def test_wrong_query_fails_alone_and_says_where(world: World, client: Client, rows: int) -> None:
    answer = await ask(
        client,
        {"model": "widgets"},
        {"model": "tasks", "limit": 1},
        {"model": "tasks", "where": [["nope", 1]]},
        {"model": "tasks", "related": ["nobody"]},
        {"model": "tasks", "limit": 0},
        "nonsense",
    )
    assert [len(found) for found in answer["results"]] == [0, 1, 0, 0, 0, 0]
    assert [(error["index"], error["code"]) for error in answer["errors"]] == [
        (0, "unknown_model"),
        (2, "query_invalid_identifier"),
        (3, "query_unknown_relation"),
        (4, "model_query_failed"),
        (5, "invalid_body"),
    ]
    reader = world.client(kind="rk", participant="bot", operations=["project.read"])
    answer = await ask(reader, {"model": "tasks"}, {"model": "projects"})
    assert answer["errors"][0]["code"] == "capability_scope_denied"
    assert len(answer["results"][1]) == 2
    assert (await client.call("POST", QUERY, {"queries": []})).error == (400, "queries_required", "queries")


async def test_queries_see_one_tenant(world: World, client: Client, rows: int) -> None:
    assert (await ask(world.client("other"), {"model": "tasks"}))["results"] == [[]]


async def test_entity_is_the_row_itself(world: World, client: Client, rows: int) -> None:
    reply = await client.get("/api/sync/entity/Task/t1")
    assert (reply.status, reply.json) == (200, await client.row("tasks", "t1"))
    assert reply.headers["ETag"]
    assert (await client.get("/api/sync/entity/tasks/none")).error == (404, "entity_not_found", "id")
    assert (await client.get("/api/sync/entity/widgets/t1")).error == (400, "unknown_model", "model")
    assert (await world.client("other").get("/api/sync/entity/tasks/t1")).status == 404


async def test_snapshot_has_the_first_rows_of_a_model_that_says_so(world: World, client: Client, rows: int) -> None:
    await declare(world, client, "{models,tasks,bootstrapLimit}", 2)
    await declare(world, client, "{models,tasks,bootstrapOrderBy}", {"priority": "desc"})
    snapshot = (await client.get("/api/sync/bootstrap?limit=3")).json
    assert [row["id"] for row in snapshot["models"]["Task"]] == ["t3", "t2"]
    assert len(snapshot["models"]["Project"]) == 2
    assert "nextCursor" not in snapshot
