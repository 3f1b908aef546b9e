"""Claims over sockets: the same claims as over HTTP, told to everybody concerned, on every gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest

from pgsync.gateway import Gateway, claim_lines, member, serve
from pgsync.gateway.coordination import Coordination
from tests.acceptance import contract
from tests.acceptance.conftest import LIMIT_SECONDS, Client, Socket, World, config_of, until

TASK = {"entityType": "task", "entityId": "t1"}


async def heard(socket: Socket, kind: str, /, **wanted: Any) -> dict[str, Any]:
    """The next frame of this type whose payload has these values; what came before it is checked, too."""
    async with asyncio.timeout(LIMIT_SECONDS):
        while True:
            frame = await socket.receive()
            payload: dict[str, Any] = frame["payload"]
            if frame["type"] == kind and all(payload.get(key) == value for key, value in wanted.items()):
                return payload


async def settled(socket: Socket) -> list[dict[str, Any]]:
    """Everything that has come by the time a ping is answered."""
    before = len(socket.frames)
    await socket.send("ping")
    await heard(socket, "pong")
    return socket.frames[before:-1]


async def begin(socket: Socket, claim_id: str, target: dict[str, Any] = TASK, **more: Any) -> dict[str, Any]:
    """The answer to a claim_begin frame, with its type."""
    await socket.send("claim_begin", {"claimId": claim_id, **target, **more})
    async with asyncio.timeout(LIMIT_SECONDS):
        while True:
            frame = await socket.receive()
            payload: dict[str, Any] = frame["payload"]
            if frame["type"] in ("claim_acquired", "claim_queued", "claim_rejected") and payload["claimId"] == claim_id:
                return {"frame": frame["type"], **payload}


@asynccontextmanager
async def second_gateway(world: World) -> AsyncIterator[World]:
    """Another gateway on the same database, with a slot of its own."""
    config = config_of(world.database, deployment=f"{world.database.name}_b")
    async with serve(config) as gateway:
        yield World(gateway, world.database, world.session)


def at(client: Client, gateway: Gateway) -> Client:
    """The same caller at another gateway."""
    return Client(client.session, gateway.url, client.key)


async def expire(world: World, claim_id: str) -> None:
    """Lets the time of a claim pass."""
    world.database.execute("UPDATE pgsync_private.claim SET expires_at = clock_timestamp() WHERE id = %s", (claim_id,))


async def test_free_row_is_claimed_and_shown_to_everybody(world: World) -> None:
    a, b = world.client(participant="a"), world.client(participant="b")
    created = (await a.create("tasks", "t1", {"title": "x"})).json
    async with a.socket() as socket:
        await socket.sync()
        parts = {"fields": ["title", "code"], "meta": {"why": "test"}}
        acquired = await begin(socket, "c-1", TASK | parts, description="rewriting", estimatedMs=30_000)
        assert acquired["frame"] == "claim_acquired"
        assert acquired["target"] == TASK | parts
        assert acquired["fenceToken"] == 1
        assert acquired["readAt"] >= created["lastSyncId"]
        (shown,) = contract.claims(await b.get("/api/v1/claims?model=tasks&id=t1"))
        assert (shown["id"], shown["actor"], shown["description"]) == ("c-1", "a", "rewriting")
        refused = await b.update("tasks", "t1", {"title": "y"})
        assert refused.error[:2] == (409, "claim_conflict")


async def test_who_waits_on_a_socket_gets_its_turn_with_what_was_written_before(world: World) -> None:
    a, b = world.client(participant="a", kind="rk"), world.client(participant="b", kind="rk")
    await world.client().create("tasks", "t1", {"title": "x"})
    async with a.socket() as first, b.socket() as second:
        await first.sync()
        await second.sync()
        held = await begin(first, "c-a")
        queued = await begin(second, "c-b", queue=True)
        assert (queued["frame"], queued["position"], queued["heldBy"]) == ("claim_queued", 0, "a")
        assert (queued["heldByKind"], queued["heldByClaim"]["claimId"]) == ("agent", "c-a")
        for socket in (first, second):
            line = await heard(socket, "claim_queue", target={"type": "task", "id": "t1"})
            assert [(entry["id"], entry["heldBy"], entry["position"]) for entry in line["queue"]] == [("c-b", "b", 0)]
            assert line["queue"][0]["participantKind"] == "agent"
        written = await a.update("tasks", "t1", {"title": "by a"})
        await first.send("claim_abandon", {"claimId": "c-a", **TASK})
        granted = await heard(second, "claim_granted", claimId="c-b")
        assert granted["fenceToken"] > held["fenceToken"]
        assert granted["readAt"] >= written.json["lastSyncId"]
        deltas = [frame for frame in second.frames if frame["type"] == "delta"]
        assert deltas, "what the holder wrote comes before the turn"
        line = await heard(first, "claim_queue", queue=[])
        under = {"claim": "c-b", "fenceToken": granted["fenceToken"], "readAt": granted["readAt"]}
        body = {"data": {"title": "by b"}, **under}
        assert (await b.call("PATCH", "/api/v1/models/tasks/t1", body)).status == 200


async def test_parts_description_and_meta_of_a_claim_are_in_every_frame_about_it(world: World) -> None:
    a, b, peer = (world.client(participant=name) for name in ("a", "b", "peer"))
    await a.create("tasks", "t1", {"title": "x"})
    parts = {"field": "title", "fields": ["code", "status"], "meta": {"why": "all of it"}}
    async with a.socket() as first, b.socket() as second, peer.socket() as watching:
        asked = {"description": "rewriting", "estimatedMs": 600_000, "queue": True}
        acquired = await begin(first, "c-a", TASK | parts, **asked)
        assert acquired["target"] == TASK | parts
        (claim,) = (await heard(watching, "presence_update", userId="a"))["activeClaims"]
        assert {key: claim[key] for key in (*TASK, *parts)} == TASK | parts
        assert (claim["description"], claim["expiresAt"] - claim["declaredAt"]) == ("rewriting", 600_000)
        queued = await begin(second, "c-b", TASK | parts, **asked)
        assert queued["target"] == TASK | parts
        assert queued["heldByExpiresAt"] == claim["expiresAt"]
        assert {key: queued["heldByClaim"][key] for key in parts} == parts
        (entry,) = (await heard(watching, "claim_queue"))["queue"]
        assert entry["target"] == {"type": "task", "id": "t1", **parts}
        assert (entry["description"], entry["heldBy"], entry["participantKind"]) == ("rewriting", "b", "system")
        world.database.execute("SELECT pgsync.end_claim_v1('acme', 'c-a')")
        assert (await heard(first, "claim_lost"))["target"] == TASK | parts
        assert (await heard(second, "claim_granted"))["target"] == TASK | parts
        beat = {"claimId": "c-b", **TASK, "ttlMs": 900_000, "details": {"page": 1}}
        await second.send("claim_heartbeat", beat)
        ack = await heard(second, "claim_heartbeat_ack")
        assert (ack["status"], ack["queueDepth"]) == ("held", 0)


async def test_turn_is_taken_up_for_the_client_when_it_has_heard_of_it(world: World) -> None:
    a, b = world.client(participant="a"), world.client(participant="b")
    async with b.socket() as socket:
        contract.granted(await a.call("POST", "/api/v1/models/tasks/t1/claim", {"ttl": "5m"}))
        await begin(socket, "c-b", queue=True, estimatedMs=300_000)
        assert contract.released(await a.call("DELETE", "/api/v1/models/tasks/t1/claim"))
        await heard(socket, "claim_granted", claimId="c-b")

        async def extended() -> bool:
            ((seconds,),) = world.database.execute(
                "SELECT extract(epoch FROM expires_at - clock_timestamp())::float FROM pgsync_private.claim"
                " WHERE id = 'c-b'"
            )
            return float(seconds) > 100

        await until(extended, "the lease lasts as long as it was asked for")


@pytest.fixture
def quick_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a gateway that starts after this."""
    monkeypatch.setattr(claim_lines, "BEAT_SECONDS", 0.2)


