"""What is asked about a row that one does not see is answered as about a missing one, by every route and frame."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson
import pytest

from pgsync.gateway import serve
from pgsync.push import push
from pgsync.schema import load_schema
from tests import postgres
from tests.acceptance.conftest import Client, Reply, Socket, World, config_of, new_key
from tests.acceptance.test_changes import following
from tests.acceptance.test_live_claims import begin, heard, settled

SCHEMA: Final = Path(__file__).parents[2] / "examples" / "tasks" / "schema.py"
HIDDEN: Final = ("h-there", "h-held", "h-changed", "h-gone", "h-left-deleted")
MISSING: Final = "h-missing"


@pytest.fixture
async def world(database: postgres.Database) -> AsyncIterator[World]:
    """The schema of the demo, whose comments their author can keep private."""
    push(database.dsn, load_schema(str(SCHEMA)))
    async with serve(config_of(database)) as gateway, aiohttp.ClientSession() as session:
        yield World(gateway, database, session)


def private(author: str) -> dict[str, Any]:
    return {"body": "secret", "private": True, "author_id": author, "task_id": "t1"}


def plain(said: bytes, row_id: str) -> str:
    """An answer without the row's id, and what differs between any two answers: ids, times and positions."""
    text = said.decode().replace(row_id, "row")
    text = re.sub(r"(clm|req|cap)_[0-9a-f]+", r"\1", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "time", text)
    text = re.sub(r'"(serverTxId|id|clientTxId|cursor|correlationId|etag)": ?"[^"]*"', r'"\1":""', text)
    return re.sub(r'"(expiresAt|declaredAt|stamp|lastSyncId|observedSyncId|readAt|timestamp)": ?\d+', r'"\1":0', text)


async def about(client: Client, row_id: str, read_at: int) -> list[tuple[str, int, str]]:
    """What a client is told of a row over HTTP, by whatever names it."""
    said: list[tuple[str, int, str]] = []

    async def ask(method: str, path: str, body: Any = None, **headers: str) -> Reply:
        reply = await client.call(method, path, body, **headers)
        tag = "" if "ETag" not in reply.headers else " with an ETag"
        said.append((f"{method} {path}".replace(row_id, "row") + tag, reply.status, plain(reply.body, row_id)))
        return reply

    row = f"/api/v1/models/comments/{row_id}"
    await ask("GET", row)
    await ask("GET", f"/api/sync/entity/comments/{row_id}")
    await ask("GET", f"/api/v1/models/comments?id={row_id}")
    await ask("GET", f'/api/v1/models/comments?where=[["id","=","{row_id}"]]')
    await ask("POST", "/api/sync/query", {"queries": [{"model": "comments", "where": [["id", row_id]]}]})
    await ask("PATCH", row, {"data": {"body": "x"}}, Idempotency_Key=new_key())
    await ask("PATCH", row, {"data": {"body": "x"}, "readAt": read_at}, Idempotency_Key=new_key())
    await ask("PATCH", row, {"data": {"body": "x"}}, Idempotency_Key=new_key(), If_Match=f'"{read_at}"')
    await ask("PATCH", row, {"data": {"body": "x"}, "fenceToken": 1}, Idempotency_Key=new_key())
    await ask("DELETE", row, {}, Idempotency_Key=new_key())
    update = {"action": "update", "model": "comments", "id": row_id, "data": {"body": "x"}}
    for guards in ({}, {"readAt": read_at}, {"readAt": read_at, "onStale": "notify"}, {"onStale": "overwrite"}):
        await ask("POST", "/api/v1/commits", {"operations": [update | guards]}, Idempotency_Key=new_key())
    elsewhere = {"action": "create", "model": "projects", "data": {"name": "x"}}
    for mode in ("reject", "notify", "overwrite"):
        for fields in (None, ["body"], ["private"]):
            premise = {"model": "comments", "id": row_id, "readAt": read_at, "onStale": mode}
            premise |= {} if fields is None else {"fields": fields}
            body = {"operations": [elsewhere | {"id": new_key()}], "reads": [premise]}
            await ask("POST", "/api/v1/commits", body, Idempotency_Key=new_key())
    track = {"track": [{"model": "comment", "id": row_id, "readAt": read_at}]}
    await ask("POST", "/api/v1/commits", track, Idempotency_Key=new_key())
    await ask("GET", f"/api/v1/claims?model=comments&id={row_id}")
    await ask("POST", f"{row}/claim/reorder", {"order": []})
    held = await ask("POST", f"{row}/claim", {"queue": False})
    if held.status < 300:
        claim = held.json["id"]
        await ask("POST", f"{row}/claim", {"queue": True})
        await ask("POST", f"{row}/claim/heartbeat", {"claimId": claim})
        reply = await client.get(f"/api/v1/claims/{claim}")
        said.append(("GET a claim", reply.status, plain(reply.body, row_id)))
        await ask("GET", row)
        await ask("PATCH", row, {"data": {"body": "x"}, "claim": claim}, Idempotency_Key=new_key())
    await ask("DELETE", f"{row}/claim")
    await ask("DELETE", f"{row}/claim")
    await ask("POST", "/api/v1/claims", {"target": {"model": "comments", "id": row_id}, "queue": False})
    await ask("DELETE", f"{row}/claim")
    return said


