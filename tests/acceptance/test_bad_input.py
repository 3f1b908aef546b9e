"""Bad input: the contract's code and status, the field at fault, and nothing of our insides."""

from __future__ import annotations

import gzip
import io
from typing import Any

import pytest

from pgsync import keys
from tests.acceptance.conftest import Client, World, until

TASKS = "/api/v1/models/tasks"


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        (b"{", 400, "invalid_json", None),
        (b'{"data":{"title":"x"},"id":"a"', 400, "invalid_json", None),
        (b"\xff\xfe", 400, "invalid_json", None),
        (b'{"id":"a","data":{"title":[' + b"1e-16383," * 20_000 + b"0]}}", 400, "invalid_body", None),
        ([], 400, "invalid_body", None),
        ({"title": "x"}, 400, "invalid_body", "title"),
        ({"id": "a", "data": "x"}, 400, "invalid_body", "data"),
        ({"id": "a", "data": {"title": "x", "colour": "red"}}, 400, "invalid_body", "colour"),
        ({"id": "a", "data": {}}, 400, "model_required_field_missing", "title"),
        ({"id": "a"}, 400, "model_required_field_missing", "title"),
        ({"id": "a", "data": {"title": None}}, 400, "not_null_violation", "title"),
        ({"id": "a", "data": {"title": 5}}, 400, "column_type_mismatch", "title"),
        ({"id": "a", "data": {"title": {"x": 1}}}, 400, "column_type_mismatch", "title"),
        ({"id": "a", "data": {"title": "x", "priority": "high"}}, 400, "column_type_mismatch", "priority"),
        ({"id": "a", "data": {"title": "x", "priority": 2**40}}, 400, "column_type_mismatch", "priority"),
        ({"id": "a", "data": {"title": "x", "priority": 1.5}}, 400, "column_type_mismatch", "priority"),
        ({"id": "a", "data": {"title": "x", "isDone": "yes"}}, 400, "column_type_mismatch", "isDone"),
        ({"id": "a", "data": {"title": "x\0y"}}, 400, "invalid_body", "data.title"),
        ({"id": "", "data": {"title": "x"}}, 400, "invalid_id", "id"),
        ({"id": "a\u0007", "data": {"title": "x"}}, 400, "invalid_id", "id"),
        ({"id": "x" * 256, "data": {"title": "x"}}, 400, "invalid_id", "id"),
        ({"id": 1.5, "data": {"title": "x"}}, 400, "invalid_id", "id"),
    ],
)
async def test_bad_body_of_a_create(client: Client, body: Any, status: int, code: str, param: str | None) -> None:
    reply = await client.call("POST", TASKS, body)
    assert reply.error == (status, code, param)
    assert (await client.get(TASKS)).json["data"] == []


async def test_value_outside_an_enumeration_names_its_field(client: Client) -> None:
    reply = await client.create("tasks", "a", {"title": "x", "status": "maybe"})
    assert reply.status == 400
    assert reply.error[2] == "status"


@pytest.mark.parametrize(
    ("model", "row_id", "data", "param"),
    [
        ("samples", "s", {"moment": "soon"}, "moment"),
        ("samples", "s", {"day": "2026-02-30"}, "day"),
        ("samples", "s", {"ref": "nope"}, "ref"),
        ("samples", "s", {"large": "12345678901234567890"}, "large"),
        ("samples", "s", {"exact": "1,5"}, "exact"),
        ("samples", "s", {"words": "a"}, "words"),
        ("samples", "s", {"numbers": ["a"]}, "numbers"),
    ],
)
async def test_value_that_its_column_cannot_hold(
    client: Client, model: str, row_id: str, data: Any, param: str
) -> None:
    assert (await client.create(model, row_id, data)).error == (400, "column_type_mismatch", param)


