"""Rows over HTTP: what was written is read back, confirmed by the log, once per key, and for nobody else's eyes."""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import Any

import aiohttp
import psycopg
import pytest

from pgsync import wire
from pgsync.gateway import serve
from tests import postgres
from tests.acceptance.conftest import LIMIT_SECONDS, Client, Reply, World, config_of, new_key, until

WAITING = """
SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgsync gateway writes' AND wait_event_type = 'Lock'
  AND datname = current_database()
"""
RECEIPT: dict[str, type | tuple[type, ...]] = {
    "object": str,
    "id": str,
    "clientTxId": str,
    "serverTxId": str,
    "createdAt": str,
    "success": bool,
    "status": str,
    "statusAt": str,
    "lastSyncId": int,
    "ops": int,
    "authority": dict,
    "correlationId": str,
    "notifications": list,
    "missingIds": list,
}
OPTIONAL = {"id", "correlationId", "notifications", "missingIds"}


def receipt(reply: Reply, *, ops: int = 1) -> dict[str, Any]:
    """The reply as a confirmed receipt, checked as strictly as the contract's client does."""
    assert reply.status == 200, reply.body
    parsed: dict[str, Any] = reply.json
    assert set(parsed) <= set(RECEIPT)
    assert set(RECEIPT) - set(parsed) <= OPTIONAL
    for name, value in parsed.items():
        assert isinstance(value, RECEIPT[name]), name
    assert (parsed["object"], parsed["status"], parsed["success"]) == ("commit_receipt", "confirmed", True)
    assert parsed["createdAt"].endswith("Z")
    assert parsed["statusAt"] >= parsed["createdAt"]
    assert parsed["ops"] == ops
    assert parsed["authority"]["organizationId"]
    return parsed


async def test_identity_is_the_credentials(client: Client) -> None:
    reply = await client.get("/api/auth/identity")
    assert reply.status == 200
    identity = reply.json
    assert (identity["participantKind"], identity["participantId"]) == ("system", "ci")
    assert identity["accountScope"] == "acme"
    assert identity["branchId"]
    assert identity["branchRoot"] is True
    assert "org:acme" in identity["syncGroups"]
    assert identity["authority"]["organizationId"] == "acme"
    assert identity["userMeta"] == {}


async def test_created_row_is_read_back_with_base_fields_and_defaults(client: Client) -> None:
    head = await client.head()
    created = receipt(await client.create("tasks", "t1", {"title": "First"}))
    assert created["lastSyncId"] == head + 1
    reply = await client.get("/api/v1/models/tasks/t1")
    assert reply.json | {"data": None} == {
        "object": "model",
        "model": "tasks",
        "id": "t1",
        "data": None,
        "stamp": head + 1,
        "claims": [],
    }
    row = reply.json["data"]
    assert {name: row[name] for name in ("id", "title", "status", "priority", "isDone")} == {
        "id": "t1",
        "title": "First",
        "status": "todo",
        "priority": 0,
        "isDone": False,
    }
    assert (row["organizationId"], row["createdBy"]) == ("acme", "ci")
    assert row["createdAt"].endswith("Z")


async def test_update_changes_only_what_it_names(client: Client) -> None:
    created = receipt(await client.create("tasks", "t1", {"title": "First", "priority": 3}))
    updated = receipt(await client.update("tasks", "t1", {"status": "done", "isDone": True}))
    row = await client.row("tasks", "t1")
    assert (row["title"], row["priority"], row["status"], row["isDone"]) == ("First", 3, "done", True)
    assert updated["lastSyncId"] == created["lastSyncId"] + 1


async def test_deleted_row_reads_as_missing(client: Client) -> None:
    await client.create("tasks", "t1", {"title": "First"})
    receipt(await client.delete("tasks", "t1"))
    assert await client.row("tasks", "t1") is None


