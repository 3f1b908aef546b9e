"""Sessions over HTTP: what is minted can do what it says and no more, and ends everywhere when it ends."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import orjson
import pytest

from pgsync import keys
from pgsync.gateway import serve
from tests.acceptance.conftest import LIMIT_SECONDS, Client, Reply, Socket, World, config_of, until

CAPABILITIES = "/api/v1/capabilities"
EPHEMERAL_KEYS = "/api/v1/ephemeral_keys"
AUTHORITY = {
    "organizationId",
    "projectId",
    "branchId",
    "syncGroups",
    "operations",
    "participantKind",
    "participantId",
    "deliveryPartition",
}
AGENT = {"participantKind": "agent", "participantId": "bot", "operations": ["task.update", "task.read"]}


async def mint(client: Client, **body: Any) -> dict[str, Any]:
    """The answer of a minted agent session, checked for its shape."""
    reply = await client.call("POST", CAPABILITIES, AGENT | {"ttlSeconds": 900} | body)
    assert reply.status == 201, reply.body
    answer: dict[str, Any] = reply.json
    assert set(answer) == {
        "capabilityId",
        "token",
        "expiresAt",
        "organizationId",
        "branchRoot",
        "scope",
        "userMeta",
    }
    assert set(answer["scope"]) == AUTHORITY
    assert answer["expiresAt"].endswith("Z")
    return answer


def denied(reply: Reply, scope: str) -> None:
    assert reply.error[:2] == (403, "capability_scope_denied")
    assert reply.json["requiredCapability"] == {"scope": scope}


async def test_agent_session_is_minted_with_the_contracts_answer(world: World) -> None:
    answer = await mint(world.client(), userMeta={"run": 7})
    assert answer["organizationId"] == "acme"
    assert answer["userMeta"] == {"run": 7}
    assert answer["scope"]["operations"] == ["task.update", "task.read"]
    assert keys.is_wellformed(answer["token"])
    assert answer["token"].startswith("rk_")
    identity = (await world.with_key(answer["token"]).get("/api/auth/identity")).json
    assert identity["authority"] == answer["scope"]
    assert (identity["participantKind"], identity["participantId"]) == ("agent", "bot")
    assert identity["userMeta"] == {"run": 7}


async def test_user_session_is_minted_with_the_contracts_answer(world: World) -> None:
    body = {"user": {"id": "u-9", "teamIds": ["red"]}, "operations": ["project.read"], "ttlSeconds": 600}
    reply = await world.client().call("POST", EPHEMERAL_KEYS, body)
    assert reply.status == 201
    answer = reply.json
    assert set(answer) == {
        "object",
        "id",
        "token",
        "expiresAt",
        "organizationId",
        "participantId",
        "projectId",
        "branchId",
        "branchRoot",
        "syncGroups",
        "deliveryPartition",
        "operations",
    }
    assert answer["object"] == "ephemeral_key"
    assert answer["token"].startswith("ek_")
    assert answer["syncGroups"] == ["org:acme", "user:u-9", "team:red"]
    identity = (await world.with_key(answer["token"]).get("/api/auth/identity")).json
    assert (identity["participantKind"], identity["participantId"]) == ("user", "u-9")
    assert identity["authority"]["operations"] == ["project.read"]


async def test_grants_name_models_in_any_of_their_spellings(world: World) -> None:
    operations = ["tasks.read", "Task.create", "PROJECTS.read", "later.read", "*.delete"]
    answer = await mint(world.client(), operations=operations)
    kept = ["task.read", "task.create", "project.read", "later.read", "*.delete"]
    assert answer["scope"]["operations"] == operations
    session = world.with_key(answer["token"])
    assert (await session.get("/api/auth/identity")).json["authority"]["operations"] == kept
    assert (await session.create("tasks", "t1", {"title": "x"})).status == 200
    assert (await session.row("tasks", "t1"))["title"] == "x"
    assert (await session.get("/api/v1/models/projects")).status == 200
    denied(await session.update("tasks", "t1", {"priority": 1}), "task.update")
    by_hand = world.client(kind="rk", participant="hand", operations=["projects.create"])
    assert (await by_hand.create("projects", "p1", {"name": "x"})).status == 200
    limited = world.client(operations=["tasks.read"])
    body = {"participantKind": "agent", "participantId": "b", "operations": ["tasks.update"]}
    denied(await limited.call("POST", CAPABILITIES, body), "task.update")


async def test_wide_session_for_the_live_client(world: World) -> None:
    body = {"participantKind": "system", "wideScope": True, "ttlSeconds": 3600}
    reply = await world.client().call("POST", CAPABILITIES, body)
    assert reply.status == 201
    assert (reply.json["scope"]["operations"], reply.json["scope"]["participantId"]) == ([], "ci")


async def test_minting_needs_no_protocol_version(world: World) -> None:
    client = world.client()
    headers = {"Authorization": f"Bearer {client.key}", "Content-Type": "application/json"}
    async with world.session.post(client.url + CAPABILITIES, json=AGENT, headers=headers) as response:
        assert response.status == 201


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "param"),
    [
        (CAPABILITIES, b"{", 400, "invalid_json", None),
        (CAPABILITIES, [], 400, "invalid_body", None),
        (CAPABILITIES, AGENT | {"colour": "red"}, 400, "invalid_body", "colour"),
        (CAPABILITIES, AGENT | {"ttlSeconds": "60"}, 400, "invalid_body", "ttlSeconds"),
        (CAPABILITIES, AGENT | {"ttlSeconds": 0}, 400, "invalid_body", "ttlSeconds"),
        (CAPABILITIES, AGENT | {"ttlSeconds": 2**62}, 400, "invalid_body", "ttlSeconds"),
        (CAPABILITIES, AGENT | {"participantKind": "user"}, 400, "invalid_participant_kind", "participantKind"),
        (CAPABILITIES, AGENT | {"participantId": "a\0"}, 400, "invalid_body", "participantId"),
        (CAPABILITIES, AGENT | {"participantId": "a\x07"}, 400, "invalid_body", "participantId"),
        (CAPABILITIES, AGENT | {"operations": "task.read"}, 400, "invalid_body", "operations"),
        (CAPABILITIES, AGENT | {"operations": ["task.destroy"]}, 400, "invalid_body", "operations"),
        (CAPABILITIES, {"participantKind": "agent"}, 400, "narrow_scope_required", "operations"),
        (CAPABILITIES, AGENT | {"syncGroups": ["x"]}, 400, "invalid_sync_group", "syncGroups"),
        (CAPABILITIES, AGENT | {"syncGroups": ["org:rival"]}, 403, "organization_mismatch", "syncGroups"),
        (CAPABILITIES, AGENT | {"organizationId": "rival"}, 403, "organization_mismatch", "organizationId"),
        (CAPABILITIES, AGENT | {"onBehalfOf": {"kind": "user", "id": 5}}, 400, "invalid_body", "onBehalfOf"),
        (EPHEMERAL_KEYS, {"operations": ["task.read"]}, 400, "invalid_body", "user"),
        (EPHEMERAL_KEYS, {"user": {"id": "u"}}, 400, "invalid_body", "operations"),
        (
            EPHEMERAL_KEYS,
            {"user": {"id": "u"}, "operations": ["task.read"], "activeSchemaOperations": ["read"]},
            400,
            "invalid_body",
            "operations",
        ),
        (
            EPHEMERAL_KEYS,
            {"user": {"id": "u"}, "activeSchemaOperations": ["fly"]},
            400,
            "invalid_body",
            "activeSchemaOperations",
        ),
        (
            EPHEMERAL_KEYS,
            {"user": {"id": "u"}, "activeSchemaOperations": ["read"], "schemaProjectId": "other"},
            403,
            "project_scope_denied",
            "schemaProjectId",
        ),
    ],
)
async def test_bad_request_to_mint(
    client: Client, path: str, body: Any, status: int, code: str, param: str | None
) -> None:
    assert (await client.call("POST", path, body)).error == (status, code, param)


async def test_minted_session_cannot_mint(world: World) -> None:
    session = world.with_key((await mint(world.client()))["token"])
    assert (await session.call("POST", CAPABILITIES, AGENT)).error[:2] == (403, "server_side_only")
    body = {"user": {"id": "u"}, "operations": ["task.read"]}
    assert (await session.call("POST", EPHEMERAL_KEYS, body)).error[:2] == (403, "server_side_only")


async def test_grants_bind_every_read_and_write(world: World) -> None:
    owner = world.client()
    await owner.create("tasks", "t1", {"title": "x"})
    await owner.create("projects", "p1", {"name": "x"})
    session = world.with_key((await mint(owner))["token"])
    assert (await session.row("tasks", "t1"))["title"] == "x"
    assert len((await session.get("/api/v1/models/tasks")).json["data"]) == 1
    assert (await session.update("tasks", "t1", {"title": "y"})).status == 200
    denied(await session.create("tasks", "t2", {"title": "x"}), "task.create")
    denied(await session.delete("tasks", "t1"), "task.delete")
    denied(await session.get("/api/v1/models/projects/p1"), "project.read")
    denied(await session.get("/api/v1/models/projects"), "project.read")
    bootstrap = (await session.get("/api/sync/bootstrap")).json
    assert len(bootstrap["models"]["Task"]) == 1
    assert bootstrap["models"]["Project"] == []


async def test_live_session_hears_only_of_models_that_it_may_read(world: World) -> None:
    owner = world.client()
    session = world.with_key((await mint(owner))["token"])
    async with session.socket() as socket:
        await socket.sync()
        await owner.create("projects", "p1", {"name": "x"})
        await owner.create("tasks", "t1", {"title": "x"})
        (delta,) = await socket.deltas(1)
        assert (delta["modelName"], delta["modelId"]) == ("Task", "t1")
    assert all("Project" not in str(frame) for frame in socket.frames)


async def test_publishable_key_reads_only(world: World) -> None:
    await world.client().create("tasks", "t1", {"title": "x"})
    public = world.client(kind="pk", participant="web")
    assert (await public.row("tasks", "t1"))["title"] == "x"
    denied(await public.update("tasks", "t1", {"title": "y"}), "task.update")
    assert (await public.get("/api/auth/identity")).json["authority"]["operations"] == ["*.read"]


async def test_session_for_the_control_plane_says_who_it_is_and_touches_no_row(world: World) -> None:
    owner = world.client()
    await owner.create("tasks", "t1", {"title": "x"})
    reply = await owner.call("POST", EPHEMERAL_KEYS, {"user": {"id": "u"}, "controlPlaneOnly": True})
    assert (reply.status, reply.json["operations"]) == (201, [])
    session = world.with_key(reply.json["token"])
    assert (await session.get("/api/auth/identity")).json["authority"]["operations"] == []
    denied(await session.get("/api/v1/models/tasks/t1"), "*.read")
    denied(await session.update("tasks", "t1", {"title": "y"}), "*.read")


async def test_delegation_reaches_the_commit_and_its_deltas(world: World) -> None:
    owner = world.client()
    behalf = {"kind": "user", "id": "ada"}
    answer = await mint(owner, operations=["task.create", "task.read"], onBehalfOf=behalf)
    async with owner.socket() as socket:
        await socket.sync()
        assert (await world.with_key(answer["token"]).create("tasks", "t1", {"title": "x"})).status == 200
        (delta,) = await socket.deltas(1)
    assert delta["onBehalfOf"] == behalf
    assert delta["actor"] == {"kind": "agent", "id": "bot"}
    assert delta["capabilityId"] == answer["capabilityId"]
    stored = world.database.execute(
        "SELECT on_behalf_of_kind, on_behalf_of_id, capability_id FROM pgsync_private.commit"
    )
    assert stored == [("user", "ada", answer["capabilityId"])]


# --- the end ------------------------------------------------------------------------------------------------------


async def test_revoked_session_is_refused_and_its_sockets_are_closed(world: World) -> None:
    owner = world.client()
    answer = await mint(owner)
    session = world.with_key(answer["token"])
    async with session.socket() as socket:
        await socket.sync()
        reply = await owner.call("DELETE", f"{CAPABILITIES}/{answer['capabilityId']}")
        assert reply.status == 200
        assert reply.json == {"id": answer["capabilityId"], "deleted": True, "activeSessionsClosed": 1}
        async with asyncio.timeout(LIMIT_SECONDS):
            while (message := await socket.raw.receive()).type is aiohttp.WSMsgType.TEXT:
                pass
        assert message.type is aiohttp.WSMsgType.CLOSE
        assert message.data == 4003
    assert (await session.get("/api/auth/identity")).error[:2] == (401, "apikey_revoked")


async def test_revocation_reaches_the_other_gateways(world: World) -> None:
    owner = world.client()
    answer = await mint(owner)
    async with serve(config_of(world.database, deployment=f"{world.database.name}_b")) as gateway:
        elsewhere = Client(world.session, gateway.url, answer["token"])
        assert (await elsewhere.get("/api/auth/identity")).status == 200
        async with elsewhere.socket() as socket:
            await socket.sync()
            await owner.call("DELETE", f"{CAPABILITIES}/{answer['capabilityId']}")
            async with asyncio.timeout(LIMIT_SECONDS):
                while (message := await socket.raw.receive()).type is aiohttp.WSMsgType.TEXT:
                    pass
            assert message.data == 4003
        assert (await elsewhere.get("/api/auth/identity")).error[:2] == (401, "apikey_revoked")


@pytest.mark.parametrize("said", ["revoked", "rotated"])
async def test_an_end_that_somebody_made_up_ends_nobody(world: World, said: str) -> None:
    owner = world.client()
    kept, ended = await mint(owner), await mint(owner)
    async with world.with_key(ended["token"]).socket() as socket, world.with_key(kept["token"]).socket() as other:
        await socket.sync()
        await other.sync()
        forged = {"t": said, "capabilityId": kept["capabilityId"], "expiresAt": "2020-01-01T00:00:00Z"}
        world.database.execute("SELECT pg_notify('pgsync', %s)", (orjson.dumps(forged).decode(),))
        world.database.execute("SELECT pgsync.revoke_credential_v1(%s)", (ended["capabilityId"],))
        assert await close_code(socket) == 4003
        await other.sync()
    assert (await world.with_key(kept["token"]).get("/api/auth/identity")).status == 200


async def close_code(socket: Socket) -> int:
    """Why the server has closed it."""
    async with asyncio.timeout(LIMIT_SECONDS):
        while (message := await socket.raw.receive()).type is aiohttp.WSMsgType.TEXT:
            pass
    return int(message.data)


async def test_session_that_is_ended_may_answer_before_its_connection_goes(world: World) -> None:
    owner = world.client()
    answer = await mint(owner)
    client = world.with_key(answer["token"])
    async with contextlib.AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(client.socket()) for _ in range(12)]
        for socket in sockets:
            await socket.sync()
        reply = await owner.call("DELETE", f"{CAPABILITIES}/{answer['capabilityId']}")
        assert reply.json["activeSessionsClosed"] == len(sockets)
        for socket in sockets:
            assert await close_code(socket) == 4003
            assert socket.raw.close_code == 4003  # 1006 where the answer found nobody


@pytest.mark.parametrize("rotated", [False, True], ids=["revoked", "rotated"])
async def test_session_that_ended_while_its_gateway_could_not_hear_of_it_is_closed_all_the_same(
    world: World, rotated: bool
) -> None:
    owner = world.client()
    kept, ended = await mint(owner), await mint(owner)
    async with world.with_key(ended["token"]).socket() as socket, world.with_key(kept["token"]).socket() as other:
        await socket.sync()
        await other.sync()
        deaf = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        deaf += " WHERE datname = current_database() AND application_name = 'pgsync gateway notifications'"
        if rotated:
            end = "UPDATE pgsync_private.credential SET rotated_to = 'cap_new', expires_at = now()"
        else:
            end = "UPDATE pgsync_private.credential SET revoked_at = now()"
        world.database.execute(f"{deaf}; {end} WHERE id = '{ended['capabilityId']}'")
        async with asyncio.timeout(LIMIT_SECONDS):
            while (message := await socket.raw.receive()).type is aiohttp.WSMsgType.TEXT:
                pass
        assert message.data == (4001 if rotated else 4003)
        await other.send("ping")
        await other.wait_for("pong")


async def test_session_may_end_itself(world: World) -> None:
    answer = await mint(world.client())
    session = world.with_key(answer["token"])
    assert (await session.call("DELETE", f"{CAPABILITIES}/{answer['capabilityId']}")).status == 200
    assert (await session.get("/api/auth/identity")).status == 401


async def test_expired_session_is_refused(world: World) -> None:
    session = world.with_key((await mint(world.client(), ttlSeconds=1))["token"])

    async def expired() -> bool:
        return (await session.get("/api/auth/identity")).status == 401

    await until(expired, "the session expires")
    assert (await session.get("/api/auth/identity")).error[1] == "apikey_expired"


async def test_rotated_credential_takes_over_and_the_old_one_ends_after_its_grace(world: World) -> None:
    owner = world.client()
    old = await mint(owner)
    reply = await owner.call("POST", f"{CAPABILITIES}/{old['capabilityId']}/rotate", {"graceSeconds": 1})
    assert reply.status == 201
    new = reply.json
    assert set(new) == {
        "capabilityId",
        "token",
        "expiresAt",
        "organizationId",
        "branchRoot",
        "scope",
        "rotatedFrom",
    }
    assert new["scope"] == old["scope"]
    assert new["rotatedFrom"]["capabilityId"] == old["capabilityId"]
    grace_ends = datetime.fromisoformat(new["rotatedFrom"]["expiresAt"])
    assert grace_ends - datetime.now(UTC) <= timedelta(seconds=1)
    assert (await world.with_key(new["token"]).get("/api/auth/identity")).status == 200
    before = world.with_key(old["token"])

    async def ended() -> bool:
        return (await before.get("/api/auth/identity")).status == 401

    await until(ended, "the grace of the old key ends")
    assert datetime.now(UTC) >= grace_ends - timedelta(milliseconds=100)
    assert (await world.with_key(new["token"]).get("/api/auth/identity")).status == 200


async def test_rotation_takes_no_body_and_keeps_the_kind_of_key(world: World) -> None:
    owner = world.client()
    key = world.key(kind="pk", participant="web")
    public = (await world.with_key(key).get("/api/auth/identity")).json
    ((capability_id,),) = world.database.execute(
        "SELECT id FROM pgsync_private.credential WHERE participant_id = %s", [public["participantId"]]
    )
    reply = await owner.call("POST", f"{CAPABILITIES}/{capability_id}/rotate")
    assert reply.status == 201
    assert reply.json["token"].startswith("pk_")
    assert reply.json["expiresAt"] is None


async def test_credential_is_shown_to_its_organization_and_to_nobody_else(world: World) -> None:
    owner = world.client()
    answer = await mint(owner, label="nightly")
    path = f"{CAPABILITIES}/{answer['capabilityId']}"
    shown = (await owner.get(path)).json
    assert shown["scope"] == answer["scope"]
    assert (shown["label"], shown["status"], shown["keyKind"]) == ("nightly", "active", "rk")
    assert "token" not in shown
    assert (await world.with_key(answer["token"]).get(path)).status == 200
    assert (await world.client("rival").get(path)).error[:2] == (404, "capability_not_found")
    assert (await owner.get(f"{CAPABILITIES}/nope%00")).error[:2] == (404, "capability_not_found")
    assert (await owner.call("DELETE", f"{CAPABILITIES}/nope")).error[:2] == (404, "capability_not_found")
    assert (await owner.call("POST", f"{CAPABILITIES}/nope/rotate", {})).error[:2] == (404, "capability_not_found")
