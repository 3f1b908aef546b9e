"""Claims over HTTP: every answer has exactly the shape that the contract's client takes (1.14)."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from tests.acceptance import contract
from tests.acceptance.conftest import Client, Reply, World, until

TASK = "/api/v1/models/tasks/task_1"
MODEL_CLAIM = {
    "id",
    "actor",
    "participantKind",
    "onBehalfOfId",
    "onBehalfOfKind",
    "capabilityId",
    "description",
    "status",
    "expiresAt",
    "target",
}
SUMMARY = {"entityType", "entityId", "claimId", "description", "declaredAt", "expiresAt"}


def agent(world: World, name: str, **more: Any) -> Client:
    return world.client(kind="rk", participant=name, **more)


async def claim(client: Client, path: str = TASK, **body: Any) -> Reply:
    return await client.call("POST", f"{path}/claim", {"description": "editing", "queue": True} | body)


async def release(client: Client, path: str = TASK) -> Any:
    reply = await client.call("DELETE", f"{path}/claim")
    assert reply.status == 200
    assert reply.json.keys() == {"object", "released"}
    assert reply.json["object"] == "claim_release"
    return reply.json["released"]


async def beat(client: Client, claim_id: str, **body: Any) -> Reply:
    return await client.call("POST", f"/api/v1/claims/{claim_id}/heartbeat", body)


def milliseconds_from_now(moment: Any) -> float:
    assert type(moment) is int
    return moment - time.time() * 1000


async def test_lease_from_claim_to_release(world: World) -> None:
    """The calls 18 to 25 of the contract's transcript."""
    a, b = agent(world, "agent_a"), agent(world, "agent_b")
    assert (await a.create("tasks", "task_1", {"title": "First"})).status == 200

    meta = {"why": "demo"}
    held = await claim(a, description="rewriting", ttl="30s", meta=meta, target={"meta": meta})
    assert held.status == 201
    assert held.json.keys() == {"id", "object", "status", "fenceToken", "expiresAt", "claim"}
    assert (held.json["object"], held.json["status"], held.json["fenceToken"]) == ("claim", "active", 1)
    assert 25_000 < milliseconds_from_now(held.json["expiresAt"]) <= 31_000
    shown = held.json["claim"]
    assert shown.keys() == MODEL_CLAIM | {"fenceToken", "meta"}
    assert shown["id"] == held.json["id"]
    assert (shown["actor"], shown["participantKind"], shown["description"]) == ("agent_a", "agent", "rewriting")
    assert (shown["onBehalfOfId"], shown["onBehalfOfKind"]) == (None, None)
    assert (shown["target"], shown["meta"]) == ({"model": "tasks", "id": "task_1", "meta": meta}, meta)

    assert (await a.get(TASK)).json["claims"] == [shown]
    listed = await b.get("/api/v1/claims?model=tasks&id=task_1")
    assert listed.json == {"object": "list", "data": [shown], "has_more": False, "next_cursor": None}

    refused = await b.update("tasks", "task_1", {"title": "blocked"})
    assert refused.error[:2] == (409, "claim_conflict")
    assert (refused.json["type"], refused.json["heldBy"]) == ("AbloClaimedError", "agent_a")
    assert refused.json["heldByClaim"].keys() == SUMMARY | {"meta"}
    assert refused.json["claims"] == [refused.json["heldByClaim"]]
    assert refused.json["heldByClaim"]["claimId"] == held.json["id"]
    assert refused.json["message"] == "tasks/task_1 is claimed by agent_a"

    tried = await claim(b, queue=False)
    assert tried.error[:2] == (409, "entity_claimed")
    assert tried.json["heldByClaim"] == refused.json["heldByClaim"]

    beaten = await a.call(
        "POST",
        f"{TASK}/claim/heartbeat",
        {"claimId": held.json["id"], "ttl": "45s", "details": {"page": "3/10"}},
    )
    assert beaten.json.keys() == {"object", "claimId", "status", "expiresAt", "queueDepth"}
    assert (beaten.json["object"], beaten.json["status"], beaten.json["queueDepth"]) == ("claim_heartbeat", "held", 0)
    assert 40_000 < milliseconds_from_now(beaten.json["expiresAt"]) <= 46_000

    written = await a.call("PATCH", TASK, {"data": {"title": "Under claim"}, "claim": held.json["id"], "fenceToken": 1})
    assert written.status == 200, written.body
    (now,) = (await a.get(TASK)).json["claims"]
    assert now["meta"] == now["target"]["meta"] == {"why": "demo", "progress": {"page": "3/10"}}

    queued = await claim(b, target={"fields": ["title"]})
    assert queued.status == 202
    assert queued.json.keys() == {"id", "object", "status", "position", "heldBy", "expiresAt", "heldByClaim"}
    assert (queued.json["status"], queued.json["position"], queued.json["heldBy"]) == ("queued", 0, "agent_a")
    ticket = queued.json["id"]
    waiting = await beat(b, ticket)
    assert waiting.json.keys() == {"object", "claimId", "status", "expiresAt", "position"}
    assert (waiting.json["status"], waiting.json["position"]) == ("queued", 0)
    both = (await a.get("/api/v1/claims?model=tasks&id=task_1")).json["data"]
    assert [(c["status"], c.get("position")) for c in both] == [("active", None), ("queued", 0)]
    assert both[1].keys() == MODEL_CLAIM | {"position"}
    assert both[1]["target"] == {"model": "tasks", "id": "task_1", "fields": ["title"]}
    assert [c["id"] for c in (await a.get("/api/v1/claims?model=tasks")).json["data"]] == [held.json["id"]]

    assert await release(a) is True
    assert (await beat(b, ticket)).json["status"] == "held"
    one = await b.get(f"/api/v1/claims/{ticket}")
    assert one.json.keys() == {"id", "object", "status", "expiresAt", "fenceToken"}
    assert (one.json["status"], one.json["fenceToken"]) == ("active", 2)
    assert (await a.get(f"/api/v1/claims/{held.json['id']}")).json["status"] == "committed"

    late = await a.call("PATCH", TASK, {"data": {"title": "late"}, "claim": held.json["id"], "fenceToken": 1})
    assert late.error[:2] == (409, "claim_lost")
    assert await release(b) is True
    assert await release(b) is False
    assert (await a.get(TASK)).json["claims"] == []


