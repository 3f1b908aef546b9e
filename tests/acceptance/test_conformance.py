"""A whole session of the contract's client, request by request as it sends them, with every answer checked strictly."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import aiohttp
import orjson
import pytest

from pgsync.gateway import serve
from pgsync.push import install, push
from pgsync.schema import Schema
from tests import postgres
from tests.acceptance import contract
from tests.acceptance.conftest import Reply, World, config_of, until
from tests.acceptance.contract import NULL, either, exactly, natural, row_of, text


def _field(type_name: str, *, optional: bool = False, **more: Any) -> dict[str, Any]:
    return {"type": type_name, "isOptional": optional, "isIndexed": False, **more}


def _model(key: str, typename: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "fields": fields,
        "relations": {},
        "load": "instant",
        "typename": typename,
        "tableName": key,
        "tenancy": {"kind": "column", "column": "organization_id"},
        "plane": "tenant",
    }


SCHEMA_JSON: Final = {
    "v": 3,
    "models": {
        "tasks": _model(
            "tasks",
            "Task",
            {
                "title": _field("string"),
                "status": _field("enum", optional=True, enumValues=["todo", "doing", "done"]),
                "n": _field("number", optional=True),
                "due": _field("date", optional=True),
            },
        ),
        "runs": _model("runs", "runs", {"name": _field("string")}),
    },
    "identityRoles": [],
}
"""What a schema in TypeScript arrives as: a typename that was given, one that defaults to the key."""

RUN: Final = row_of({"name": text})
TASK: Final = row_of(
    {
        "title": text,
        "status": either(NULL, exactly("todo", "doing", "done")),
        "n": either(NULL, natural),
        "due": either(NULL, contract.TIME),
    }
)
DUE: Final = "2026-01-02T03:04:05.000Z"
TASK_1: Final = "/api/v1/models/tasks/task_1"
RUN_1: Final = "/api/v1/models/runs/run_1"


@dataclass(frozen=True, slots=True)
class Sdk:
    """The client's transport: its headers in both profiles, and its key on writes only."""

    session: aiohttp.ClientSession
    url: str
    key: str
    speaks_protocol: bool = True

    async def send(self, method: str, path: str, body: Any = None, key: str | None = None) -> Reply:
        headers = {"authorization": f"Bearer {self.key}"}
        if self.speaks_protocol or body is not None:
            headers["content-type"] = "application/json"
        if self.speaks_protocol:
            headers["ablo-protocol-version"] = "1"
        if key is not None:
            headers["idempotency-key"] = key
        data = None if body is None else orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
        async with self.session.request(
            method, self.url + path, data=data, headers=headers, skip_auto_headers=["content-type"]
        ) as response:
            return Reply(response.status, response.headers, await response.read())

    async def write(self, method: str, path: str, body: Any, *, ops: int = 1, key: str | None = None) -> dict[str, Any]:
        """A write, and the receipt it is answered with."""
        key = key or str(uuid.uuid4())
        return contract.receipt(await self.send(method, path, body, key), key=key, ops=ops)

    async def task(self, row_id: str = "task_1") -> dict[str, Any]:
        return contract.model(await self.send("GET", f"/api/v1/models/tasks/{row_id}"), TASK)

    async def run(self) -> dict[str, Any]:
        return contract.model(await self.send("GET", RUN_1), RUN)


@pytest.fixture(scope="module")
def pushed_json(server: postgres.Server) -> Iterator[postgres.Database]:
    database = server.create_database()
    install(database.dsn)
    push(database.dsn, Schema.from_json(SCHEMA_JSON))
    yield database
    database.drop()


@pytest.fixture
async def world(pushed_json: postgres.Database) -> AsyncIterator[World]:
    async with serve(config_of(pushed_json)) as gateway, aiohttp.ClientSession() as session:
        yield World(gateway, pushed_json, session)


async def test_the_contracts_client_gets_through_its_session(world: World) -> None:
    def become(key: str) -> Sdk:
        return Sdk(world.session, world.gateway.url, key)

    a = become(world.key("org_1", kind="rk", participant="agent_a"))
    b = become(world.key("org_1", kind="rk", participant="agent_b"))
    root = replace(become(world.key("org_1")), speaks_protocol=False)

    authority = await _calls_1_to_7_say_who_one_is_and_read_what_was_created(a)
    done, guarded = await _calls_8_to_13_update_with_and_without_premises(a, b)
    await _calls_14_to_17_commit_batches_and_tell_of_them(a, authority, guarded)
    await _calls_18_to_23_hold_a_claim(a, b)
    await _calls_24_to_27_hand_a_claim_on(a, b)
    await _call_28_reads_the_logs(a, after=done, guarded=guarded)
    await _calls_29_to_31_mint_rotate_and_revoke(root, become)
    await _call_32_deletes(a)


