"""Sockets: every change in commit order, whoever made it, without gap or repetition, and who is refused how."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from pgsync.gateway import socket as socket_module
from tests.acceptance.conftest import LIMIT_SECONDS, Client, Socket, World, until

TASKS = "/api/v1/models/tasks"


async def closed(socket: Socket) -> int | None:
    """Reads until the socket is closed; the code."""
    async with asyncio.timeout(LIMIT_SECONDS):
        while True:
            message = await socket.raw.receive()
            if message.type is not aiohttp.WSMsgType.TEXT:
                return socket.raw.close_code


async def test_changes_by_http_and_by_sql_arrive_in_commit_order_with_consecutive_ids(
    world: World, client: Client
) -> None:
    async with client.socket() as socket:
        await socket.sync()
        created = await client.create("tasks", "t1", {"title": "First"})
        updated = await client.update("tasks", "t1", {"status": "doing"})
        world.database.execute("UPDATE tasks SET status = 'done' WHERE id = 't1'")
        deltas = await socket.deltas(3)
    first = created.json["lastSyncId"]
    assert [delta["id"] for delta in deltas] == [first, first + 1, first + 2]
    assert updated.json["lastSyncId"] == first + 1
    assert [delta["actionType"] for delta in deltas] == ["I", "U", "U"]
    assert {delta["modelName"] for delta in deltas} == {"Task"}
    assert {delta["modelId"] for delta in deltas} == {"t1"}
    assert [delta["data"]["status"] for delta in deltas] == ["todo", "doing", "done"]
    assert [delta["actor"] for delta in deltas] == [
        {"kind": "system", "id": "ci"},
        {"kind": "system", "id": "ci"},
        {"kind": "system", "id": "postgres"},
    ]
    assert deltas[0]["capabilityId"] is not None
    assert deltas[2]["capabilityId"] is None
    assert {tuple(delta["syncGroups"]) for delta in deltas} == {("org:acme",)}
    assert deltas[2]["data"] == await client.row("tasks", "t1")


async def test_deleted_row_arrives_without_data(client: Client) -> None:
    await client.create("tasks", "t1", {"title": "x"})
    async with client.socket() as socket:
        await socket.sync()
        await client.delete("tasks", "t1")
        (delta,) = await socket.deltas(1)
    assert (delta["actionType"], delta["data"], delta["modelId"]) == ("D", None, "t1")


async def test_batch_arrives_together_with_the_callers_operation_ids(client: Client) -> None:
    operations = [
        {"action": "create", "model": "tasks", "id": f"t{n}", "data": {"title": "x"}, "transactionId": f"op-{n}"}
        for n in range(3)
    ]
    async with client.socket() as socket:
        await socket.sync()
        await client.call("POST", "/api/v1/commits", {"operations": operations})
        frame = await socket.wait_for("delta")
    assert [delta["transactionId"] for delta in frame["deltas"]] == ["op-0", "op-1", "op-2"]


async def test_other_tenants_hear_nothing(world: World, client: Client) -> None:
    other = world.client("other")
    async with client.socket() as ours, other.socket() as theirs:
        await ours.sync()
        await theirs.sync()
        await client.create("tasks", "t1", {"title": "x"})
        await other.create("tasks", "o1", {"title": "x"})
        assert [delta["modelId"] for delta in await ours.deltas(1)] == ["t1"]
        assert [delta["modelId"] for delta in await theirs.deltas(1)] == ["o1"]


async def test_change_right_after_the_opening_is_not_lost(client: Client) -> None:
    async with client.socket() as socket:
        created = await client.create("tasks", "t1", {"title": "x"})
        (delta,) = await socket.deltas(1)  # also for a client that never says where it was
        assert delta["id"] == created.json["lastSyncId"]
    for number in range(10):
        before = await client.head()
        async with client.socket() as socket:
            updated = await client.update("tasks", "t1", {"priority": number})
            answer = await socket.sync(before)
            assert [delta["id"] for delta in answer["deltas"]] == [updated.json["lastSyncId"]]


# --- commits over the socket --------------------------------------------------------------------------------------


async def commit(socket: Socket, key: str, *operations: dict[str, Any]) -> Any:
    await socket.send("commit", {"operations": list(operations), "clientTxId": key})
    return await socket.wait_for("mutation_result")


async def test_commit_frame_is_answered_with_a_receipt_and_echoed_with_its_operation_id(client: Client) -> None:
    async with client.socket() as socket:
        await socket.sync()
        creating = {
            "type": "CREATE",
            "model": "task",
            "id": "t1",
            "input": {"title": "x", "priority": 2},
            "transactionId": "op-1",
        }
        result = await commit(socket, "tx-1", creating)
        assert result["status"] == "confirmed"
        assert result["success"] is True
        assert result["clientTxId"] == "tx-1"
        echoes = [frame for frame in socket.frames if frame["type"] == "delta"]
        delta = echoes[0]["payload"] if echoes else (await socket.deltas(1))[0]
        assert (delta["id"], delta["transactionId"]) == (result["lastSyncId"], "op-1")
        again = await commit(socket, "tx-1", creating)
        assert again == result
    assert (await client.row("tasks", "t1"))["priority"] == 2


async def test_commits_of_one_socket_keep_their_order(client: Client) -> None:
    async with client.socket() as socket:
        await socket.send("commit", {"operations": [operation("CREATE", {"title": "x"})], "clientTxId": "tx-0"})
        for number in range(1, 10):
            frame = {"operations": [operation("UPDATE", {"priority": number})], "clientTxId": f"tx-{number}"}
            await socket.send("commit", frame)
        results = [await socket.wait_for("mutation_result") for _ in range(10)]
    assert [result["clientTxId"] for result in results] == [f"tx-{number}" for number in range(10)]
    assert all(result["success"] for result in results)
    assert (await client.row("tasks", "t1"))["priority"] == 9


def operation(kind: str, data: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "model": "task", "id": "t1", "input": data}


async def test_rejected_commit_is_told_by_its_key_and_the_socket_stays_open(client: Client) -> None:
    async with client.socket() as socket:
        for key, bad, code, field in (
            ("tx-1", operation("UPDATE", {"priority": 1}), "mutate_update_entity_not_found", None),
            ("tx-2", operation("CREATE", {"title": 5}), "column_type_mismatch", "title"),
            ("tx-3", operation("MERGE", {}), "commit_operation_unsupported", "operations[0].type"),
            ("tx-4", operation("CREATE", {"title": "a\0b"}), "invalid_body", "operations[0].input.title"),
        ):
            result = await commit(socket, key, bad)
            assert (result["status"], result["success"], result["clientTxId"]) == ("rejected", False, key)
            assert result["error"]["code"] == code
            assert field is None or result["error"]["field"] == field
            assert result["authority"]["organizationId"] == "acme"
        await socket.send("ping")
        await socket.wait_for("pong")
        assert result["serverTxId"]


# --- resume -------------------------------------------------------------------------------------------------------


async def test_returning_client_gets_exactly_what_it_missed(client: Client) -> None:
    async with client.socket() as socket:
        start = await socket.sync()
        await client.create("tasks", "t1", {"title": "x"})
        seen = await socket.deltas(1)
    for number in range(3):
        await client.update("tasks", "t1", {"priority": number})
    async with client.socket() as socket:
        answer = await socket.sync(seen[-1]["id"], start["cursor"])
        assert [delta["data"]["priority"] for delta in answer["deltas"]] == [0, 1, 2]
        assert answer["currentSyncId"] == answer["deltas"][-1]["id"]
        assert "requiresBootstrap" not in answer
        await client.update("tasks", "t1", {"priority": 9})
        assert [delta["data"]["priority"] for delta in await socket.deltas(1)] == [9]


async def test_cursor_in_the_url_resumes_without_asking(client: Client) -> None:
    async with client.socket() as socket:
        cursor = (await socket.sync())["cursor"]
    created = await client.create("tasks", "t1", {"title": "x"})
    async with client.socket(cursor=cursor) as socket:
        (delta,) = await socket.deltas(1)
        assert delta["id"] == created.json["lastSyncId"]
        answer = await socket.sync(delta["id"], cursor)
        assert answer["deltas"] == []
        assert answer["currentSyncId"] == delta["id"]


@pytest.mark.parametrize("cursor", ["nonsense", "MTo1OmFub3RoZXI"])
async def test_cursor_of_another_number_line_requires_a_bootstrap(client: Client, cursor: str) -> None:
    async with client.socket() as socket:
        answer = await socket.sync(5, cursor)
        assert answer["requiresBootstrap"] is True
    async with client.socket(cursor=cursor) as socket:
        assert (await socket.sync(5))["requiresBootstrap"] is True
        await client.create("tasks", "t1", {"title": "x"})
        assert len(await socket.deltas(1)) == 1


async def test_gap_check_in_between_repeats_nothing(client: Client) -> None:
    async with client.socket() as socket:
        await socket.sync()
        for number in range(5):
            created = await client.create("tasks", f"t{number}", {"title": "x"})
            (delta,) = await socket.deltas(1)
            answer = await socket.sync(delta["id"])
            assert answer["deltas"] == []
            assert answer["currentSyncId"] == created.json["lastSyncId"]


# --- bootstrap ----------------------------------------------------------------------------------------------------


async def test_bootstrap_then_live_has_no_gap_and_no_repetition(world: World, client: Client) -> None:
    """While somebody writes without pause: rows at the position of the snapshot, then each later change once."""
    await client.create("tasks", "t1", {"title": "x", "priority": -1})
    writing = True

    async def write() -> int:
        number = 0
        while writing:
            await client.update("tasks", "t1", {"priority": number})
            number += 1
        return number

    writer = asyncio.ensure_future(write())
    for _ in range(10):
        snapshot = (await client.get("/api/sync/bootstrap?models=Task")).json
        (row,) = snapshot["models"]["Task"]
        async with client.socket() as socket:
            answer = await socket.sync(snapshot["lastSyncId"])
            deltas = answer["deltas"] + await socket.deltas(3)
        later = [delta["data"]["priority"] for delta in deltas if delta["id"] > snapshot["lastSyncId"]]
        assert [delta["id"] for delta in deltas] == list(range(deltas[0]["id"], deltas[0]["id"] + len(deltas)))
        assert deltas[0]["id"] == snapshot["lastSyncId"] + 1
        # what the snapshot showed beyond its position comes again, and then everything else in order
        assert later[0] <= row["priority"] + 1
        assert later == list(range(later[0], later[0] + len(later)))
    writing = False
    await writer


async def test_full_bootstrap_has_the_rows_of_the_tenant_by_typename(world: World, client: Client) -> None:
    await world.client("other").create("tasks", "o1", {"title": "secret"})
    await client.create("projects", "p1", {"name": "P"})
    created = await client.create("tasks", "t1", {"title": "x"})
    reply = await client.get("/api/sync/bootstrap")
    snapshot = reply.json
    assert snapshot["type"] == "full"
    assert snapshot["lastSyncId"] == created.json["lastSyncId"]
    assert snapshot["schemaHash"]
    assert snapshot["models"]["Task"] == [await client.row("tasks", "t1")]
    assert [row["id"] for row in snapshot["models"]["Project"]] == ["p1"]
    assert "nextCursor" not in snapshot


async def test_bootstrap_names_the_models_that_it_does_not_know(client: Client) -> None:
    snapshot = (await client.get("/api/sync/bootstrap?models=Task,Widget")).json
    assert set(snapshot["models"]) == {"Task"}
    assert snapshot["failedModels"] == ["Widget"]


async def test_bootstrap_in_pages_has_every_row_and_the_position_of_the_first(client: Client) -> None:
    for number in range(7):
        await client.create("tasks", f"t{number}", {"title": "x"})
    await client.create("projects", "p1", {"name": "P"})
    found: list[str] = []
    path = "/api/sync/bootstrap?models=Task,Project&limit=3"
    first = page = (await client.get(path)).json
    assert [row["id"] for row in page["models"]["Project"]] == ["p1"]
    while True:
        found += [row["id"] for row in page["models"]["Task"]]
        assert page["lastSyncId"] == first["lastSyncId"]
        if "nextCursor" not in page:
            break
        await client.update("tasks", "t0", {"priority": len(found)})
        page = (await client.get(f"{path}&cursor={page['nextCursor']}")).json
        assert "Project" not in page["models"]
    assert found == [f"t{number}" for number in range(7)]
    assert (await client.get(f"{path}&cursor=nonsense")).error == (400, "invalid_request", "cursor")


async def test_partial_bootstrap_has_the_deltas_since(client: Client) -> None:
    start = (await client.create("tasks", "t1", {"title": "x"})).json["lastSyncId"]
    await client.update("tasks", "t1", {"priority": 1})
    partial = (await client.get(f"/api/sync/bootstrap?lastSyncId={start}")).json
    assert (partial["type"], partial["deltaCount"]) == ("partial", 1)
    assert partial["deltas"][0]["data"]["priority"] == 1
    assert partial["lastSyncId"] == start + 1


async def test_document_that_only_postgres_can_read_keeps_nobody_from_bootstrapping(world: World) -> None:
    client = world.client()
    start = (await client.create("tasks", "t1", {"title": "x"})).json["lastSyncId"]
    world.database.execute("INSERT INTO samples (organization_id, id, document) VALUES ('acme', 's1', '[1e400]')")
    await until(lambda: _is_beyond(client, start), "the row is streamed")
    reply = await client.get(f"/api/sync/bootstrap?lastSyncId={start}")
    assert reply.status == 200, reply.body
    assert reply.body.startswith(b'{"type":"full"')


async def _is_beyond(client: Client, sync_id: int) -> bool:
    return await client.head() > sync_id


async def test_bootstrap_over_the_socket_goes_on_where_its_snapshot_ends(client: Client) -> None:
    await client.create("tasks", "t1", {"title": "x"})
    async with client.socket() as socket:
        await socket.send("bootstrap_request", {})
        snapshot = await socket.wait_for("bootstrap_response")
        assert [row["id"] for row in snapshot["models"]["Task"]] == ["t1"]
        updated = await client.update("tasks", "t1", {"priority": 1})
        (delta,) = await socket.deltas(1)
        assert delta["id"] == updated.json["lastSyncId"] == snapshot["lastSyncId"] + 1


# --- subscriptions and the rest -----------------------------------------------------------------------------------


async def test_frame_that_only_tracks_has_no_operations(world: World) -> None:
    client, other = world.client(), world.client(participant="other")
    await client.create("tasks", "t1", {"title": "x"})
    track = [{"model": "task", "id": "t1"}]
    async with client.socket() as socket:
        await socket.send("commit", {"operations": [], "clientTxId": "begin", "track": track})
        receipt = await socket.wait_for("mutation_result")
        assert (receipt["status"], receipt["ops"]) == ("confirmed", 0)
        await other.update("tasks", "t1", {"priority": 1})
        await socket.send("commit", {"operations": [], "clientTxId": "again", "track": track})
        (told,) = (await socket.wait_for("mutation_result"))["notifications"]
        assert (told["target"]["id"], told["writtenBy"]["id"]) == ("t1", "other")
        await socket.send("commit", {"operations": [], "clientTxId": "nothing"})
        assert (await socket.wait_for("mutation_result"))["error"]["code"] == "commit_operation_required"


async def test_handshake_names_two_hundred_groups(world: World) -> None:
    groups = [f"workspace:{number:03}{'x' * 61}" for number in range(200)]
    client = world.client(syncGroups=groups)
    async with client.socket(*groups) as socket:
        await socket.sync()
        await socket.send("update_subscription", {"syncGroups": groups})
        assert await socket.wait_for("subscription_ack") == {"success": True, "syncGroups": groups}


async def test_subscription_decides_what_arrives_and_is_acknowledged_in_order(client: Client) -> None:
    async with client.socket() as socket:
        await socket.sync()
        for groups, success in (([], True), (["org:acme"], True), (["org:other"], False), (["Nonsense"], False)):
            await socket.send("update_subscription", {"syncGroups": groups})
            answer = await socket.wait_for("subscription_ack")
            assert answer["success"] is success
            assert answer["syncGroups"] == (groups if success else ["org:acme"])
            if not success:
                assert answer["error"]["code"] in ("capability_scope_denied", "invalid_sync_group")
        await socket.send("update_subscription", {"syncGroups": "org:acme"})
        assert (await socket.wait_for("subscription_ack"))["error"]["code"] == "malformed_subscription"
        await socket.send("update_subscription", {"syncGroups": []})
        await socket.wait_for("subscription_ack")
        await client.create("tasks", "t1", {"title": "x"})
        await socket.send("update_subscription", {"syncGroups": ["org:acme"]})
        await socket.wait_for("subscription_ack")
        created = await client.create("tasks", "t2", {"title": "x"})
        (delta,) = await socket.deltas(1)
        assert delta["id"] == created.json["lastSyncId"]


async def test_frames_that_need_no_answer_get_none(client: Client) -> None:
    async with client.socket() as socket:
        await socket.send("presence_update", {"status": "online", "timezone": "UTC"})
        await socket.send("ack", {"lastSyncId": 3})
        await socket.send("release", {"claimId": "c"})
        await socket.send("something_newer", {"x": 1})
        await socket.send("ping")
        await socket.wait_for("pong")
    assert [frame["type"] for frame in socket.frames] == ["pong"]


@pytest.mark.parametrize("path", ["/api/sync/ws", "/api/api/sync/ws"])
async def test_bad_key_is_refused_before_the_socket_opens(world: World, path: str) -> None:
    for protocols in ((), ("ablo.sync.v1",), ("ablo.bearer.sk_wrong", "ablo.sync.v1")):
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await world.session.ws_connect(world.gateway.url + path, protocols=protocols)
        assert caught.value.status == 401


async def test_group_that_the_key_does_not_hold_is_refused_before_the_socket_opens(client: Client) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        async with client.socket("org:other"):
            raise AssertionError("opened")
    assert caught.value.status == 403


async def test_plain_get_of_the_socket_is_told_so(client: Client) -> None:
    assert (await client.get("/api/sync/ws")).error[:2] == (400, "invalid_request")


async def test_other_protocol_version_closes_with_4010(client: Client) -> None:
    async with client.socket() as socket:
        await socket.send("sync_request", {"lastSyncId": 0, "protocolVersion": 2})
        assert await closed(socket) == 4010


async def test_frame_that_is_no_json_object_closes(client: Client) -> None:
    long_written_out = '{"type":"presence","payload":[' + "1e-16383," * 100_000 + "0]}"
    for text in ("{", "[]", "null", long_written_out):
        async with client.socket() as socket:
            await socket.raw.send_str(text)
            assert await closed(socket) == 1003


async def test_revoked_key_closes_its_sockets(world: World) -> None:
    client, other = world.client(participant="one"), world.client(participant="two")
    async with client.socket() as socket, other.socket() as kept:
        revoke = "SELECT pgsync.revoke_credential_v1(c ->> 'capabilityId') FROM pgsync.credentials_v1() AS c"
        world.database.execute(f"{revoke} WHERE c ->> 'participantId' = 'one'")
        assert await closed(socket) == 4003
        await kept.send("ping")
        await kept.wait_for("pong")


async def test_key_that_expires_closes_its_sockets_so_that_it_is_minted_anew(world: World) -> None:
    (soon,) = world.database.execute("SELECT to_json(now() + INTERVAL '1 second') #>> '{}'")
    client = world.client(expiresAt=soon[0])
    async with client.socket() as socket:
        assert await closed(socket) == 4001


async def test_silent_client_is_closed_when_its_lease_ends(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_module, "LEASE_SECONDS", 0.1)
    async with client.socket() as socket:
        assert await closed(socket) == 4000


async def test_client_that_reads_too_slowly_is_told_to_bootstrap(world: World, client: Client) -> None:
    async with client.socket() as socket:
        await socket.sync()
        world.gateway.feed.ring.max_bytes = 1
        large = "x" * 200_000
        for number in range(60):  # more than the sockets' buffers hold
            await client.create("tasks", f"t{number}", {"title": large})
        while True:
            frame = await socket.receive()
            if frame["type"] == "sync_response":
                break
        assert frame["payload"]["requiresBootstrap"] is True
        await client.create("tasks", "last", {"title": "x"})
        deltas = await socket.deltas(1)
        assert deltas[-1]["modelId"] == "last"