async def test_ticket_lives_as_long_as_its_socket(quick_beats: None, world: World) -> None:
    a, b = world.client(participant="a"), world.client(participant="b")
    contract.granted(await a.call("POST", "/api/v1/models/tasks/t1/claim", {"ttl": "5m"}))

    async def ticket() -> str | None:
        reply = await b.get("/api/v1/claims/c-b")
        status: str | None = reply.json.get("status")
        return status

    def left() -> float:
        ((seconds,),) = world.database.execute(
            "SELECT extract(epoch FROM expires_at - clock_timestamp())::float FROM pgsync_private.claim"
            " WHERE id = 'c-b'"
        )
        return float(seconds)

    async with b.socket() as socket:
        await begin(socket, "c-b", queue=True)
        world.database.execute(
            "UPDATE pgsync_private.claim SET expires_at = clock_timestamp() + INTERVAL '6 seconds' WHERE id = 'c-b'"
        )

        async def kept() -> bool:
            return left() > 10

        await until(kept, "the gateway beats for the client")
    assert await ticket() == "queued"
    async with b.socket() as socket:
        again = await begin(socket, "c-b", queue=True)
        assert (again["frame"], again["position"]) == ("claim_queued", 0)
    await expire(world, "c-b")

    async def gone() -> bool:
        return await ticket() == "expired"

    await until(gone, "nobody beats for a client that has gone")