@pytest.mark.parametrize(("model", "row_id"), [("tokens", "nope"), ("counters", "seven"), ("counters", str(2**40))])
async def test_id_of_another_type(client: Client, model: str, row_id: str) -> None:
    assert (await client.create(model, row_id, {})).error == (400, "invalid_id", "id")
    assert (await client.get(f"/api/v1/models/{model}/{row_id}")).error == (400, "invalid_id", "id")
    assert (await client.update(model, row_id, {})).error == (400, "invalid_id", "id")


async def test_unknown_model_names_itself_and_the_command_that_pushes_it(client: Client) -> None:
    for reply, code in (
        (await client.create("widgets", "a", {}), "mutate_create_unknown_model"),
        (await client.update("widgets", "a", {}), "server_execute_unknown_model"),
        (await client.delete("widgets", "a"), "server_execute_unknown_model"),
    ):
        assert reply.error[:2] == (400, code)
        assert "widgets" in reply.json["message"]
        assert "pgsync push" in reply.json["message"]
    for path in ("/api/v1/models/widgets", "/api/v1/models/widgets/a"):
        reply = await client.get(path)
        assert reply.error[:2] == (400, "unknown_model")
        assert "pgsync push" in reply.json["message"]


async def test_base_fields_that_are_sent_back_have_no_effect(client: Client) -> None:
    theirs = {"createdAt": "2020-01-01T00:00:00Z", "updatedAt": "2020-01-01T00:00:00Z", "createdBy": "me"}
    assert (await client.create("tasks", "a", {"title": "x", **theirs})).status == 200
    before = await client.row("tasks", "a")
    assert (await client.update("tasks", "a", before | theirs)).status == 200
    after = await client.row("tasks", "a")
    assert (after["createdAt"], after["createdBy"]) == (before["createdAt"], "ci")
    assert after["updatedAt"] > before["updatedAt"] > "2026"


async def test_rows_of_another_organization_cannot_be_made(client: Client) -> None:
    reply = await client.create("tasks", "a", {"title": "x", "organizationId": "other"})
    assert reply.error == (403, "organization_mismatch", "organizationId")


async def test_update_cannot_move_a_row_to_another_id(client: Client) -> None:
    await client.create("tasks", "a", {"title": "x"})
    assert (await client.call("PATCH", f"{TASKS}/a", {"id": "b", "data": {}})).error == (400, "invalid_body", "id")


async def test_update_to_null_of_a_required_field(client: Client) -> None:
    await client.create("tasks", "a", {"title": "x"})
    assert (await client.update("tasks", "a", {"title": None})).error == (400, "not_null_violation", "title")


async def test_missing_row_is_named(client: Client) -> None:
    for reply in (await client.update("tasks", "absent", {"priority": 1}), await client.delete("tasks", "absent")):
        assert reply.error[:2] == (404, "mutate_update_entity_not_found")
        assert reply.json["missingIds"] == ["absent"]


async def test_unique_value_that_is_taken(client: Client) -> None:
    await client.create("tasks", "a", {"title": "x", "code": "c"})
    assert (await client.create("tasks", "b", {"title": "x", "code": "c"})).error[:2] == (409, "unique_violation")


async def test_read_only_model_is_not_written(client: Client) -> None:
    assert (await client.create("notices", "a", {"text": "x"})).error[:2] == (403, "forbidden")


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "commit_operation_required", "operations"),
        ({"operations": []}, "commit_operation_required", "operations"),
        ({"operations": [{"action": "create"}]}, "commit_operation_model_required", "operations[0].model"),
        ({"operations": [{"model": "tasks"}]}, "commit_operation_action_required", "operations[0].action"),
        ({"operations": [{"action": "merge", "model": "tasks", "id": "1"}]}, "commit_operation_unsupported", None),
        ({"operations": [{"action": "update", "model": "tasks"}]}, "model_identifier_missing", "operations[0].id"),
        ({"operations": [{"action": "create", "model": "tasks", "id": "1", "x": 1}]}, "commit_operation_invalid", None),
        ({"operations": [{"action": "create", "model": "widgets", "id": "1"}]}, "mutate_create_unknown_model", None),
        ({"operations": [{"action": "delete", "model": "tasks", "id": "1"}] * 501}, "commit_too_many_operations", None),
        ({"extra": 1, "operations": []}, "invalid_body", "extra"),
    ],
)
async def test_bad_batch(client: Client, body: Any, code: str, param: str | None) -> None:
    reply = await client.call("POST", "/api/v1/commits", body)
    assert reply.error[:2] == (400, code)
    assert param is None or reply.error[2] == param