@pytest.mark.parametrize("name", ["tasks", "Task", "task", "TASKS"])
async def test_model_is_found_by_key_typename_and_table_in_any_case(client: Client, name: str) -> None:
    receipt(await client.create(name, "t1", {"title": "First"}))
    reply = await client.get(f"/api/v1/models/{name}/t1")
    assert (reply.json["model"], reply.json["data"]["title"]) == (name, "First")


async def test_create_of_an_existing_id_leaves_the_row_as_it_is(client: Client) -> None:
    await client.create("tasks", "t1", {"title": "First"})
    receipt(await client.create("tasks", "t1", {"title": "Second"}))
    assert (await client.row("tasks", "t1"))["title"] == "First"


async def test_ids_may_hold_anything_that_a_path_can_carry(client: Client) -> None:
    receipt(await client.create("tasks", "a/b c?ü", {"title": "x"}))
    assert (await client.row("tasks", "a%2Fb%20c%3F%C3%BC"))["id"] == "a/b c?ü"


async def test_create_without_an_id_gets_the_one_that_its_key_gives(client: Client) -> None:
    for _ in range(2):
        reply = await client.create("tasks", None, {"title": "x"}, Idempotency_Key="order-18")
        receipt(reply)
        assert reply.headers["Location"] == f"/api/v1/models/tasks/{wire.created_id('tasks', 'order-18')}"
    assert (await client.get(reply.headers["Location"])).json["data"]["title"] == "x"


# --- idempotency --------------------------------------------------------------------------------------------------


async def test_retried_write_answers_with_the_same_bytes_and_applies_once(client: Client) -> None:
    key = new_key()
    await client.create("tasks", "t1", {"title": "First"})
    first = await client.update("tasks", "t1", {"priority": 5}, Idempotency_Key=key)
    assert receipt(first)["clientTxId"] == key
    await client.update("tasks", "t1", {"priority": 6})
    again = await client.update("tasks", "t1", {"priority": 5}, Idempotency_Key=key)
    assert again.body == first.body
    assert (await client.row("tasks", "t1"))["priority"] == 6


async def test_concurrent_twins_apply_once_and_get_equal_receipts(client: Client) -> None:
    key, head = new_key(), await client.head()
    replies = await asyncio.gather(
        *(client.create("tasks", "t1", {"title": "x"}, Idempotency_Key=key) for _ in range(20))
    )
    assert len({reply.body for reply in replies}) == 1
    assert receipt(replies[0])["lastSyncId"] == await client.head() == head + 1


async def test_key_used_for_another_request_is_a_conflict(client: Client) -> None:
    key = new_key()
    await client.create("tasks", "t1", {"title": "x"}, Idempotency_Key=key)
    reply = await client.create("tasks", "t2", {"title": "x"}, Idempotency_Key=key)
    assert reply.error[:2] == (409, "idempotency_conflict")


async def test_refused_write_may_be_retried_under_its_key(client: Client) -> None:
    key = new_key()
    assert (await client.update("tasks", "t1", {"priority": 1}, Idempotency_Key=key)).status == 404
    await client.create("tasks", "t1", {"title": "x"})
    receipt(await client.update("tasks", "t1", {"priority": 1}, Idempotency_Key=key))


# --- batches ------------------------------------------------------------------------------------------------------


async def test_batch_is_one_transaction_with_one_receipt(client: Client) -> None:
    operations = [
        {"action": "create", "model": "projects", "id": "p1", "data": {"name": "P"}},
        {"action": "create", "model": "tasks", "id": "t1", "data": {"title": "T", "project_id": "p1"}},
        {"action": "update", "model": "tasks", "id": "t1", "data": {"priority": 2}, "transactionId": "op-3"},
    ]
    head = await client.head()
    reply = await client.call("POST", "/api/v1/commits", {"operations": operations}, Idempotency_Key="batch-1")
    assert receipt(reply, ops=3)["clientTxId"] == "batch-1"
    assert receipt(reply, ops=3)["lastSyncId"] == head + 3
    assert (await client.row("tasks", "t1"))["priority"] == 2