async def test_announced_again_after_a_reconnect_it_is_the_same_lease(world: World) -> None:
    client = world.client(participant="a")
    async with client.socket() as socket:
        first = await begin(socket, "c-1", estimatedMs=60_000)
    ((granted_at,),) = world.database.execute("SELECT granted_at FROM pgsync_private.claim WHERE id = 'c-1'")
    async with client.socket() as socket:
        again = await begin(socket, "c-1", estimatedMs=60_000)
        assert again["fenceToken"] == first["fenceToken"]
        assert world.database.execute("SELECT granted_at FROM pgsync_private.claim WHERE id = 'c-1'") == [(granted_at,)]
        await expire(world, "c-1")
        assert (await heard(socket, "claim_lost"))["claimId"] == "c-1"
    async with client.socket() as socket:
        rejected = await begin(socket, "c-1")
        assert (rejected["frame"], rejected["reason"]) == ("claim_rejected", "expired")


async def test_claim_given_back_with_the_last_frame_is_free(world: World) -> None:
    a, b = world.client(participant="a"), world.client(participant="b")
    for number in range(10):
        async with a.socket() as socket:
            await socket.send("claim_begin", {"claimId": f"c-{number}", **TASK})
            await socket.send("claim_abandon", {"claimId": f"c-{number}"})

    async def free() -> bool:
        return contract.claims(await b.get("/api/v1/claims?model=tasks&id=t1")) == []

    await until(free, "nothing is left of them")


async def test_holder_and_waiter_hear_that_their_time_is_over(world: World) -> None:
    a, b, c = (world.client(participant=name) for name in "abc")
    async with a.socket() as first, a.socket() as tab, b.socket() as second:
        held = contract.granted(await c.call("POST", "/api/v1/models/tasks/t2/claim", {"ttl": "5m"}))
        await begin(first, "c-a", TASK | {"field": "title"})
        await begin(second, "c-b", {"entityType": "tasks", "entityId": "t2"}, queue=True)
        await expire(world, "c-a")
        lost = await heard(first, "claim_lost")
        assert lost == {"claimId": "c-a", "reason": "expired", "target": TASK | {"field": "title"}}
        assert (await heard(tab, "claim_lost"))["claimId"] == "c-a"
        await expire(world, "c-b")
        assert await heard(second, "claim_expired") == {"claimId": "c-b"}
    async with c.socket() as socket:

        async def known() -> bool:
            return bool(coordination(world).lines.held_by(("acme", "system", "c")))

        await until(known, "the gateway has read the claims of the organization")
        world.database.execute("SELECT pgsync.end_claim_v1('acme', %s)", (held["id"],))  # one that it took by HTTP
        lost = await heard(socket, "claim_lost", claimId=held["id"])
        assert lost["target"] == {"entityType": "task", "entityId": "t2"}