async def framed(socket: Socket, row_id: str) -> list[str]:
    """What a client is told of a row by the frames of its socket."""
    before = len(socket.frames)
    target = {"entityType": "comment", "entityId": row_id}
    for queue in (False, True):
        await begin(socket, f"{row_id}-{queue}", target, queue=queue)
    await socket.send("claim_heartbeat", target)
    await socket.wait_for("claim_heartbeat_ack")
    await socket.send("claim_reorder", {**target, "order": [{"claimId": f"{row_id}-True", "heldBy": "x"}]})
    operation = {"type": "UPDATE", "model": "comment", "id": row_id, "input": {"body": "x"}}
    guards: list[dict[str, Any]] = [{}, {"claimId": f"{row_id}-False"}, {"readAt": 1}]
    for number, more in enumerate(guards):
        key = f"{row_id}-{number}-{new_key()}"
        await socket.send("commit", {"operations": [operation | more], "clientTxId": key})
        await socket.wait_for("mutation_result")
    for queue in (False, True):
        await socket.send("claim_abandon", {"claimId": f"{row_id}-{queue}"})
    await settled(socket)
    # Of presence and lines, how many frames there are depends on how fast they follow each other.
    unasked = ("delta", "presence_update", "claim_queue", "pong")
    frames = [frame for frame in socket.frames[before:] if frame["type"] not in unasked]
    for frame in socket.frames[before:]:
        if b'"ada"' in (text := orjson.dumps(frame)):
            assert frame["type"] == "presence_update", frame
            assert b"h-" not in text, frame
    return sorted(plain(orjson.dumps(frame), row_id) for frame in frames)


async def test_claims_on_hidden_rows_move_nobodys_presence(world: World) -> None:
    ada, bob = (world.client(kind="ek", participant=name) for name in ("ada", "bob"))
    await ada.create("tasks", "t1", {"title": "x"})
    for row_id in HIDDEN:
        assert (await ada.create("comments", row_id, private("ada"))).status == 200
    async with ada.socket() as hers, bob.socket() as his:
        await hers.send("presence_update", {"status": "busy"})
        await heard(his, "presence_update", status="busy")
        for row_id in HIDDEN:
            await begin(hers, f"c-{row_id}", {"entityType": "comment", "entityId": row_id})
            await hers.send("claim_abandon", {"claimId": f"c-{row_id}"})
        await begin(hers, "c-task", {"entityType": "task", "entityId": "t1"})
        update = await heard(his, "presence_update")
        assert [claim["claimId"] for claim in update["activeClaims"]] == ["c-task"]


async def test_what_somebody_is_busy_with_is_told_to_who_is_shown_it(world: World) -> None:
    ada, bob = (world.client(kind="ek", participant=name) for name in ("ada", "bob"))
    await ada.create("tasks", "t1", {"title": "x"})
    await ada.create("comments", "h-1", private("ada"))
    await ada.create("comments", "c-1", private("ada") | {"private": False})
    async with ada.socket() as hers, bob.socket() as his:

        async def says(entity: str, row_id: str, number: int) -> dict[str, Any]:
            activity = {"entityType": entity, "entityId": row_id, "action": "editing"}
            await hers.send("presence_update", {"status": "busy", "customStatus": f"{number}", "activity": activity})
            return await heard(his, "presence_update", customStatus=f"{number}")

        assert (await says("task", "t1", 1))["activity"]["entityId"] == "t1"
        assert "activity" not in await says("comment", "h-1", 2)
        assert "activity" not in await says("comment", "c-1", 3), "not known whether he sees it"
        await begin(hers, "claim", {"entityType": "comment", "entityId": "c-1"})
        while "activity" not in (update := await heard(his, "presence_update")):
            pass
        assert update["activity"]["entityId"] == "c-1"