async def _calls_1_to_7_say_who_one_is_and_read_what_was_created(a: Sdk) -> dict[str, Any]:
    me = contract.identity(await a.send("GET", "/api/auth/identity"))  # 1
    assert (me["participantKind"], me["participantId"], me["accountScope"]) == ("agent", "agent_a", "org_1")
    authority: dict[str, Any] = me["authority"]
    assert {name: me[name] for name in ("participantKind", "participantId", "syncGroups")}.items() <= authority.items()

    created = await a.write("POST", "/api/v1/models/runs", {"data": {"name": "r"}, "id": "run_1"})  # 2
    assert created["authority"] == authority
    run = await a.run()
    assert (run["model"], run["id"], run["claims"]) == ("runs", "run_1", [])
    assert run["stamp"] == created["lastSyncId"]
    assert run["data"]["name"] == "r"
    assert (run["data"]["organizationId"], run["data"]["createdBy"]) == ("org_1", "agent_a")
    assert run["data"]["createdAt"] == run["data"]["updatedAt"]

    body = {"data": {"due": DUE, "title": "First"}, "id": "task_1"}
    second = await a.write("POST", "/api/v1/models/tasks", body, key="order-17")  # 3
    assert second["lastSyncId"] == created["lastSyncId"] + 1
    assert second["serverTxId"] != created["serverTxId"]
    task = await a.task()
    assert (task["data"]["title"], task["data"]["due"], task["data"]["n"]) == ("First", DUE, None)

    derived = str(uuid.uuid5(uuid.UUID("aa4ba6d4-bf0b-5b38-9c45-116f79a6e548"), "tasks:order-18"))
    body = {"data": {"title": "No id, own key"}, "id": derived}
    third = await a.write("POST", "/api/v1/models/tasks", body, key="order-18")  # 4
    assert third["lastSyncId"] == second["lastSyncId"] + 1
    assert (await a.task(derived))["data"]["id"] == derived

    again = await a.task()  # 5
    assert again["data"] == task["data"]
    assert again["stamp"] == third["lastSyncId"] > task["stamp"]

    missed = await a.task("absent")  # 6
    assert missed == {"object": "model", "model": "tasks", "id": "absent", "data": None, "claims": []} | {
        "stamp": again["stamp"]
    }

    query = "limit=10&order_by=title&order=desc&status=todo"
    listed = contract.rows(await a.send("GET", f"/api/v1/models/tasks?{query}"), TASK)  # 7
    assert (listed["data"], listed["has_more"], listed["stamp"]) == ([], False, again["stamp"])
    return authority


async def _calls_8_to_13_update_with_and_without_premises(a: Sdk, b: Sdk) -> tuple[int, int]:
    plain = await a.write("PATCH", TASK_1, {"data": {"status": "done"}})  # 8
    before = await a.task()
    assert before["data"]["status"] == "done"
    assert before["data"]["updatedAt"] > before["data"]["createdAt"]
    filtered = contract.rows(await a.send("GET", "/api/v1/models/tasks?limit=10&status=done"), TASK)
    assert filtered["data"] == [before["data"]]

    read = await a.task()  # 9
    assert read["stamp"] == plain["lastSyncId"]
    body = {"data": {"n": 1}, "onStale": "reject", "readAt": read["stamp"]}
    functional = await a.write("PATCH", TASK_1, body)
    assert functional["lastSyncId"] == read["stamp"] + 1
    assert (await a.task())["data"]["n"] == 1

    run = await a.run()  # 10
    assert run["stamp"] == functional["lastSyncId"]
    reads = [{"id": "run_1", "model": "runs", "readAt": run["stamp"]}]
    guarded = await a.write("PATCH", TASK_1, {"data": {"title": "Guarded"}, "reads": reads})  # 11
    assert (await a.task())["data"]["title"] == "Guarded"

    moved = await b.write("PATCH", RUN_1, {"data": {"name": "moved"}})  # 12
    assert moved["authority"]["participantId"] == "agent_b"
    seen = await b.run()
    assert (seen["data"]["name"], seen["data"]["createdBy"]) == ("moved", "agent_a")

    late = await a.send("PATCH", TASK_1, {"data": {"title": "Late"}, "reads": reads}, str(uuid.uuid4()))  # 13
    refused = contract.refusal(late, 409, "stale_context", ["conflicts", "readAt"])
    assert refused["conflicts"] == [{"model": "runs", "id": "run_1", "observedSyncId": moved["lastSyncId"]}]
    assert refused["readAt"] is None  # the write itself said none
    assert (await a.task())["data"]["title"] == "Guarded"
    return plain["lastSyncId"], guarded["lastSyncId"]