async def test_holder_hears_that_its_claim_was_taken(world: World) -> None:
    target = {"entityType": "counter", "entityId": "7"}
    a = world.client(kind="rk", participant="a")
    body = {"participantKind": "agent", "participantId": "boss", "operations": ["counter.update", "claim.preempt"]}
    boss = world.with_key((await world.client().call("POST", "/api/v1/capabilities", body)).json["token"])
    async with a.socket() as first, boss.socket() as second:
        held = await begin(first, "c-a", target)
        taken = await begin(second, "c-boss", target, preempt=True)
        assert (taken["frame"], taken["fenceToken"] > held["fenceToken"]) == ("claim_acquired", True)
        assert await heard(first, "claim_lost") == {"claimId": "c-a", "reason": "preempted", "target": target}
        again = await begin(first, "c-a", target)
        assert (again["frame"], again["reason"]) == ("claim_rejected", "preempted")
        refused = await begin(first, "c-b", target, preempt=True)
        assert (refused["frame"], refused["reason"]) == ("claim_rejected", "capability_denied")


async def test_every_refusal_has_its_reason(world: World) -> None:
    a = world.client(participant="a")
    reader = world.client(participant="r", kind="rk", operations=["task.read"])
    contract.granted(await world.client(participant="b").call("POST", "/api/v1/models/tasks/t1/claim", {}))
    async with a.socket() as socket, reader.socket() as narrow:
        conflict = await begin(socket, "c-1")
        assert (conflict["reason"], conflict["heldBy"], conflict["heldByKind"]) == ("conflict", "b", "system")
        assert conflict["heldByClaim"]["entityId"] == "t1"
        assert conflict["heldByExpiresAt"] == conflict["heldByClaim"]["expiresAt"]
        assert conflict["target"] == TASK
        for target in (
            {"entityType": "nothing", "entityId": "t1"},
            {"entityType": "counter", "entityId": "no number"},
            {"entityType": "task", "entityId": "a\0b"},
            {"entityType": "task"},
            {"entityType": "task", "entityId": "t1", "fields": "title"},
            {"entityType": "task", "entityId": "t1", "field": "a,b"},
            {"entityType": "task", "entityId": "t1", "meta": 5},
        ):
            rejected = await begin(socket, "c-2", target)
            assert (rejected["frame"], rejected["reason"]) == ("claim_rejected", "invalid_target"), target
        assert (await begin(socket, "", TASK))["reason"] == "invalid_target"
        assert (await begin(narrow, "c-3", {"entityType": "task", "entityId": "t9"}))["reason"] == "capability_denied"
        read_only = await begin(socket, "c-4", {"entityType": "notice", "entityId": "n"})
        assert read_only["reason"] == "capability_denied"
        taken = await begin(narrow, "c-1", {"entityType": "task", "entityId": "t9"})
        assert taken["frame"] == "claim_rejected"
        world.database.execute("ALTER FUNCTION pgsync.begin_claim_v1(jsonb, jsonb) RENAME TO away")
        assert (await begin(socket, "c-5"))["reason"] == "coordination_unavailable"