async def test_field_at_fault_in_a_batch_is_named(client: Client) -> None:
    operations = [
        {"action": "create", "model": "tasks", "id": "1", "data": {"title": "x"}},
        {"action": "create", "model": "samples", "id": "2", "data": {"moment": "soon"}},
    ]
    reply = await client.call("POST", "/api/v1/commits", {"operations": operations})
    assert reply.error == (400, "column_type_mismatch", "moment")


async def test_write_under_a_claim_that_nobody_holds_is_refused(client: Client) -> None:
    await client.create("tasks", "a", {"title": "x"})
    reply = await client.call("PATCH", f"{TASKS}/a", {"data": {"priority": 1}, "claim": "clm_1"})
    assert reply.error[:2] == (409, "claim_lost")
    assert (await client.row("tasks", "a"))["priority"] == 0


@pytest.mark.parametrize(
    ("query", "code", "param"),
    [
        ("nope=1", "query_invalid_identifier", "nope"),
        ("order_by=nope", "query_invalid_identifier", "order_by"),
        ("isDone=maybe", "query_invalid_boolean", "isDone"),
        ("priority=high", "model_query_failed", "priority"),
        ("limit=0", "model_query_failed", "limit"),
        ("limit=many", "model_query_failed", "limit"),
        ("order=up", "model_query_failed", "order"),
        ("starting_after=nonsense", "model_query_failed", "starting_after"),
        ("title=a%00b", "model_query_failed", "title"),
    ],
)
async def test_bad_query(client: Client, query: str, code: str, param: str) -> None:
    assert (await client.get(f"{TASKS}?{query}")).error == (400, code, param)


# --- the door -----------------------------------------------------------------------------------------------------


async def test_body_beyond_the_limit(world: World, client: Client) -> None:
    body = b'{"id":"a","data":{"title":"' + b"x" * (9 * 1024 * 1024) + b'"}}'
    reply = await client.call("POST", TASKS, io.BytesIO(body))
    assert reply.error[:2] == (413, "request_too_large")


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_body_that_is_not_in_the_encoding_that_it_names(client: Client, encoding: str) -> None:
    reply = await client.call("POST", TASKS, b'{"data":{"title":"x"},"id":"a"}', Content_Encoding=encoding)
    assert reply.error[:2] == (400, "invalid_body")
    assert reply.headers["Connection"] == "close"
    assert await client.row("tasks", "a") is None


async def test_compressed_body_is_read(client: Client) -> None:
    body = gzip.compress(b'{"data":{"title":"x"},"id":"a"}')
    assert (await client.call("POST", TASKS, body, Content_Encoding="gzip")).status == 200
    assert (await client.row("tasks", "a"))["title"] == "x"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/api/auth/identity", None, 200),
        ("GET", f"{TASKS}/a", None, 200),
        ("POST", TASKS, {"data": {"title": "x"}, "id": "a"}, 200),
        ("POST", "/api/v1/commits", {"track": [{"model": "tasks", "id": "a"}]}, 200),
        ("GET", "/api/v1/commits", None, 200),
        ("GET", "/api/v1/commits/k", None, 200),
        ("GET", "/api/v1/logs", None, 200),
        ("GET", "/api/v1/claims", None, 200),
        ("POST", f"{TASKS}/a/claim", {}, 201),
        ("POST", "/api/v1/claims/heartbeat", {}, 200),
        ("DELETE", f"{TASKS}/a/claim", None, 200),
        ("GET", "/api/v1/schema", None, 200),
        ("GET", "/api/sync/bootstrap", None, 200),
    ],
)
async def test_query_that_a_client_sends_with_every_request_is_in_nobodys_way(
    client: Client, method: str, path: str, body: Any, status: int
) -> None:
    assert (await client.call(method, f"{path}?trace=on", body)).status == status