async def test_claim_around_the_creation_of_a_row(world: World) -> None:
    a, b = agent(world, "a"), agent(world, "b")
    held = await claim(a, ttl="10s")
    assert held.status == 201
    assert (await b.get(TASK)).json["claims"] == [held.json["claim"]]
    assert (await b.create("tasks", "task_1", {"title": "b's"})).error[:2] == (409, "claim_conflict")
    guarded = {"id": "task_1", "data": {"title": "a's"}, "claim": held.json["id"], "fenceToken": 1}
    assert (await a.call("POST", "/api/v1/models/tasks", guarded)).status == 200
    assert await release(a) is True
    assert (await b.row("tasks", "task_1"))["title"] == "a's"


async def test_generic_route_with_an_id_of_the_clients_own(world: World) -> None:
    a = agent(world, "a")
    body = {
        "claimId": "mine-1",
        "target": {"model": "Task", "id": "t9", "field": "title"},
        "reason": "why not",
        "ttl": 5,
    }
    first = await a.call("POST", "/api/v1/claims", body)
    assert (first.status, first.json["id"], first.json["claim"]["description"]) == (201, "mine-1", "why not")
    assert first.json["claim"]["target"] == {"model": "Task", "id": "t9", "field": "title"}
    assert first.json["claim"]["field"] == "title"
    again = await a.call("POST", "/api/v1/claims", body)
    assert (again.status, again.json["fenceToken"]) == (201, first.json["fenceToken"])
    assert (await agent(world, "b").call("POST", "/api/v1/claims", body)).error == (400, "malformed_claim", "claimId")
    assert (await a.call("DELETE", "/api/v1/claims/mine-1")).json == {"object": "claim_release", "released": True}
    assert (await a.call("POST", "/api/v1/claims", body)).error[:2] == (409, "claim_lost")


async def test_second_credential_of_a_participant_enters_its_own_claim(world: World) -> None:
    first, second = agent(world, "twin"), agent(world, "twin")
    held = await claim(first)
    assert (await claim(second)).json["id"] == held.json["id"]
    written = {"id": "task_1", "data": {"title": "x"}, "claim": held.json["id"]}
    assert (await second.call("POST", "/api/v1/models/tasks", written)).status == 200
    assert (await beat(second, held.json["id"])).json["status"] == "held"
    assert await release(second) is True
    assert (await beat(first, held.json["id"])).error[:2] == (409, "claim_lost")


async def test_claims_end_at_the_border_of_an_organization(world: World) -> None:
    mine, foreign = agent(world, "a"), agent(world, "a", organization="rival")
    held = await claim(mine)
    assert (await claim(foreign)).status == 201
    assert (await foreign.get(f"/api/v1/claims/{held.json['id']}")).error[:2] == (404, "claim_not_found")
    assert (await beat(foreign, held.json["id"])).error[:2] == (404, "claim_not_found")
    assert (await foreign.call("DELETE", f"/api/v1/claims/{held.json['id']}")).json["released"] is False
    assert [c["id"] for c in (await mine.get("/api/v1/claims")).json["data"]] == [held.json["id"]]