@pytest.mark.parametrize("watcher", ["user", "agent", "narrow", "foreign"])
async def test_hidden_row_is_a_missing_one_to_whoever_asks(world: World, watcher: str) -> None:
    ada = world.client(kind="ek", participant="ada")
    asker = {
        "user": lambda: world.client(kind="ek", participant="bob"),
        "agent": lambda: world.client(kind="rk", participant="bot"),
        "narrow": lambda: world.client(
            kind="rk", participant="nora", operations=["comment.update", "comment.delete", "project.create"]
        ),
        "foreign": lambda: world.client("globex", kind="ek", participant="eve"),
    }[watcher]()
    await ada.create("tasks", "t1", {"title": "x"})
    for row_id in HIDDEN:
        assert (await ada.create("comments", row_id, private("ada"))).status == 200
    read_at = await ada.head()
    async with ada.socket() as hers, asker.socket() as socket, following(asker) as events:
        await events.until("live")
        await socket.sync(await ada.head())
        await hers.sync(await ada.head())
        began = len(socket.frames)
        activity = {"entityType": "comment", "entityId": "h-there", "action": "editing"}
        await hers.send("presence_update", {"status": "busy", "activity": activity})
        assert (await ada.call("POST", "/api/v1/models/comments/h-held/claim", {"ttl": "5m"})).status == 201
        await begin(hers, "h-claim", {"entityType": "comment", "entityId": "h-there"})
        for row_id in ("h-changed", "h-gone"):
            assert (await ada.update("comments", row_id, {"body": "more"})).status == 200
        for row_id in ("h-gone", "h-left-deleted"):
            assert (await ada.delete("comments", row_id)).status == 200
        key = new_key()
        await ada.create("comments", "h-new", private("ada"), Idempotency_Key=key)
        await settled(hers)
        # What comes by itself says nothing of them.
        await settled(socket)
        head = await ada.head()
        assert (await socket.sync(head))["deltas"] == []
        heard = orjson.dumps(socket.frames[began:]).decode()
        assert "h-" not in heard
        assert "secret" not in heard

        wanted, wanted_frames = await about(asker, MISSING, read_at), await framed(socket, MISSING)
        for row_id in (*HIDDEN, "h-new"):
            assert await about(asker, row_id, read_at) == wanted, row_id
            assert await framed(socket, row_id) == wanted_frames, row_id

        # What lists things has none of it.
        for path in (
            "/api/v1/models/comments",
            "/api/v1/commits?actorId=ada",
            "/api/v1/claims?actorId=ada",
            "/api/sync/bootstrap",
            "/api/sync/bootstrap?models=Comment",
            f"/api/sync/bootstrap?lastSyncId={read_at}",
            "/api/v1/changes?models=comments&snapshot=1&follow=0",
            f"/api/v1/commits/{key}",
        ):
            reply = await asker.get(path)
            assert b"h-" not in reply.body, path
            assert b"secret" not in reply.body, path
        for path in ("/api/v1/claims", "/api/v1/logs", "/api/v1/logs?model=comments"):
            reply = await asker.get(path)
            for one in reply.json["data"] if reply.status == 200 else ():
                # Of its own claims, where it took some, which a socket may not have let go of yet.
                is_claim = path == "/api/v1/claims" or one["object"] == "claim_event"
                assert b"h-" not in orjson.dumps(one) or (is_claim and one["actor"] != "ada"), one
        query = {"queries": [{"model": "tasks", "related": ["comments"]}]}
        assert b"h-" not in (await asker.call("POST", "/api/sync/query", query)).body
        reads = [{"group": "org:globex" if watcher == "foreign" else "org:acme", "readAt": head}]
        assert (await ada.update("comments", "h-there", {"body": "again"})).status == 200
        body = {"operations": [{"action": "create", "model": "projects", "id": new_key(), "data": {"name": "x"}}]}
        settled_at = (await asker.call("POST", "/api/v1/commits", body, Idempotency_Key=new_key())).json["lastSyncId"]
        assert (await ada.update("comments", "h-there", {"body": "and again"})).status == 200
        body["operations"][0]["id"] = new_key()
        reads[0]["readAt"] = settled_at
        reply = await asker.call("POST", "/api/v1/commits", body | {"reads": reads}, Idempotency_Key=new_key())
        assert reply.status == 200, reply.body
    assert (await ada.row("comments", "h-there"))["body"] == "and again"