async def _calls_14_to_17_commit_batches_and_tell_of_them(a: Sdk, authority: dict[str, Any], guarded: int) -> None:
    head = (await a.task())["stamp"]
    unset = {"claimId": None, "fenceToken": None, "onStale": None, "readAt": None, "transactionId": None}
    operations = [
        unset | {"action": "create", "data": {"title": "Third"}, "id": "task_3", "model": "tasks"},
        unset | {"action": "update", "data": {"name": "b"}, "id": "run_1", "model": "runs", "transactionId": "op-2"},
        unset
        | {"action": "update", "data": {"title": "held back"}, "id": "task_1", "model": "tasks"}
        | {"onStale": "notify", "readAt": 1},
    ]
    reads = [
        {"fields": ["title"], "id": "task_1", "model": "tasks", "readAt": 9999},
        {"group": "org:org_1", "onStale": "notify", "readAt": 9999},
    ]
    track = [{"id": "task_1", "model": "tasks"}]
    body = {"operations": operations, "reads": reads, "track": track}
    batch = await a.write("POST", "/api/v1/commits", body, key="batch-1", ops=2)  # 14
    assert batch["lastSyncId"] == head + 2
    assert batch["notifications"] == [
        {
            "object": "stale_notification",
            "scope": "row",
            "target": {"model": "tasks", "id": "task_1", "fields": ["title"]},
            "readAt": 1,
            "observedSyncId": guarded,
            "writtenBy": {"kind": "agent", "id": "agent_a"},
            "currentValues": {"title": "Guarded"},
        }
    ]
    assert (await a.task("task_3"))["data"]["title"] == "Third"

    # 15: a server that commits in its own Postgres confirms at once; what is sent again is answered alike.
    first = await a.send("PATCH", TASK_1, {"data": {"n": 9}}, "queued:x")
    contract.receipt(first, key="queued:x")
    for _ in range(2):
        assert (await a.send("PATCH", TASK_1, {"data": {"n": 9}}, "queued:x")).body == first.body
    other = await a.send("PATCH", TASK_1, {"data": {"n": 10}}, "queued:x")
    contract.refusal(other, 409, "idempotency_conflict")
    task = await a.task()
    assert (task["data"]["n"], task["stamp"]) == (9, first.json["lastSyncId"])

    found = contract.record(await a.send("GET", "/api/v1/commits/batch-1"))  # 16
    assert found is not None
    assert (found["status"], found["lastSyncId"], found["claims"]) == ("confirmed", batch["lastSyncId"], [])
    assert (found["actor"], found["authority"]) == ({"kind": "agent", "id": "agent_a"}, authority)
    assert (found["attempts"][0]["id"], found["attempts"][0]["kind"]) == ("batch-1", "execution")
    row = {"scope": "row", "model": "tasks", "id": "task_1"}
    assert [premise for premise in found["readSet"] if premise["lifetime"] == "commit"] == [
        {"target": row | {"fields": ["title"]}, "watermark": 9999, "lifetime": "commit", "onStale": "reject"},
        {
            "target": {"scope": "group", "group": "org:org_1"},
            "watermark": 9999,
            "lifetime": "commit",
            "onStale": "notify",
        },
    ]
    assert [(one["action"], one["model"], one["id"]) for one in found["operations"]] == [
        ("create", "tasks", "task_3"),
        ("update", "runs", "run_1"),
        ("update", "tasks", "task_1"),
    ]
    assert (found["receipt"]["serverTxId"], found["receipt"]["ops"]) == (batch["serverTxId"], 2)
    assert contract.record(await a.send("GET", "/api/v1/commits/nobody-sent-this")) is None

    tracked = await a.write("POST", "/api/v1/commits", {"track": track}, ops=0)  # 17
    assert "notifications" not in tracked
    assert tracked["lastSyncId"] <= task["stamp"]