async def test_users_write_through_claims_and_the_others_yield(world: World) -> None:
    a = agent(world, "a")
    user, system = world.client(kind="ek", participant="u"), world.client(participant="s")
    await a.create("tasks", "task_1", {"title": "x"})
    held = await claim(a)
    assert (await system.update("tasks", "task_1", {"title": "s"})).error[:2] == (409, "claim_conflict")
    assert (await user.update("tasks", "task_1", {"title": "u"})).status == 200
    stale = await a.call("PATCH", TASK, {"data": {"title": "a"}, "claim": held.json["id"], "fenceToken": 1})
    assert stale.error[:2] == (409, "stale_context")


async def test_heartbeat_of_all_claims_says_how_each_is(world: World) -> None:
    a, b = agent(world, "a"), agent(world, "b")
    assert (await a.call("POST", "/api/v1/claims/heartbeat", {})).json == {"object": "list", "results": []}
    held = (await claim(a)).json["id"]
    await claim(b, path="/api/v1/models/tasks/other")
    queued = (await claim(a, path="/api/v1/models/tasks/other")).json["id"]
    reply = (await a.call("POST", "/api/v1/claims/heartbeat", {"ttl": "20s"})).json
    assert reply.keys() == {"object", "results"}
    assert [(r["claimId"], r["status"]) for r in reply["results"]] == [(held, "held"), (queued, "queued")]
    assert reply["results"][0].keys() == {"claimId", "status", "expiresAt", "queueDepth"}
    assert reply["results"][1].keys() == {"claimId", "status", "expiresAt", "position"}
    assert 15_000 < milliseconds_from_now(reply["results"][0]["expiresAt"]) <= 21_000


async def test_reordering_changes_who_is_next(world: World) -> None:
    a, b, c = (agent(world, name) for name in "abc")
    await claim(a)
    second, third = (await claim(b)).json["id"], (await claim(c)).json["id"]
    order = {"order": [{"heldBy": "c", "claimId": third}]}
    assert (await c.call("POST", f"{TASK}/claim/reorder", order)).error[:2] == (403, "forbidden")
    reply = await a.call("POST", f"{TASK}/claim/reorder", order)
    assert reply.json == {"object": "claim_reorder", "reordered": True}
    assert (await beat(b, second)).json["position"] == 1
    await release(a)
    assert (await beat(c, third)).json["status"] == "held"
    nobody = {"order": [{"heldBy": "x", "claimId": "gone"}]}
    assert (await c.call("POST", f"{TASK}/claim/reorder", nobody)).json["reordered"] is False


async def test_lease_ends_by_itself_and_the_next_in_line_gets_it(world: World) -> None:
    a, b = agent(world, "a"), agent(world, "b")
    held = (await claim(a, ttl="300ms")).json["id"]
    ticket = (await claim(b)).json["id"]

    async def is_held() -> bool:
        return bool((await beat(b, ticket)).json["status"] == "held")

    await until(is_held, "the waiter holds the row")
    assert (await a.get(f"/api/v1/claims/{held}")).json["status"] == "expired"
    lost = await beat(a, held)
    assert lost.error[:2] == (409, "claim_lost")
    assert (lost.json["type"], lost.json["heldBy"]) == ("AbloClaimedError", "b")


async def test_lease_nobody_calls_about_is_swept(world: World) -> None:
    await claim(agent(world, "a"), ttl="50ms")

    async def is_swept() -> bool:
        return world.database.execute("SELECT status FROM pgsync_private.claim") == [("expired",)]

    await until(is_swept, "the sweep has ended the lease")


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (b"{", "invalid_json", None),
        ([], "invalid_body", None),
        ({"ttl": "soon"}, "malformed_claim", "ttl"),
        ({"ttl": 0}, "malformed_claim", "ttl"),
        ({"ttl": -1}, "malformed_claim", "ttl"),
        ({"ttl": "25h"}, "malformed_claim", "ttl"),
        ({"ttl": True}, "malformed_claim", "ttl"),
        ({"queue": "no"}, "malformed_claim", "queue"),
        ({"description": 5}, "malformed_claim", "description"),
        ({"meta": [1]}, "malformed_claim", "meta"),
        ({"meta": {"x": "y" * 20_000}}, "malformed_claim", "meta"),
        ({"target": "row"}, "malformed_claim", "target"),
        ({"target": {"fields": "title"}}, "malformed_claim", "target.fields"),
        ({"target": {"fields": ["a,b"]}}, "malformed_claim", "target.fields"),
        ({"target": {"field": "a,b"}}, "malformed_claim", "target.fields"),
        ({"target": {"fields": [1]}}, "malformed_claim", "target.fields"),
    ],
)
async def test_malformed_claim_names_what_is_wrong(client: Client, body: Any, code: str, param: str | None) -> None:
    assert (await client.call("POST", f"{TASK}/claim", body)).error == (400, code, param)
    assert (await client.get("/api/v1/claims")).json["data"] == []