async def test_heartbeat_extends_and_tells(world: World) -> None:
    a, b = world.client(participant="a"), world.client(participant="b")
    await a.create("tasks", "t1", {"title": "x"})
    async with a.socket() as first, b.socket() as second:
        await second.send("presence_update", {})
        await begin(first, "c-a")
        await begin(second, "c-b", queue=True)
        beat = {"claimId": "c-a", "ttlMs": 120_000, "details": {"page": "3/10"}}
        await first.send("claim_heartbeat", beat)
        ack = await heard(first, "claim_heartbeat_ack")
        assert (ack["claimId"], ack["status"], ack["queueDepth"]) == ("c-a", "held", 1)
        (claim, _) = contract.claims(await b.get("/api/v1/claims?model=tasks&id=t1"))
        assert claim["expiresAt"] == ack["expiresAt"]
        assert claim["meta"] == {"progress": {"page": "3/10"}}
        peer = await heard(second, "presence_update", userId="a")
        while not peer["activeClaims"][0].get("meta"):
            peer = await heard(second, "presence_update", userId="a")
        assert peer["activeClaims"][0]["meta"] == {"progress": {"page": "3/10"}}
        await second.send("claim_heartbeat", TASK)  # by its row
        ack = await heard(second, "claim_heartbeat_ack")
        assert (ack["claimId"], ack["status"], ack["position"]) == ("c-b", "queued", 0)
        for unknown in ({"claimId": "nobody's"}, {"entityType": "task", "entityId": "t9"}, {"claimId": "a\0"}, {}):
            await second.send("claim_heartbeat", unknown)
            ack = await heard(second, "claim_heartbeat_ack")
            assert ack == {"claimId": unknown.get("claimId", ""), "status": "lost"}


async def test_line_is_reordered_for_everybody(world: World) -> None:
    holder, one, two = (world.client(participant=name) for name in ("h", "one", "two"))
    contract.granted(await holder.call("POST", "/api/v1/models/tasks/t1/claim", {}))
    async with holder.socket() as socket, one.socket() as first, two.socket() as second:
        await begin(first, "c-1", queue=True)
        await begin(second, "c-2", queue=True)
        order = [{"heldBy": "two", "claimId": "c-2"}, {"heldBy": "one", "claimId": "c-1"}]
        await socket.send("claim_reorder", {**TASK, "order": order})
        while True:
            line = (await heard(socket, "claim_queue"))["queue"]
            if [entry["id"] for entry in line] == ["c-2", "c-1"]:
                break
        assert [entry["position"] for entry in line] == [0, 1]
    async with world.client(participant="late").socket() as late:  # who comes later hears of the line, too
        assert [entry["id"] for entry in (await heard(late, "claim_queue"))["queue"]] == ["c-2", "c-1"]


async def test_other_tenants_hear_nothing_of_claims(world: World) -> None:
    a, b, other = world.client(participant="a"), world.client(participant="b"), world.client("other")
    await a.create("tasks", "t1", {"title": "x"})
    async with a.socket() as first, b.socket() as second, other.socket() as foreign:
        await begin(first, "c-a")
        await begin(second, "c-b", queue=True)
        await heard(second, "claim_queue")
        assert await settled(foreign) == []


# --- two gateways -------------------------------------------------------------------------------------------------


async def test_claims_of_one_gateway_are_told_at_the_other(world: World) -> None:
    a, b = world.client(participant="a"), world.client(participant="b")
    await a.create("tasks", "t1", {"title": "x"})
    async with second_gateway(world) as beside, a.socket() as here, at(b, beside.gateway).socket() as there:
        await there.send("presence_update", {"status": "online"})
        await begin(here, "c-a")
        peer = await heard(there, "presence_update", userId="a")
        assert [claim["claimId"] for claim in peer["activeClaims"]] == ["c-a"]
        await begin(there, "c-b", queue=True)
        assert [entry["id"] for entry in (await heard(here, "claim_queue"))["queue"]] == ["c-b"]
        written = await a.update("tasks", "t1", {"title": "by a"})
        await here.send("claim_abandon", {"claimId": "c-a"})
        granted = await heard(there, "claim_granted", claimId="c-b")
        # the socket has not said where it was, so nobody can say what it has
        assert granted.get("readAt", written.json["lastSyncId"]) >= written.json["lastSyncId"]
        await expire(world, "c-b")
        assert (await heard(there, "claim_lost"))["reason"] == "expired"