async def test_key_that_is_too_long(client: Client) -> None:
    reply = await client.create("tasks", "a", {"title": "x"}, Idempotency_Key="k" * 256)
    assert reply.error == (400, "idempotency_key_too_long", "Idempotency-Key")
    assert (await client.create("tasks", "a", {"title": "x"}, Idempotency_Key="k" * 255)).status == 200


async def test_requests_without_a_usable_key(world: World, client: Client) -> None:
    unknown = keys.generate("sk")
    mistyped = client.key[:-1] + ("a" if client.key[-1] != "a" else "b")
    for header, code in (
        ("", "api_key_required"),
        ("Basic abc", "api_key_required"),
        ("Bearer ", "api_key_required"),
        (f"Bearer {unknown}", "apikey_invalid"),
        (f"Bearer {mistyped}", "apikey_invalid"),
        ("Bearer ü", "apikey_invalid"),
    ):
        assert (await client.get("/api/auth/identity", Authorization=header)).error[:2] == (401, code)
        checked = await client.call("HEAD", "/api/auth/check", Authorization=header)
        assert (checked.status, checked.headers["X-Auth-Failure"]) == (401, code)
    assert (await client.call("HEAD", "/api/auth/check")).status == 204


async def test_key_that_has_expired_or_was_revoked(world: World) -> None:
    expired = world.client(expiresAt="2020-01-01T00:00:00Z")
    assert (await expired.get("/api/auth/identity")).error[:2] == (401, "apikey_expired")
    client = world.client()
    assert (await client.get("/api/auth/identity")).status == 200
    world.database.execute("SELECT pgsync.revoke_credential_v1(c ->> 'capabilityId') FROM pgsync.credentials_v1() AS c")

    async def is_refused() -> bool:
        return (await client.get("/api/auth/identity")).status == 401

    await until(is_refused, "the revoked key is refused")
    assert (await client.get("/api/auth/identity")).error[:2] == (401, "apikey_revoked")


async def test_grants_bind_writes(world: World) -> None:
    agent = world.client(kind="rk", participant="a1", operations=["task.read", "task.create"])
    assert (await agent.create("tasks", "a", {"title": "x"})).status == 200
    reply = await agent.update("tasks", "a", {"priority": 1})
    assert reply.error[:2] == (403, "capability_scope_denied")
    assert reply.json["requiredCapability"] == {"scope": "task.update"}


async def test_every_answer_says_which_version_of_the_routes_it_is_of(world: World, client: Client) -> None:
    for caller in (client, world.with_key("nope")):
        for path in ("/api/health", "/api/auth/identity", "/api/v1/nothing", TASKS):
            assert (await caller.get(path)).headers["Ablo-Version"] == "2026-08-04"


async def test_other_protocol_version(client: Client) -> None:
    reply = await client.get("/api/auth/identity", Ablo_Protocol_Version="2")
    assert reply.error[:2] == (426, "protocol_version_unsupported")


async def test_wrong_path_and_wrong_method_are_answered_in_json(client: Client) -> None:
    assert (await client.get("/api/v1/nothing")).error[:2] == (404, "not_found")
    assert (await client.get("/")).error[:2] == (404, "not_found")
    reply = await client.call("PUT", TASKS, {})
    assert reply.error[:2] == (405, "method_not_allowed")
    assert reply.headers["Allow"] == "GET, POST"