@pytest.mark.parametrize(
    ("method", "path", "body", "error"),
    [
        ("POST", "/api/v1/models/widgets/x/claim", {}, (400, "unknown_model", "model")),
        ("DELETE", "/api/v1/models/widgets/x/claim", None, (400, "unknown_model", "model")),
        ("GET", "/api/v1/claims?model=widgets", None, (400, "unknown_model", "model")),
        ("POST", "/api/v1/models/tokens/nope/claim", {}, (400, "invalid_id", "id")),
        ("POST", "/api/v1/models/notices/n/claim", {}, (403, "forbidden", None)),
        ("POST", f"{TASK}/claim/heartbeat", {}, (400, "claim_id_required", "claimId")),
        ("POST", f"{TASK}/claim/heartbeat", {"claimId": "gone"}, (404, "claim_not_found", None)),
        ("POST", "/api/v1/claims/gone/heartbeat", {}, (404, "claim_not_found", None)),
        ("GET", "/api/v1/claims/gone", None, (404, "claim_not_found", None)),
        ("POST", f"{TASK}/claim/reorder", {}, (400, "malformed_claim", "order")),
        ("POST", "/api/v1/claims", {"target": {"id": "x"}}, (400, "malformed_claim", "model")),
        ("POST", "/api/v1/claims", {"target": {"model": "tasks"}}, (400, "model_identifier_missing", "id")),
    ],
)
async def test_claim_of_something_that_is_not_there(
    client: Client, method: str, path: str, body: Any, error: tuple[int, str, str | None]
) -> None:
    assert (await client.call(method, path, body)).error == error


async def test_grants_say_who_may_claim_and_who_sees_claims(world: World) -> None:
    a = agent(world, "a")
    reader = agent(world, "r", operations=["task.read"])
    writer = agent(world, "w", operations=["task.delete"])
    other = agent(world, "o", operations=["project.update"])
    held = (await claim(a)).json["id"]
    denied = await claim(reader)
    assert denied.error[:2] == (403, "capability_scope_denied")
    assert denied.json["requiredCapability"] == {"scope": "task.update"}
    assert (await claim(writer)).status == 202
    assert (await reader.get(f"/api/v1/claims/{held}")).json["status"] == "active"
    assert [c["id"] for c in (await reader.get("/api/v1/claims")).json["data"]] == [held]
    assert (await other.get("/api/v1/claims")).json["data"] == []
    assert (await other.get("/api/v1/claims?model=tasks")).error[:2] == (403, "capability_scope_denied")
    assert (await other.get(f"/api/v1/claims/{held}")).error[:2] == (404, "claim_not_found")


async def test_lists_filter_and_page(world: World) -> None:
    a, b = agent(world, "a"), agent(world, "b")
    ids = [(await claim(a, path=f"/api/v1/models/tasks/t{n}")).json["id"] for n in range(5)]
    project = (await claim(b, path="/api/v1/models/projects/p", target={"fields": ["Name"]})).json["id"]

    async def found(query: str) -> list[str]:
        return [c["id"] for c in (await a.get(f"/api/v1/claims?{query}")).json["data"]]

    assert await found("") == [*ids, project]
    assert await found("model=Task") == ids
    assert await found("actorId=b") == [project]
    assert await found("actorKind=user") == []
    assert await found("actorKind=agent&id=t3") == [ids[3]]
    assert await found("model=projects&field=name") == [project]
    assert await found("model=projects&field=status") == []
    first = (await a.get("/api/v1/claims?limit=4")).json
    assert first["has_more"] is True
    rest = (await a.get(f"/api/v1/claims?starting_after={first['next_cursor']}")).json
    assert (rest["has_more"], rest["next_cursor"]) == (False, None)
    assert [c["id"] for c in first["data"] + rest["data"]] == [*ids, project]