async def test_batch_with_an_error_in_its_last_operation_leaves_nothing(client: Client) -> None:
    operations = [
        {"action": "create", "model": "tasks", "id": "t1", "data": {"title": "T"}},
        {"action": "update", "model": "tasks", "id": "absent", "data": {"priority": 2}},
    ]
    reply = await client.call("POST", "/api/v1/commits", {"operations": operations})
    assert reply.error[:2] == (404, "mutate_update_entity_not_found")
    assert reply.json["missingIds"] == ["absent"]
    assert await client.row("tasks", "t1") is None


async def test_many_writers_at_once_all_get_their_own_receipt(client: Client) -> None:
    head = await client.head()
    replies = await asyncio.gather(*(client.create("tasks", f"t{n}", {"title": str(n)}) for n in range(100)))
    assert sorted(receipt(reply)["lastSyncId"] for reply in replies) == list(range(head + 1, head + 101))
    assert (await client.get("/api/v1/models/tasks")).json["stamp"] == head + 100


async def test_one_bad_write_among_many_harms_nobody_else(client: Client) -> None:
    await client.create("tasks", "taken", {"title": "x", "code": "c"})
    writes = [client.create("tasks", f"t{n}", {"title": "x", "code": "c" if n == 50 else None}) for n in range(100)]
    replies = await asyncio.gather(*writes)
    assert replies.pop(50).error[:2] == (409, "unique_violation")
    for reply in replies:
        receipt(reply)


async def test_writers_who_wait_for_a_locked_row_keep_nobody_else_waiting(world: World, client: Client) -> None:
    await client.create("tasks", "locked", {"title": "x"})
    with world.database.connect(autocommit=False) as other:
        other.execute("UPDATE tasks SET priority = 1 WHERE id = 'locked'")
        waiting = [asyncio.ensure_future(client.update("tasks", "locked", {"priority": n})) for n in range(6)]
        replies = await asyncio.gather(*(client.create("tasks", f"t{n}", {"title": "x"}) for n in range(100)))
        assert all(receipt(reply) for reply in replies)
        assert not any(task.done() for task in waiting)
        other.commit()
    for reply in await asyncio.gather(*waiting):
        receipt(reply)


async def test_writers_of_an_organization_who_wait_leave_the_others_connections(pushed: postgres.Database) -> None:
    async with serve(config_of(pushed, write_pool_size=4)) as gateway, aiohttp.ClientSession() as session:
        world = World(gateway, pushed, session)
        ada, eve = world.client("acme"), world.client("other")
        await ada.create("tasks", "locked", {"title": "x"})
        with world.database.connect(autocommit=False) as other:
            other.execute("UPDATE tasks SET priority = 1 WHERE id = 'locked'")
            operation = {"action": "update", "model": "tasks", "id": "locked", "data": {"priority": 2}}
            waiting = [asyncio.ensure_future(ada.update("tasks", "locked", {"priority": n})) for n in range(6)]
            waiting += [
                asyncio.ensure_future(ada.call("POST", "/api/v1/commits", {"operations": [operation]}))
                for _ in range(6)
            ]

            async def are_waiting() -> bool:
                return bool(world.database.execute(WAITING) == [(3,)])

            await until(are_waiting, "three wait for the lock")
            for number in range(3):
                receipt(await eve.create("tasks", f"t{number}", {"title": "x"}))
            assert not any(task.done() for task in waiting)
            other.commit()
        for reply in await asyncio.gather(*waiting):
            receipt(reply)


