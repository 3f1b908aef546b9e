"""Commit records: who committed what, without the values, and only for those who may know."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.acceptance import contract
from tests.acceptance.conftest import Client, World

RECORD = {
    "id",
    "attempts",
    "actor",
    "authority",
    "claims",
    "createdAt",
    "status",
    "statusAt",
    "lastSyncId",
    "correlationId",
    "readSet",
    "operations",
    "receipt",
}


async def commit(client: Client, key: str, *operations: dict[str, Any]) -> dict[str, Any]:
    reply = await client.call("POST", "/api/v1/commits", {"operations": list(operations)}, Idempotency_Key=key)
    assert reply.status == 200, reply.body
    receipt: dict[str, Any] = reply.json
    return receipt


async def record(client: Client, key: str) -> Any:
    reply = await client.get(f"/api/v1/commits/{key}")
    assert reply.status == 200
    return reply.json


async def page(client: Client, **query: Any) -> Any:
    reply = await client.get("/api/v1/commits?" + "&".join(f"{name}={value}" for name, value in query.items()))
    assert reply.status == 200, reply.body
    assert set(reply.json) == {"data", "nextCursor"}
    return reply.json


def create(row_id: str, model: str = "tasks") -> dict[str, Any]:
    return {"action": "create", "model": model, "id": row_id, "data": {"title": "secret"}}


async def test_record_says_what_the_receipt_said_and_no_values(client: Client) -> None:
    receipt = await commit(client, "batch-1", create("t1"), create("t2"))
    found = await record(client, "batch-1")
    assert set(found) == RECORD
    assert found["id"] == "batch-1"
    assert found["actor"] == {"kind": "system", "id": "ci"}
    assert found["authority"] == receipt["authority"]
    assert (found["status"], found["lastSyncId"]) == ("confirmed", receipt["lastSyncId"])
    assert (found["createdAt"], found["correlationId"]) == (receipt["createdAt"], receipt["correlationId"])
    (attempt,) = found["attempts"]
    assert (attempt["transport"], attempt["kind"]) == ("http", "execution")
    assert attempt["observedAt"].endswith("Z")
    assert found["operations"] == [
        {"action": "create", "model": "tasks", "id": row_id, "data": {"retention": "redacted"}}
        for row_id in ("t1", "t2")
    ]
    assert found["receipt"] == {"clientTxId": "batch-1", "serverTxId": receipt["serverTxId"], "ops": 2}
    assert "secret" not in str(found)


async def test_record_names_its_premises(client: Client) -> None:
    await commit(client, "first", create("t1"))
    body = {
        "operations": [create("t2")],
        "reads": [
            {"model": "tasks", "id": "t1", "fields": ["title"], "readAt": 9},
            {"group": "org:acme", "readAt": 9, "onStale": "notify"},
        ],
        "track": [{"model": "tasks", "id": "t1"}],
    }
    reply = await client.call("POST", "/api/v1/commits", body, Idempotency_Key="guarded")
    assert reply.status == 200, reply.body
    row = {"scope": "row", "model": "tasks", "id": "t1"}
    assert (await record(client, "guarded"))["readSet"] == [
        {"target": row | {"fields": ["title"]}, "watermark": 9, "lifetime": "commit", "onStale": "reject"},
        {"target": {"scope": "group", "group": "org:acme"}, "watermark": 9, "lifetime": "commit", "onStale": "notify"},
        {"target": row, "watermark": reply.json["lastSyncId"], "lifetime": "persisted", "onStale": "notify"},
    ]


async def test_record_says_how_the_commit_came(client: Client) -> None:
    async with client.socket() as socket:
        operation = {"type": "CREATE", "model": "task", "id": "t1", "input": {"title": "x"}}
        await socket.send("commit", {"operations": [operation], "clientTxId": "live"})
        await socket.wait_for("mutation_result")
    (attempt,) = (await record(client, "live"))["attempts"]
    assert attempt["transport"] == "websocket"


async def test_replays_are_attempts_and_of_a_client_in_a_loop_the_first_ones(client: Client) -> None:
    receipt = await commit(client, "again", create("t1"))
    for count in range(1, 4):
        assert await commit(client, "again", create("t1")) == receipt
        first, *replays = (await record(client, "again"))["attempts"]
        assert (first["kind"], first["observedAt"]) == ("execution", receipt["createdAt"])
        assert [attempt["kind"] for attempt in replays] == ["replay"] * count
    attempts = (await record(client, "again"))["attempts"]
    times = [attempt["observedAt"] for attempt in attempts]
    assert times == sorted(times)
    assert len({attempt["id"] for attempt in attempts}) == 4
    refused = await client.call("POST", "/api/v1/commits", {"operations": [create("t2")]}, Idempotency_Key="again")
    assert refused.error[1] == "idempotency_conflict"
    await asyncio.gather(*(commit(client, "again", create("t1")) for _ in range(40)))
    assert len((await record(client, "again"))["attempts"]) == 33


async def test_record_has_the_notifications_of_the_receipt_without_values(world: World, client: Client) -> None:
    await commit(client, "one", create("t1"))
    read_at = (await client.get("/api/v1/models/tasks/t1")).json["stamp"]
    other = world.client(participant="other")
    await commit(other, "two", {"action": "update", "model": "tasks", "id": "t1", "data": {"title": "secret 2"}})
    body = {
        "operations": [create("t2")],
        "track": [{"model": "tasks", "id": "t1", "readAt": read_at}, {"group": "org:acme", "readAt": read_at}],
    }
    reply = await client.call("POST", "/api/v1/commits", body, Idempotency_Key="told")
    told = contract.receipt(reply, key="told")["notifications"]
    assert {found["scope"]: found.get("currentValues") for found in told} == {
        "row": {"title": "secret 2"},
        "group": None,
    }
    found = contract.record(await client.get("/api/v1/commits/told"))
    assert found is not None
    assert found["receipt"]["notifications"] == [
        entry | ({"currentValues": {}} if entry["scope"] == "row" else {}) for entry in told
    ]
    assert "secret" not in str(found)


async def test_record_names_the_claims_that_it_was_written_under(client: Client) -> None:
    await commit(client, "first", create("t1"))
    path = "/api/v1/models/tasks/t1"
    held = contract.granted(await client.call("POST", f"{path}/claim", {}))
    guards = [
        {"claim": held["id"], "fenceToken": held["fenceToken"]},
        {"claim": held["id"]},
        {"fenceToken": held["fenceToken"]},
    ]
    named = []
    for number, guard in enumerate(guards):
        body = {"data": {"priority": number}, **guard}
        contract.receipt(await client.call("PATCH", path, body, Idempotency_Key=f"k{number}"))
        found = contract.record(await client.get(f"/api/v1/commits/k{number}"))
        assert found is not None
        named.append(found["claims"])
    claim = {
        "id": held["id"],
        "target": {"scope": "row", "model": "tasks", "id": "t1"},
        "fenceToken": held["fenceToken"],
    }
    assert named == [[claim], [claim], []]


@pytest.mark.parametrize("key", ["nope", "a%2Fb", "%00", "%ff", "x" * 300])
async def test_unknown_commit_is_null(client: Client, key: str) -> None:
    reply = await client.get(f"/api/v1/commits/{key}")
    assert (reply.status, reply.body) == (200, b"null")


async def test_key_with_a_slash_is_found(client: Client) -> None:
    await commit(client, "a/b", create("t1"))
    assert (await record(client, "a%2Fb"))["id"] == "a/b"


async def test_records_come_newest_first_in_pages_without_gap_or_repetition(client: Client) -> None:
    for number in range(7):
        await commit(client, f"k{number}", create(f"t{number}"))
    seen: list[str] = []
    cursor: str | None = None
    while True:
        found = await page(client, limit=3, **({} if cursor is None else {"cursor": cursor}))
        assert len(found["data"]) <= 3
        seen += [entry["id"] for entry in found["data"]]
        cursor = found["nextCursor"]
        if cursor is None:
            break
    assert seen == [f"k{number}" for number in reversed(range(7))]


async def test_records_by_status_and_by_participant(world: World) -> None:
    server, other = world.client(), world.client(participant="other")
    await commit(server, "mine", create("t1"))
    await commit(other, "theirs", create("t2"))
    assert [found["id"] for found in (await page(server, actorId="other"))["data"]] == ["theirs"]
    assert [found["id"] for found in (await page(server, status="confirmed"))["data"]] == ["theirs", "mine"]
    assert (await page(server, status="rejected"))["data"] == []


async def test_users_and_agents_see_their_own_commits_only(world: World) -> None:
    server = world.client()
    await commit(server, "servers", create("t1"))
    for kind in ("ek", "rk"):
        someone = world.client(kind=kind, participant="someone")
        await commit(someone, f"own-{kind}", create(f"t-{kind}"))
        assert [found["id"] for found in (await page(someone))["data"]] == [f"own-{kind}"]
        assert await record(someone, "servers") is None
        assert (await record(server, f"own-{kind}"))["actor"]["id"] == "someone"


async def test_commits_of_models_that_one_may_not_read_are_not_shown(world: World) -> None:
    await commit(
        world.client(),
        "both",
        create("t1"),
        {"action": "create", "model": "projects", "id": "p1", "data": {"name": "x"}},
    )
    reader = world.client(participant="reader", operations=["task.read"])
    assert await record(reader, "both") is None
    assert (await page(reader))["data"] == []


async def test_commits_that_depend_on_models_that_one_may_not_read_are_not_shown(world: World) -> None:
    read = {"model": "projects", "id": "p1", "readAt": 9, "onStale": "overwrite"}
    body = {"operations": [create("t1")], "reads": [read]}
    writer = world.client()
    await commit(writer, "p", {"action": "create", "model": "projects", "id": "p1", "data": {"name": "x"}})
    assert (await writer.call("POST", "/api/v1/commits", body, Idempotency_Key="guarded")).status == 200
    assert await record(world.client(participant="reader", operations=["task.read"]), "guarded") is None
    both = world.client(participant="reader", operations=["task.read", "project.read"])
    assert (await record(both, "guarded"))["id"] == "guarded"


async def test_other_organizations_commits_do_not_exist(world: World) -> None:
    await commit(world.client(), "k", create("t1"))
    rival = world.client("rival")
    assert await record(rival, "k") is None
    assert (await page(rival))["data"] == []
    await commit(rival, "k", create("t1"))
    assert (await record(rival, "k"))["authority"]["organizationId"] == "rival"


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("status=done", "status"),
        ("cursor=nope", "cursor"),
        ("cursor=MjAyNi0wMS0wMSBub3Bl", "cursor"),
        ("actorId=%00", "actorId"),
    ],
)
async def test_bad_query_names_its_parameter(client: Client, query: str, param: str) -> None:
    assert (await client.get(f"/api/v1/commits?{query}")).error == (400, "invalid_request", param)