async def _calls_18_to_23_hold_a_claim(a: Sdk, b: Sdk) -> None:
    meta = {"why": "demo"}
    body = {"description": "rewriting", "meta": meta, "queue": True, "target": {"meta": meta}, "ttl": "30s"}
    held = contract.granted(await a.send("POST", f"{TASK_1}/claim", body))  # 18
    claim = held["claim"]
    assert (held["fenceToken"], claim["actor"], claim["participantKind"]) == (1, "agent_a", "agent")
    assert claim["target"] == {"model": "tasks", "id": "task_1", "meta": meta}
    assert (claim["description"], claim["meta"], claim["onBehalfOfId"]) == ("rewriting", meta, None)
    assert (await a.task())["claims"] == [claim]

    assert contract.claims(await b.send("GET", "/api/v1/claims?model=tasks&id=task_1")) == [claim]  # 19

    details = ["heldBy", "heldByClaim", "claims"]
    blocked = await b.send("PATCH", TASK_1, {"data": {"title": "blocked"}}, str(uuid.uuid4()))  # 20
    conflict = contract.refusal(blocked, 409, "claim_conflict", details)
    assert conflict["heldBy"] == "agent_a"
    assert conflict["claims"] == [conflict["heldByClaim"]]
    summary = conflict["heldByClaim"]
    assert (summary["entityType"], summary["entityId"], summary["claimId"]) == ("tasks", "task_1", held["id"])
    assert summary["expiresAt"] - summary["declaredAt"] == 30_000

    tried = await b.send("POST", f"{TASK_1}/claim", {"description": "editing", "queue": False})  # 21
    assert contract.refusal(tried, 409, "entity_claimed", details)["heldByClaim"] == summary

    body = {"claimId": held["id"], "details": {"page": "3/10"}, "ttl": "45s"}
    beat = contract.heartbeat(await a.send("POST", f"{TASK_1}/claim/heartbeat", body))  # 22
    assert (beat["claimId"], beat["status"], beat["queueDepth"]) == (held["id"], "held", 0)
    assert beat["expiresAt"] > held["expiresAt"]

    await a.write("PATCH", TASK_1, {"claim": held["id"], "data": {"title": "Under claim"}, "fenceToken": 1})  # 23
    task = await a.task()
    assert task["data"]["title"] == "Under claim"
    (shown,) = task["claims"]
    assert shown["meta"] == shown["target"]["meta"] == meta | {"progress": {"page": "3/10"}}
    assert shown["expiresAt"] == beat["expiresAt"]


async def _calls_24_to_27_hand_a_claim_on(a: Sdk, b: Sdk) -> None:
    (held,) = (await a.task())["claims"]
    body = {"description": "editing", "queue": True, "target": {"fields": ["title"]}}
    ticket = contract.queued(await b.send("POST", f"{TASK_1}/claim", body))  # 24
    assert (ticket["position"], ticket["heldBy"]) == (0, "agent_a")
    assert ticket["heldByClaim"]["claimId"] == held["id"]
    assert ticket["heldByClaim"]["expiresAt"] == held["expiresAt"]

    async def beat() -> dict[str, Any]:
        return contract.heartbeat(await b.send("POST", f"/api/v1/claims/{ticket['id']}/heartbeat", {}))

    assert ((await beat())["status"], (await beat())["position"]) == ("queued", 0)
    assert contract.claim_state(await b.send("GET", f"/api/v1/claims/{ticket['id']}"))["status"] == "queued"
    assert contract.released(await a.send("DELETE", f"{TASK_1}/claim")) is True
    mine = await beat()
    assert (mine["status"], mine["queueDepth"]) == ("held", 0)
    state = contract.claim_state(await b.send("GET", f"/api/v1/claims/{ticket['id']}"))
    assert (state["status"], state["fenceToken"]) == ("active", 2)
    assert state["expiresAt"] == mine["expiresAt"]
    task = await b.task()
    (shown,) = task["claims"]
    assert (shown["actor"], shown["fenceToken"]) == ("agent_b", 2)
    assert shown["target"] == {"model": "tasks", "id": "task_1", "fields": ["title"]}
    assert contract.released(await b.send("DELETE", f"{TASK_1}/claim")) is True  # 25

    body = {"description": "editing", "queue": True, "ttl": "10s"}
    inline = contract.granted(await a.send("POST", f"{TASK_1}/claim", body))  # 26
    assert inline["fenceToken"] == 3
    written = await a.write(
        "PATCH", TASK_1, {"claim": inline["id"], "data": {"title": "Inline"}, "fenceToken": inline["fenceToken"]}
    )
    assert contract.released(await a.send("DELETE", f"{TASK_1}/claim")) is True
    task = await a.task()
    assert (task["data"]["title"], task["data"]["n"], task["claims"]) == ("Inline", 9, [])
    assert task["stamp"] == written["lastSyncId"]

    assert contract.heartbeats(await a.send("POST", "/api/v1/claims/heartbeat", {})) == []  # 27


