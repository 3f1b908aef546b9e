"""Every frame of a socket, each with every field: those that the server sends and those that it takes.

What the server sends is known to `contract.FRAMES`, with which every frame of every acceptance test is checked; here
is shown that all of it is sent.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from pgsync.push import push
from pgsync.schema import load_schema
from tests.acceptance import contract
from tests.acceptance.conftest import Client, Socket, World
from tests.acceptance.test_live_claims import TASK, begin, expire, heard, settled

# Keys inside these are checked where they are told, not here: they are the same in many frames.
ALIKE: Final = ("authority", "heldByClaim", "notifications", "target", "actor", "onBehalfOf", "requiredCapability")
# Of a snapshot over a socket as over HTTP, where it is tested: tables that do not fit, and more rows than a page has.
ELSEWHERE: Final = {"bootstrap_response.failedModels", "bootstrap_response.nextCursor"}
# What a client would take and nothing here says: a commit that misses a row is refused, and a line has no policies.
NEVER: Final = {"mutation_result.missingIds", "claim_queued.policyReason"}

ACTIVITY: Final = {
    "entityType": "task",
    "entityId": "t1",
    "action": "editing",
    "detail": "the title",
    "field": "title",
    "fields": ["title"],
    "meta": {"x": 1},
    "loadFactor": 0.5,
    "acceptingNewWork": True,
}


def operation(kind: str, row_id: str, data: Any = None, **more: Any) -> dict[str, Any]:
    return {"type": kind, "model": "task", "id": row_id} | ({} if data is None else {"input": data}) | more


async def commit(socket: Socket, key: str, *operations: dict[str, Any], **more: Any) -> dict[str, Any]:
    await socket.send("commit", {"operations": list(operations), "clientTxId": key, **more})
    return await heard(socket, "mutation_result", clientTxId=key)


async def test_every_frame_is_sent_with_every_field_that_it_can_have(world: World) -> None:
    contract.SEEN.clear()
    ada = world.client(participant="ada", kind="rk", onBehalfOf={"kind": "user", "id": "boss"})
    bob = world.client(participant="bob")
    reader = world.client(participant="reader", kind="rk", operations=["task.read"])
    async with ada.socket() as a, bob.socket() as b, reader.socket() as narrow:
        await a.sync()
        await b.sync()
        start = await b.sync()
        assert (await b.sync(0, "nonsense"))["requiresBootstrap"] is True
        # commits and deltas
        await commit(a, "one", operation("CREATE", "t1", {"title": "x"}, transactionId="op-1"))
        await commit(
            a, "two", *(operation("CREATE", f"t{n}", {"title": "x"}, transactionId=f"op-{n}") for n in (2, 3, 4))
        )
        await heard(b, "delta")
        stamp = (await ada.get("/api/v1/models/tasks/t1")).json["stamp"]
        await commit(b, "three", operation("UPDATE", "t1", {"title": "moved"}))
        stale = await commit(a, "four", operation("UPDATE", "t1", {"title": "y"}, readAt=stamp, onStale="notify"))
        assert stale["notifications"]
        refused = await commit(a, "five", operation("UPDATE", "t1", {"title": "y"}, readAt=stamp, onStale="reject"))
        assert (refused["ops"], bool(refused["error"]["details"])) == (1, True)
        assert (await commit(a, "six", operation("CREATE", "t5", {"title": 5})))["error"]["field"] == "title"
        assert "missingIds" in (await commit(a, "seven", operation("DELETE", "none"))).get("error", {}).get(
            "details", {}
        )
        assert (await commit(narrow, "eight", operation("DELETE", "t4")))["error"]["requiredCapability"]
        # rows and subscriptions
        await b.send("bootstrap_request", {})
        await heard(b, "bootstrap_response")
        await b.send("update_subscription", {"syncGroups": ["org:other"]})
        assert (await heard(b, "subscription_ack"))["error"]["request_id"]
        # scope joins
        await a.send("claim", {"claimId": "scope", "syncGroups": ["org:acme"], "ttlSeconds": 60})
        await heard(a, "claim_ack", success=True)
        await a.send("claim", {"claimId": "foreign", "syncGroups": ["org:other"]})
        await heard(a, "claim_ack", success=False)
        # presence
        said = {"status": "busy", "timezone": "UTC", "customStatus": "here", "activity": ACTIVITY, "mesh": {"x": 1}}
        await a.send("presence_update", said)
        await heard(b, "presence_update", userId="ada", kind="enter")
        # claims
        part: dict[str, Any] = {"field": "title", "meta": {"y": 2}, "description": "rewriting"}
        held = await begin(a, "c-a", TASK, **part, estimatedMs=60_000)
        assert {"fenceToken", "readAt", "target"} <= held.keys()
        parts = {"entityType": "task", "entityId": "t2", "fields": ["title", "code"], "meta": {"y": 2}}
        await begin(a, "c-parts", parts, description="two parts")
        await heard(b, "presence_update", userId="ada", kind="update")
        await begin(b, "c-b", TASK, **part, queue=True)
        await begin(b, "c-late", parts, description="both", queue=True)
        assert (await begin(narrow, "c-n", TASK))["reason"] == "capability_denied"
        conflict = await begin(b, "c-x", TASK, field="title")
        assert {"heldBy", "heldByKind", "heldByClaim", "heldByExpiresAt", "target", "message"} <= conflict.keys()
        await a.send("claim_heartbeat", {"claimId": "c-a", "ttlMs": 90_000, "details": {"page": 1}})
        await heard(a, "claim_heartbeat_ack", status="held")
        await b.send("claim_heartbeat", {"claimId": "c-b"})
        await heard(b, "claim_heartbeat_ack", status="queued")
        await a.send("claim_abandon", {"claimId": "c-a"})
        await heard(b, "claim_granted", claimId="c-b")
        await expire(world, "c-b")
        await heard(b, "claim_lost")
        await expire(world, "c-late")
        await heard(b, "claim_expired", claimId="c-late")
        await settled(a)
    async with bob.socket() as b:
        assert (await b.sync(start["currentSyncId"], start["cursor"]))["deltas"]
    known = {place for kind, check in contract.FRAMES.items() for place in contract.places(check, kind)}
    wanted = {place for place in known if not any(f"{name}." in place or f"{name}[]." in place for name in ALIKE)}
    assert wanted - contract.SEEN == ELSEWHERE | NEVER


async def test_commit_frame_is_taken_with_every_field(world: World, client: Client) -> None:
    await client.create("tasks", "t1", {"title": "x"})
    await client.create("tasks", "t2", {"title": "x"})
    other = world.client(participant="other")
    async with client.socket() as socket:
        head = (await socket.sync())["currentSyncId"]
        claim = await begin(socket, "c-1")
        written = operation("UPDATE", "t1", {"title": "mine"}, transactionId="op", claimId="c-1")
        written |= {"readAt": head, "onStale": "reject", "fenceToken": claim["fenceToken"], "bypass": False}
        reads = [{"model": "task", "id": "t2", "fields": ["title"], "readAt": head, "onStale": "reject"}]
        reads.append({"group": "org:acme", "readAt": head, "onStale": "notify"})
        track = [{"model": "task", "id": "t2", "readAt": head, "onStale": "notify"}, {"group": "org:acme"}]
        done = await commit(socket, "all", written, reads=reads, track=track)
        assert (done["status"], done["ops"]) == ("confirmed", 1)
        # each of them counts
        wrong = await commit(socket, "fence", written | {"fenceToken": claim["fenceToken"] - 1})
        assert wrong["error"]["code"] == "fence_token_stale"
        stale = await commit(socket, "stale", written)
        assert stale["error"]["code"] == "stale_context"
        await other.update("tasks", "t2", {"title": "moved"})
        moved = await commit(socket, "reads", operation("UPDATE", "t1", {"title": "y"}, claimId="c-1"), reads=reads[:1])
        assert moved["error"]["code"] == "stale_context"
        told = await commit(socket, "track", operation("UPDATE", "t1", {"priority": 1}, claimId="c-1"))
        assert {notice["scope"] for notice in told["notifications"]} == {"row", "group"}
        deltas = [frame["payload"] for frame in socket.frames if frame["type"] == "delta"]
        assert any(delta.get("transactionId") == "op" for delta in deltas)


async def test_rows_are_archived_and_brought_back_over_a_socket(world: World, client: Client, tmp_path: Path) -> None:
    path = tmp_path / "schema.py"
    path.write_text(
        "from pgsync.schema import Model, Schema\n\n\nclass Paper(Model):\n    title: str\n"
        "    archived: bool = False\n\n\nschema = Schema(Paper)\n"
    )
    push(world.database.dsn, load_schema(str(path)), force=True)
    async with client.socket() as socket:
        await socket.sync()
        for number, (kind, archived) in enumerate((("CREATE", False), ("ARCHIVE", True), ("UNARCHIVE", False))):
            data = {"title": "x"} if kind == "CREATE" else None
            done = await commit(socket, f"tx-{number}", operation(kind, "p1", data) | {"model": "paper"})
            assert done["status"] == "confirmed", done
            delta = next((f["payload"] for f in socket.frames if f["type"] == "delta"), None)
            socket.frames.clear()
            delta = delta or (await socket.deltas(1))[0]
            socket.frames.clear()
            assert (delta["modelName"], delta["data"]["archived"]) == ("Paper", archived)
    refused = await client.call(
        "POST", "/api/v1/commits", {"operations": [{"action": "archive", "model": "tasks", "id": "t1"}]}
    )
    assert refused.status == 400