async def test_twenty_clients_in_line_write_one_after_the_other(world: World) -> None:
    clients = [agent(world, f"worker-{n}") for n in range(20)]
    await clients[0].create("tasks", "task_1", {"title": "x", "priority": 0})

    async def work(client: Client) -> None:
        ticket = (await claim(client)).json["id"]

        async def is_held() -> bool:
            return bool((await beat(client, ticket)).json["status"] == "held")

        await until(is_held, "its turn")
        state = (await client.get(f"/api/v1/claims/{ticket}")).json
        assert state["status"] == "active"
        before = (await client.row("tasks", "task_1"))["priority"]
        body = {"data": {"priority": before + 1}, "claim": state["id"], "fenceToken": state["fenceToken"]}
        reply = await client.call("PATCH", TASK, body)
        assert reply.status == 200, reply.body
        assert await release(client) is True

    await asyncio.gather(*(work(client) for client in clients))
    assert (await clients[0].row("tasks", "task_1"))["priority"] == len(clients)


async def test_claims_of_a_session_that_is_revoked_are_the_next_ones_at_once(world: World) -> None:
    owner, b = world.client(), agent(world, "b")
    body = {"participantKind": "agent", "participantId": "a", "operations": ["task.update", "task.read"]}
    minted = (await owner.call("POST", "/api/v1/capabilities", body)).json
    a = world.with_key(minted["token"])
    held = contract.granted(await claim(a, ttl="1h"))
    ticket = contract.queued(await claim(b))
    assert (await owner.call("DELETE", f"/api/v1/capabilities/{minted['capabilityId']}")).status == 200
    assert contract.claim_state(await b.get(f"/api/v1/claims/{ticket['id']}"))["status"] == "active"
    assert contract.claim_state(await b.get(f"/api/v1/claims/{held['id']}"))["status"] == "expired"
    again = world.client(kind="rk", participant="a")
    lost = await beat(again, held["id"])
    assert lost.error[:2] == (409, "claim_lost")
    assert lost.json["reason"] == "revoked"
    events = contract.logs(await owner.get("/api/v1/logs"))["data"]
    ended = [event for event in events if event.get("claimId") == held["id"]][-1]
    assert (ended["object"], ended["status"]) == ("claim_event", "expired")


async def test_participant_that_was_granted_it_takes_a_claim_from_its_holder(world: World) -> None:
    path = "/api/v1/models/counters/7"
    owner, a, b = world.client(), agent(world, "a"), agent(world, "b")
    body = {"participantKind": "agent", "participantId": "boss", "operations": ["counter.update", "claim.preempt"]}
    minted = await owner.call("POST", "/api/v1/capabilities", body)
    assert minted.json["scope"]["operations"] == ["counter.update"]
    boss = world.with_key(minted.json["token"])
    shown = (await boss.get(f"/api/v1/capabilities/{minted.json['capabilityId']}")).json
    assert (shown["mayPreempt"], shown["scope"]["operations"]) == (True, ["counter.update"])
    identity = contract.identity(await boss.get("/api/auth/identity"))
    assert identity["authority"]["operations"] == ["counter.update"]

    assert (await owner.create("counters", "7", {"label": "x"})).status == 200
    held, ticket = contract.granted(await claim(a, path)), contract.queued(await claim(b, path))
    assert (await claim(b, path, preempt=True)).error == (403, "capability_scope_denied", "preempt")
    assert (await claim(owner, preempt=True)).error == (403, "forbidden", "preempt")
    assert (await claim(boss, path, preempt=1)).error == (400, "malformed_claim", "preempt")
    taken = contract.granted(await claim(boss, path, preempt=True))
    assert taken["fenceToken"] > held["fenceToken"]

    lost = await beat(a, held["id"])
    assert lost.error[:2] == (409, "claim_lost")
    assert (lost.json["reason"], lost.json["heldBy"]) == ("preempted", "boss")
    late = {"data": {"label": "late"}, "claim": held["id"], "fenceToken": held["fenceToken"]}
    refused = await a.call("PATCH", path, late)
    assert (refused.status, refused.json["code"], refused.json["reason"]) == (409, "claim_lost", "preempted")
    del late["claim"]
    assert (await a.call("PATCH", path, late)).error[:2] == (409, "fence_token_stale")
    guards = {"claim": taken["id"], "fenceToken": taken["fenceToken"]}
    receipt = contract.receipt(await boss.call("PATCH", path, {"data": {"label": "boss"}, **guards}))
    assert receipt["authority"]["operations"] == ["counter.update"]
    assert await release(boss, path)
    assert contract.claim_state(await b.get(f"/api/v1/claims/{ticket['id']}"))["status"] == "active"
    events = contract.logs(await owner.get("/api/v1/logs"))["data"]
    assert [event["status"] for event in events if event.get("claimId") == held["id"]] == ["active", "expired"]