@pytest.mark.parametrize("lost", ["gateway reads", "gateway writes", "stream", "listener"])
async def test_turn_is_told_whatever_connection_was_lost_meanwhile(world: World, lost: str) -> None:
    a, b = world.client(participant="a"), world.client(participant="b")
    async with b.socket() as socket:
        held = contract.granted(await a.call("POST", "/api/v1/models/tasks/t1/claim", {"ttl": "5m"}))
        await begin(socket, "c-b", queue=True)
        if all(frame["type"] != "claim_queue" for frame in socket.frames):  # it may overtake the answer
            await heard(socket, "claim_queue")
        world.database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name LIKE %s",
            (f"pgsync {lost}%",),
        )
        world.database.execute("SELECT pgsync.end_claim_v1('acme', %s)", (held["id"],))
        await heard(socket, "claim_granted", claimId="c-b")


async def test_fault_in_telling_is_overcome(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = world.client(participant="a"), world.client(participant="b")
    read, faults = claim_lines.ClaimLines._read, iter([True])

    async def faulty(lines: Any, batch: Any) -> None:
        if next(faults, False):
            raise RuntimeError("a fault")
        await read(lines, batch)

    async with b.socket() as socket:
        await settled(socket)
        monkeypatch.setattr(claim_lines.ClaimLines, "_read", faulty)
        contract.granted(await a.call("POST", "/api/v1/models/tasks/t1/claim", {}))
        assert (await heard(socket, "presence_update", userId="a"))["activeClaims"]


async def test_forged_hint_tells_nobody_anything(world: World) -> None:
    a, b = world.client(participant="a"), world.client(participant="b")
    async with a.socket() as first, b.socket() as second:
        await begin(first, "c-a")
        await heard(second, "presence_update", userId="a")
        for said in (
            {"scope": "acme", "org": "acme", "model": "task", "id": "t1", "claim": "c-a", "event": "expired"},
            {"scope": "acme", "model": "counter", "id": "no number"},
            {"scope": 5, "model": ["task"], "id": {}},
            {"scope": "", "model": "task", "id": "t1"},
            {},
        ):
            text = orjson.dumps({"t": "k", **said}).decode()
            world.say(text)
        held = contract.granted(await b.call("POST", "/api/v1/models/tasks/t2/claim", {}))  # a real one after them
        await heard(first, "presence_update", userId="b")
        assert [frame for frame in first.frames if frame["type"] == "claim_lost"] == []
        assert (await a.get("/api/v1/claims/c-a")).json["status"] == "active"
        assert held["fenceToken"] == 1


async def test_many_sockets_cost_one_reading(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    readings = 0
    read = claim_lines.ClaimLines._read

    async def counted(lines: Any, batch: Any) -> None:
        nonlocal readings
        readings += 1
        await read(lines, batch)

    monkeypatch.setattr(claim_lines.ClaimLines, "_read", counted)
    clients = [world.client(participant=f"p{n}") for n in range(20)]
    sockets: list[Socket] = []
    async with _open(clients, sockets):
        await settled(sockets[0])
        before = readings
        contract.granted(await clients[0].call("POST", "/api/v1/models/tasks/t1/claim", {}))
        for socket in sockets[1:]:
            assert (await heard(socket, "presence_update", userId="p0"))["activeClaims"]
        assert readings - before <= 2


@asynccontextmanager
async def _open(clients: list[Client], sockets: list[Socket]) -> AsyncIterator[None]:
    if not clients:
        yield
        return
    async with clients[0].socket() as socket:
        sockets.append(socket)
        async with _open(clients[1:], sockets):
            yield


# --- scope joins --------------------------------------------------------------------------------------------------


async def test_scope_join_adds_groups_while_it_lasts(world: World) -> None:
    client = world.client(syncGroups=["org:acme", "team:red"])
    async with client.socket("team:red") as socket:
        await socket.sync()
        await client.create("tasks", "t1", {"title": "unheard"})
        await socket.send("claim", {"claimId": "s-1", "syncGroups": ["org:acme"], "ttlSeconds": 600})
        ack = await heard(socket, "claim_ack")
        assert ack == {"claimId": "s-1", "success": True, "syncGroups": ["org:acme"], "ttlSeconds": 600}
        await client.create("tasks", "t2", {"title": "heard"})
        assert [delta["modelId"] for delta in await socket.deltas(1)] == ["t2"]
        await socket.send("update_subscription", {"syncGroups": []})
        assert (await heard(socket, "subscription_ack"))["syncGroups"] == []
        await client.create("tasks", "t3", {"title": "heard"})
        assert [delta["modelId"] for delta in await socket.deltas(1)] == ["t3"]
        await socket.send("release", {"claimId": "s-1"})
        assert (await heard(socket, "claim_ack"))["success"] is True
        await client.create("tasks", "t4", {"title": "unheard"})
        await socket.send("claim", {"claimId": "s-2", "syncGroups": ["org:acme"], "ttlSeconds": 0.2})
        assert (await heard(socket, "claim_ack"))["ttlSeconds"] == 1

        async def over() -> bool:
            await client.update("tasks", "t1", {"priority": 1})
            return not any(frame["type"] == "delta" for frame in await settled(socket))

        await until(over, "the join ends with its time")


async def test_scope_join_with_another_token_has_what_that_token_may(world: World) -> None:
    narrow = world.client(kind="rk", participant="n", syncGroups=["team:red"], operations=["task.read"])
    wide, foreign = world.key(syncGroups=["org:acme"]), world.key("other")
    async with narrow.socket() as socket:
        await socket.sync()
        for token, code in (
            (None, "capability_scope_denied"),
            (foreign, "capability_scope_denied"),
            ("sk_wrong", "capability_invalid"),
            (5, "capability_invalid"),
        ):
            frame = {"claimId": "s", "syncGroups": ["org:acme"]} | ({} if token is None else {"capabilityToken": token})
            await socket.send("claim", frame)
            ack = await heard(socket, "claim_ack")
            assert (ack["success"], ack["error"]["code"]) == (False, code)
            assert ack["error"]["requiredCapability"] == {"scope": "org:acme"}
        await socket.send("claim", {"claimId": "s", "syncGroups": ["org:acme"], "capabilityToken": wide})
        assert (await heard(socket, "claim_ack"))["success"] is True
        await world.client().create("tasks", "t1", {"title": "heard"})
        assert [delta["modelId"] for delta in await socket.deltas(1)] == ["t1"]
        revoke = "SELECT pgsync.revoke_credential_v1(c ->> 'capabilityId') FROM pgsync.credentials_v1() AS c"
        world.database.execute(
            f"{revoke} WHERE c -> 'syncGroups' = '[\"org:acme\"]' AND c ->> 'organizationId' = 'acme'"
        )
        writer = world.client(participant="w")

        async def over() -> bool:
            await writer.update("tasks", "t1", {"priority": 1})
            return not any(frame["type"] == "delta" for frame in await settled(socket))

        await until(over, "a revoked token takes its groups with it")


async def test_scope_join_reads_nothing_that_the_token_may_not_read(world: World) -> None:
    reader = world.client(kind="ek", participant="r", syncGroups=["team:red"], operations=["task.read"])
    token = world.key(kind="ek", participant="w", syncGroups=["org:acme"], operations=["task.create"])
    async with reader.socket() as socket:
        await socket.send("claim", {"claimId": "s", "syncGroups": ["org:acme"], "capabilityToken": token})
        ack = await heard(socket, "claim_ack")
        assert (ack["success"], ack["error"]["code"]) == (False, "capability_scope_denied")
        assert ack["error"]["requiredCapability"] == {"scope": "task.read"}


async def test_malformed_scope_join_is_refused(client: Client) -> None:
    malformed: list[dict[str, Any]] = [
        {"claimId": "s", "syncGroups": "org:acme"},
        {"claimId": "s", "syncGroups": [5]},
        {"claimId": "s", "syncGroups": ["nonsense"]},
        {"claimId": "s", "syncGroups": [f"team:{n}" for n in range(201)]},
        {"claimId": "s", "syncGroups": ["org:acme"], "ttlSeconds": -1},
        {"claimId": "", "syncGroups": ["org:acme"]},
        {"claimId": 5, "syncGroups": ["org:acme"]},
    ]
    async with client.socket() as socket:
        for payload in malformed:
            await socket.send("claim", payload)
            assert (await heard(socket, "claim_ack"))["success"] is False


# --- nonsense -----------------------------------------------------------------------------------------------------

NONSENSE: list[Any] = [
    None,
    5,
    "text",
    [],
    {},
    {"claimId": None},
    {"claimId": ["c"]},
    {"claimId": "x" * 10_000, "entityType": "task", "entityId": "t1"},
    {"claimId": "c", "entityType": {}, "entityId": []},
    {"claimId": "c", "entityType": "x" * 10_000, "entityId": "y" * 10_000},
    {"claimId": "c\0", "entityType": "task\0", "entityId": "t\0"},
    {"claimId": "c", **TASK, "fields": [[]], "meta": "m", "description": {}, "estimatedMs": "soon", "queue": "yes"},
    {"claimId": "c", **TASK, "estimatedMs": -1},
    {"claimId": "c", **TASK, "estimatedMs": 1e300, "ttlMs": 1e300, "details": {"x": "\0"}},
    {"claimId": "c", **TASK, "ttlMs": True, "details": 5, "order": 5},
    {**TASK, "order": [None, 5, {}, {"claimId": 5, "heldBy": {}}, {"claimId": "\0", "heldBy": "x"}]},
    {"claimId": "c", "syncGroups": [None], "ttlSeconds": {}, "capabilityToken": []},
    {"status": 5, "activity": {"entityType": 5}, "activeClaims": "x", "timezone": [], "kind": "leave", "userId": "u"},
    {"status": "x" * 100_000, "more": {"deep": ["x" * 100_000]}},
    {"activity": {"entityType": "task", "entityId": "t1", "action": "edit", "loadFactor": "much", "meta": []}},
    {"syncGroups": None, "cursor": {}, "lastSyncId": "x"},
]


async def test_nonsense_ends_no_socket(world: World, client: Client) -> None:
    kinds = ("claim_begin", "claim_abandon", "claim_heartbeat", "claim_reorder", "claim", "release", "presence_update")
    peer = world.client(participant="peer")
    async with client.socket() as socket, peer.socket() as other:
        await other.send("presence_update", {})
        for kind in (*kinds, "update_subscription", "ack", "sync_request"):
            for payload in NONSENSE:
                await socket.send(kind, payload)
            await settled(socket)
        acquired = await begin(socket, "good", {"entityType": "task", "entityId": "free"})
        assert acquired["frame"] == "claim_acquired"
        for frame in await settled(other):
            assert frame["type"] in ("presence_update", "claim_queue")
        assert not other.raw.closed


async def test_client_that_reads_nothing_of_what_is_told_is_let_go(
    world: World, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(member, "MAX_WAITING", 3)
    async with client.socket() as socket:
        box = coordination(world)._members.of("acme")[0].outbox
        for number in range(5):  # without a pause in which they could be sent
            box.put(b"{}", key=number)
        async with asyncio.timeout(LIMIT_SECONDS):
            while (await socket.raw.receive()).type is aiohttp.WSMsgType.TEXT:
                pass
        assert socket.raw.close_code == 1013


def coordination(world: World) -> Coordination:
    """What the gateway knows of its connected clients."""
    (call,) = world.gateway.feed._noticed
    found = call.__self__  # type: ignore[attr-defined]
    assert isinstance(found, Coordination)
    return found