async def test_client_that_asks_before_it_sends_a_body_is_told_to_go_on(world: World, client: Client) -> None:
    body = b'{"id":"t1","data":{"title":"x"}}'
    head = (
        "POST /api/v1/models/tasks HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nExpect: 100-continue\r\n"
        f"Authorization: Bearer {{}}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    for key, expected in ((client.key, b"HTTP/1.1 100 Continue\r\n"), ("nobody's", b"HTTP/1.1 401 Unauthorized\r\n")):
        reader, writer = await asyncio.open_connection(world.gateway.host, world.gateway.port)
        async with asyncio.timeout(LIMIT_SECONDS):
            writer.write(head.format(key).encode())
            assert await reader.readline() == expected
            writer.write(body)
            rest = await reader.read()
        writer.close()
        assert rest.startswith(b"\r\nHTTP/1.1 200 OK\r\n") or b"apikey_invalid" in rest
    assert (await client.row("tasks", "t1"))["title"] == "x"


# --- tenants ------------------------------------------------------------------------------------------------------


async def test_foreign_row_looks_exactly_like_a_missing_one(world: World) -> None:
    ours, theirs = world.client("acme"), world.client("other")
    await theirs.create("tasks", "t1", {"title": "secret"})

    def shown(reply: Reply) -> Any:
        return {key: value for key, value in reply.json.items() if key not in ("request_id", "stamp")}

    for method, body in (("GET", None), ("PATCH", {"data": {"title": "x"}}), ("DELETE", {})):
        foreign = await ours.call(method, "/api/v1/models/tasks/t1", body)
        missing = await ours.call(method, "/api/v1/models/tasks/t2", body)
        assert foreign.status == missing.status
        assert str(shown(foreign)).replace("t1", "t2") == str(shown(missing))
    assert (await theirs.row("tasks", "t1"))["title"] == "secret"


async def test_id_that_another_tenant_has_is_free(world: World) -> None:
    ours, theirs = world.client("acme"), world.client("other")
    await theirs.create("tasks", "t1", {"title": "theirs"})
    receipt(await ours.create("tasks", "t1", {"title": "ours"}))
    assert (await ours.row("tasks", "t1"))["title"] == "ours"
    assert (await theirs.row("tasks", "t1"))["title"] == "theirs"
    assert [row["title"] for row in (await ours.get("/api/v1/models/tasks")).json["data"]] == ["ours"]


async def test_reference_to_a_foreign_row_is_refused_like_one_to_a_missing_row(world: World) -> None:
    ours, theirs = world.client("acme"), world.client("other")
    await theirs.create("projects", "p1", {"name": "P"})
    foreign = await ours.create("tasks", "t1", {"title": "x", "project_id": "p1"})
    missing = await ours.create("tasks", "t1", {"title": "x", "project_id": "p2"})
    assert foreign.error == missing.error
    assert foreign.error[:2] == (409, "foreign_key_violation")


# --- values -------------------------------------------------------------------------------------------------------

VALUES: list[tuple[str, Any, Any]] = [
    ("text", 'ü " \\ \n 😀', 'ü " \\ \n 😀'),
    ("flag", True, True),
    ("small", -2147483648, -2147483648),
    ("large", 9007199254740991, 9007199254740991),
    ("large", 9223372036854775807, "9223372036854775807"),
    ("large", "9223372036854775807", "9223372036854775807"),
    ("exact", "12345678901234567890.123456789", "12345678901234567890.123456789"),
    ("exact", 1.5, 1.5),
    ("ratio", 0.1, 0.1),
    ("ratio", "NaN", "NaN"),
    ("ratio", "-Infinity", "-Infinity"),
    ("moment", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000Z"),
    ("moment", "2026-01-02T05:04:05.123456+02:00", "2026-01-02T03:04:05.123456Z"),
    ("day", "2026-01-02", "2026-01-02"),
    ("ref", "f5b2c4d2-45c9-51ba-9edd-21b889b6f6ec", "f5b2c4d2-45c9-51ba-9edd-21b889b6f6ec"),
    ("words", [], []),
    ("words", ["a,b", 'q"', "", "NULL", "{}"], ["a,b", 'q"', "", "NULL", "{}"]),
    ("numbers", [1, -2], [1, -2]),
    ("document", {"a": [1, {"b": None}], "n": 1e20}, {"a": [1, {"b": None}], "n": 1e20}),
]


@pytest.mark.parametrize(("name", "given", "expected"), VALUES)
async def test_value_of_every_type_has_one_form(world: World, name: str, given: Any, expected: Any) -> None:
    client = world.client()
    async with client.socket() as socket:
        await socket.sync()
        receipt(await client.create("samples", "s", {name: given}))
        row = await client.row("samples", "s")
        (delta,) = await socket.deltas(1)
    assert row[name] == expected or (isinstance(expected, float) and math.isclose(row[name], expected))
    assert delta["data"] == row


async def test_json_number_beyond_a_double_keeps_its_digits(client: Client) -> None:
    raw = b'{"id":"s","data":{"exact":123456789012345678901234567890.5,"large":9223372036854775807}}'
    receipt(await client.call("POST", "/api/v1/models/samples", raw))
    row = await client.row("samples", "s")
    assert (row["exact"], row["large"]) == ("123456789012345678901234567890.5", "9223372036854775807")


async def test_models_with_other_ids_are_written_and_read(client: Client) -> None:
    token = "f5b2c4d2-45c9-51ba-9edd-21b889b6f6ec"
    receipt(await client.create("tokens", token, {"label": "x"}))
    assert (await client.row("tokens", token))["id"] == token
    receipt(await client.create("counters", "7", {"label": "x"}))
    assert (await client.row("counters", "7"))["id"] == 7


async def test_commit_whose_echo_was_lost_with_the_slot_is_confirmed_all_the_same(
    pushed: postgres.Database,
) -> None:
    config = config_of(pushed, confirm_seconds=0.2)
    async with serve(config) as gateway, aiohttp.ClientSession() as session:
        client = World(gateway, pushed, session).client()
        await client.create("tasks", "t1", {"title": "x"})
        key = new_key()
        with pushed.connect(autocommit=False) as open_for_long:
            # A slot that has to be made waits for every open transaction: what commits meanwhile, it never sees.
            open_for_long.execute("SELECT pg_current_xact_id()")

            async def lost() -> bool:
                with contextlib.suppress(psycopg.errors.ObjectInUse):
                    pushed.execute(
                        "SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots"
                        " WHERE slot_name = %s AND active",
                        [gateway.feed.slot],
                    )
                    pushed.execute("SELECT pg_drop_replication_slot(%s)", [gateway.feed.slot])
                    return True
                return False

            await until(lost, "the slot is dropped")
            first = await client.create("tasks", "t2", {"title": "x"}, Idempotency_Key=key)
            assert first.json["status"] == "queued"

        async def confirmed() -> Any:
            again = await client.create("tasks", "t2", {"title": "x"}, Idempotency_Key=key)
            assert again.json["serverTxId"] == first.json["serverTxId"]
            assert again.json["correlationId"] == first.json["correlationId"]
            return again if again.json["status"] == "confirmed" else None

        answer = receipt(await until(confirmed, "the commit is confirmed"))
        later = receipt(await client.create("tasks", "t3", {"title": "x"}))
        assert 0 < answer["lastSyncId"] < later["lastSyncId"]


@pytest.mark.parametrize("setting", ["default_transaction_isolation = 'serializable'", "row_security = off"])
async def test_settings_of_the_database_keep_nobody_from_writing(pushed: postgres.Database, setting: str) -> None:
    pushed.execute(f"ALTER DATABASE {pushed.name} SET {setting}")
    async with serve(config_of(pushed)) as gateway, aiohttp.ClientSession() as session:
        client = World(gateway, pushed, session).client()
        receipt(await client.create("tasks", "t1", {"title": "x"}))
        assert (await client.row("tasks", "t1"))["title"] == "x"
        assert (await client.call("POST", "/api/v1/models/tasks/t1/claim", {})).status == 201