async def _call_28_reads_the_logs(a: Sdk, *, after: int, guarded: int) -> None:
    async def pages() -> list[dict[str, Any]] | None:
        found: list[dict[str, Any]] = []
        cursors = [f"{after}.0"]
        while True:
            page = contract.logs(await a.send("GET", f"/api/v1/logs?after={cursors[-1]}&limit=2"))  # 28
            assert page["next_cursor"] not in cursors or not page["data"]
            cursors.append(page["next_cursor"])
            found += page["data"]
            if not page["has_more"]:
                # The places of the newest commits are stored a moment after they are confirmed.
                return found if sum(event["object"] == "log_event" for event in found) >= 2 else None

    events: list[dict[str, Any]] = await until(pages, "the commits are in the log")
    changes = [event for event in events if event["object"] == "log_event"]
    assert [event["id"] for event in changes] == sorted({event["id"] for event in changes})
    assert [(event["id"], event["model"], event["op"], event["recordId"], event["actor"]) for event in changes[:2]] == [
        (after + 1, "Task", "update", "task_1", "agent:agent_a"),
        (guarded, "Task", "update", "task_1", "agent:agent_a"),
    ]
    claims = [event for event in events if event["object"] == "claim_event"]
    assert [event["seq"] for event in claims] == sorted({event["seq"] for event in claims})
    assert [(event["status"], event["actor"]) for event in claims[:2]] == [("active", "agent_a"), ("queued", "agent_b")]
    assert (claims[0]["fenceToken"], claims[1]["position"]) == (1, 0)


async def _calls_29_to_31_mint_rotate_and_revoke(root: Sdk, become: Any) -> None:
    grants = ["task.update", "task.read"]
    body = {"operations": grants, "participantId": "worker-7", "participantKind": "agent", "ttlSeconds": 900}
    minted = contract.capability(await root.send("POST", "/api/v1/capabilities", body))  # 29
    scope = minted["scope"]
    assert (scope["participantKind"], scope["participantId"], scope["operations"]) == ("agent", "worker-7", grants)
    worker: Sdk = become(minted["token"])
    await worker.write("PATCH", "/api/v1/models/tasks/task_3", {"data": {"n": 1}})
    body = {"data": {"title": "no"}, "id": "task_4"}
    denied = await worker.send("POST", "/api/v1/models/tasks", body, str(uuid.uuid4()))
    refused = contract.refusal(denied, 403, "capability_scope_denied", ["requiredCapability"])
    assert refused["requiredCapability"] == {"scope": "task.create"}

    body = {"operations": ["runs.read"], "ttlSeconds": 600, "user": {"id": "u-9"}}
    ephemeral = contract.ephemeral_key(await root.send("POST", "/api/v1/ephemeral_keys", body))  # 30
    assert (ephemeral["participantId"], ephemeral["operations"]) == ("u-9", ["runs.read"])
    user: Sdk = become(ephemeral["token"])
    assert (await user.run())["data"]["name"] == "b"
    assert contract.identity(await user.send("GET", "/api/auth/identity"))["participantKind"] == "user"

    path = "/api/v1/capabilities"
    rotation = await root.send("POST", f"{path}/{minted['capabilityId']}/rotate", {"graceSeconds": 60})  # 31
    rotated = contract.rotated(rotation)
    assert rotated["rotatedFrom"]["capabilityId"] == minted["capabilityId"] != rotated["capabilityId"]
    assert (rotated["scope"], rotated["token"] != minted["token"]) == (scope, True)
    successor: Sdk = become(rotated["token"])
    for either_key in (worker, successor):
        assert (await either_key.task("task_3"))["data"]["n"] == 1
    revoked = contract.revoked(await root.send("DELETE", f"{path}/{rotated['capabilityId']}"))
    assert (revoked["id"], revoked["activeSessionsClosed"]) == (rotated["capabilityId"], 0)
    contract.refusal(await successor.send("GET", "/api/auth/identity"), 401, "apikey_revoked")


async def _call_32_deletes(a: Sdk) -> None:
    await a.write("DELETE", "/api/v1/models/tasks/task_3", {})  # 32; 33 sends nothing
    assert (await a.task("task_3"))["data"] is None
    again = await a.send("DELETE", "/api/v1/models/tasks/task_3", {}, str(uuid.uuid4()))
    refused = contract.refusal(again, 404, "mutate_update_entity_not_found", ["missingIds"])
    assert refused["missingIds"] == ["task_3"]


@pytest.mark.parametrize("method", ["GET", "PATCH"])
async def test_another_protocol_version_is_refused(world: World, method: str) -> None:
    client = world.client("org_2")
    reply = await client.call(method, TASK_1, Ablo_Protocol_Version="2")
    assert (reply.status, reply.json["code"]) == (426, "protocol_version_unsupported")
