"""Many at once against one row, through two gateways: every promise about writes holds in whatever order they come.

Rounds that do not depend on each other run on rows of their own, side by side.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from pgsync.gateway import serve
from tests.acceptance import contract
from tests.acceptance.conftest import Client, Reply, World, config_of, new_key, until

TWINS = 50
CLAIMERS = 100
BATCH = 500


@pytest.fixture
async def elsewhere(world: World) -> AsyncIterator[Callable[[Client], Client]]:
    """The same caller at another gateway of the same database."""
    async with serve(config_of(world.database, deployment=f"{world.database.name}_b")) as gateway:
        yield lambda client: replace(client, url=gateway.url)


Elsewhere = Callable[[Client], Client]


def task(row_id: str) -> str:
    return f"/api/v1/models/tasks/{row_id}"


def agent(world: World, name: str) -> Client:
    return world.client(kind="rk", participant=name)


async def fill(client: Client, *row_ids: str) -> None:
    operations = [{"action": "create", "model": "tasks", "id": row_id, "data": {"title": "x"}} for row_id in row_ids]
    reply = await client.call("POST", "/api/v1/commits", {"operations": operations})
    contract.receipt(reply, ops=len(row_ids))


async def read(client: Client, row_id: str) -> tuple[dict[str, Any], int]:
    """The row and its stamp."""
    found = contract.model(await client.get(task(row_id)))
    return found["data"], found["stamp"]


async def patch(client: Client, row_id: str, data: Any, **guards: Any) -> Reply:
    return await client.call("PATCH", task(row_id), {"data": data, **guards})


# --- one key ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", ["create", "update", "commits"])
async def test_retries_of_one_key_have_one_effect_and_equal_receipts(
    world: World, client: Client, elsewhere: Elsewhere, route: str
) -> None:
    """A row that exists stays as it is and an update may be repeated, so what counts is how often the log moved."""
    twins = [client if number % 2 else elsewhere(client) for number in range(TWINS)]
    await fill(client, "t0")

    def send(twin: Client, number: int, key: str) -> Awaitable[Reply]:
        if route == "create":
            return twin.create("tasks", f"t{number}", {"title": "x"}, Idempotency_Key=key)
        if route == "update":
            return twin.update("tasks", "t0", {"priority": number}, Idempotency_Key=key)
        operations = [
            {"action": "delete", "model": "tasks", "id": f"t{number - 1}"},
            {"action": "create", "model": "tasks", "id": f"t{number}", "data": {"title": "x"}},
        ]
        return twin.call("POST", "/api/v1/commits", {"operations": operations}, Idempotency_Key=key)

    ops = 2 if route == "commits" else 1
    for number in range(1, 7):
        head, key = await client.head(), new_key()
        replies = await asyncio.gather(*(send(twin, number, key) for twin in twins))
        assert len({reply.body for reply in replies}) == 1, {reply.body for reply in replies}
        receipt = contract.receipt(replies[0], key=key, ops=ops)
        assert receipt["lastSyncId"] == head + ops
        assert await client.head() == head + ops
    stored = world.database.execute("SELECT count(*) FROM pgsync_private.commit")
    assert stored == [(7,)]


# --- one row ------------------------------------------------------------------------------------------------------


async def test_writers_of_different_columns_both_land_and_of_the_same_column_one_is_refused(
    world: World, elsewhere: Elsewhere
) -> None:
    a, b = agent(world, "a"), elsewhere(agent(world, "b"))
    rows = [f"t{number}" for number in range(10)]
    await fill(a, *rows)

    async def guarded(client: Client, row_id: str, data: Any) -> Callable[[], Awaitable[Reply]]:
        _, stamp = await read(client, row_id)
        return lambda: patch(client, row_id, data, readAt=stamp)

    async def race(row_id: str) -> None:
        for number in range(1, 16):
            writes = await asyncio.gather(
                guarded(a, row_id, {"title": f"a{number}"}), guarded(b, row_id, {"priority": number})
            )
            for reply in await asyncio.gather(*(write() for write in writes)):
                contract.receipt(reply)
            row, _ = await read(b, row_id)
            assert (row["title"], row["priority"]) == (f"a{number}", number)

            writes = await asyncio.gather(
                guarded(a, row_id, {"code": f"{row_id} a{number}"}), guarded(b, row_id, {"code": f"{row_id} b{number}"})
            )
            first, second = await asyncio.gather(*(write() for write in writes))
            winner, loser = (first, second) if first.status == 200 else (second, first)
            refused = contract.refusal(loser, 409, "stale_context", ["conflicts", "readAt"])
            (conflict,) = refused["conflicts"]
            assert (conflict["id"], conflict["observedSyncId"]) == (row_id, contract.receipt(winner)["lastSyncId"])
            row, _ = await read(a, row_id)
            assert row["code"] == f"{row_id} {'a' if winner is first else 'b'}{number}"

    await asyncio.gather(*(race(row_id) for row_id in rows))


async def test_read_modify_write_of_twenty_writers_loses_nothing(world: World, elsewhere: Elsewhere) -> None:
    writers = [agent(world, f"w{number}") for number in range(20)]
    await fill(writers[0], "t1")

    async def add(client: Client, amount: int) -> int:
        refusals = 0
        while True:
            row, stamp = await read(client, "t1")
            body = {"priority": row["priority"] + amount}
            reply = await patch(client, "t1", body, readAt=stamp, onStale="reject")
            if reply.status == 200:
                contract.receipt(reply)
                return refusals
            contract.refusal(reply, 409, "stale_context", ["conflicts", "readAt"])
            refusals += 1

    async def write(client: Client, amount: int) -> int:
        return await add(client, amount) + await add(elsewhere(client), amount)

    refusals = await asyncio.gather(*(write(client, 1 + number) for number, client in enumerate(writers)))
    assert (await writers[0].row("tasks", "t1"))["priority"] == 2 * sum(range(1, 21))
    assert sum(refusals) > 0


async def test_batches_over_the_same_rows_in_any_order_all_land(world: World, elsewhere: Elsewhere) -> None:
    writers = [agent(world, f"w{number}") for number in range(4)]
    rows = [f"t{number}" for number in range(12)]
    await fill(writers[0], *rows)
    reads = [{"group": "org:acme", "readAt": 1, "onStale": "overwrite"}]

    async def write(client: Client, number: int) -> None:
        chosen = random.sample(rows, 6)
        operations = [
            {"action": "update", "model": "tasks", "id": row_id, "data": {"priority": number}} for row_id in chosen
        ]
        body = {"operations": operations} | ({"reads": reads} if number % 3 == 0 else {})
        contract.receipt(await client.call("POST", "/api/v1/commits", body), ops=6)

    async def go_on(client: Client) -> None:
        for number in range(1, 16):
            await asyncio.gather(write(client, number), write(elsewhere(client), number))

    await asyncio.gather(*(go_on(client) for client in writers))


# --- claims -------------------------------------------------------------------------------------------------------


async def claim(client: Client, row_id: str, **body: Any) -> Reply:
    return await client.call("POST", f"{task(row_id)}/claim", {"description": "editing", "queue": True} | body)


async def release(client: Client, row_id: str) -> bool:
    return contract.released(await client.call("DELETE", f"{task(row_id)}/claim"))


async def held(client: Client, claim_id: str) -> dict[str, Any]:
    """The claim, once its turn has come."""

    async def beat() -> bool:
        reply = contract.heartbeat(await client.call("POST", f"/api/v1/claims/{claim_id}/heartbeat", {}))
        if reply["status"] == "queued":
            await asyncio.sleep(0.02 * reply["position"])  # nobody is next before those ahead of him
        return bool(reply["status"] == "held")

    await until(beat, f"{claim_id} is held")
    found = contract.claim_state(await client.get(f"/api/v1/claims/{claim_id}"))
    assert found["status"] == "active"
    return found


async def test_a_hundred_claimers_are_served_in_order_one_at_a_time(world: World, elsewhere: Elsewhere) -> None:
    first, *others = [agent(world, f"c{number}") for number in range(CLAIMERS)]
    others = [client if number % 2 else elsewhere(client) for number, client in enumerate(others)]
    await fill(first, "t1")
    tokens: dict[int, int] = {0: contract.granted(await claim(first, "t1"))["fenceToken"]}
    replies = await asyncio.gather(*(claim(client, "t1") for client in others))
    tickets = [contract.queued(reply) for reply in replies]
    assert sorted(ticket["position"] for ticket in tickets) == list(range(CLAIMERS - 1))
    inside = 0

    async def work(client: Client, ticket: dict[str, Any]) -> None:
        nonlocal inside
        mine = await held(client, ticket["id"])
        inside += 1
        assert inside == 1
        row, _ = await read(client, "t1")
        assert row["priority"] == ticket["position"]
        tokens[ticket["position"] + 1] = mine["fenceToken"]
        guards = {"claim": ticket["id"], "fenceToken": mine["fenceToken"]}
        contract.receipt(await patch(client, "t1", {"priority": row["priority"] + 1}, **guards))
        inside -= 1
        assert await release(client, "t1")

    working = [asyncio.ensure_future(work(client, ticket)) for client, ticket in zip(others, tickets, strict=True)]
    assert await release(first, "t1")
    await asyncio.gather(*working)
    assert (await first.row("tasks", "t1"))["priority"] == CLAIMERS - 1
    assert [tokens[turn] for turn in range(CLAIMERS)] == list(range(1, CLAIMERS + 1))


async def test_holder_that_dies_is_passed_after_its_time_and_can_write_no_more(
    world: World, elsewhere: Elsewhere
) -> None:
    a, b = agent(world, "a"), elsewhere(agent(world, "b"))
    rows = [f"t{number}" for number in range(25)]
    await fill(a, *rows)

    async def die(row_id: str) -> None:
        dying = contract.granted(await claim(a, row_id, ttl="2s"))
        old = {"claim": dying["id"], "fenceToken": dying["fenceToken"]}
        ticket = contract.queued(await claim(b, row_id))
        mine = await held(b, ticket["id"])
        assert mine["fenceToken"] == dying["fenceToken"] + 1
        (passed,) = world.database.execute(
            "SELECT granted_at >= pg_catalog.to_timestamp(%s / 1000.0) FROM pgsync_private.claim WHERE id = %s",
            [dying["expiresAt"], ticket["id"]],
        )
        assert passed == (True,)
        assert contract.claim_state(await a.get(f"/api/v1/claims/{dying['id']}"))["status"] == "expired"

        # The successor is still at it: the old holder yields as anybody would, whatever it shows.
        details = ["heldBy", "heldByClaim", "claims"]
        contract.refusal(await patch(a, row_id, {"priority": 1}), 409, "claim_conflict", details)
        late = await patch(a, row_id, {"priority": 1}, **old)
        assert (late.status, late.json["code"]) == (409, "claim_lost")

        # The successor has finished: only the token tells that the old holder is late.
        guards = {"claim": ticket["id"], "fenceToken": mine["fenceToken"]}
        contract.receipt(await patch(b, row_id, {"priority": 2}, **guards))
        assert await release(b, row_id)
        late = await patch(a, row_id, {"priority": 1}, fenceToken=dying["fenceToken"])
        assert (late.status, late.json["code"]) == (409, "fence_token_stale")
        late = await patch(a, row_id, {"priority": 1}, **old)
        assert (late.status, late.json["code"]) == (409, "claim_lost")
        row, _ = await read(a, row_id)
        assert row["priority"] == 2

    await asyncio.gather(*(die(row_id) for row_id in rows))


# --- one commit ---------------------------------------------------------------------------------------------------

LAST: list[tuple[str, dict[str, Any], str, str]] = [
    (
        "mutate_update_entity_not_found",
        {"action": "update", "id": "absent", "data": {"priority": 1}},
        "INSERT INTO tasks (organization_id, id, title) VALUES ('acme', 'absent', 'x')",
        "",
    ),
    (
        "unique_violation",
        {"action": "create", "id": "last", "data": {"title": "x", "code": "taken"}},
        "DELETE FROM tasks WHERE code = 'taken'",
        "INSERT INTO tasks (organization_id, id, title, code) VALUES ('acme', 'other', 'x', 'taken')",
    ),
    (
        "foreign_key_violation",
        {"action": "create", "id": "last", "data": {"title": "x", "project_id": "p1"}},
        "INSERT INTO projects (organization_id, id, name) VALUES ('acme', 'p1', 'x')",
        "",
    ),
]


@pytest.mark.parametrize(("code", "last", "repair", "before"), LAST, ids=[entry[0] for entry in LAST])
async def test_error_in_the_last_of_500_operations_leaves_nothing_and_its_key_free(
    world: World, client: Client, code: str, last: dict[str, Any], repair: str, before: str
) -> None:
    if before:
        world.database.execute(before)
    operations = [
        {"action": "create", "model": "tasks", "id": f"n{number}", "data": {"title": "x"}}
        for number in range(BATCH - 1)
    ]
    body, key = {"operations": [*operations, {"model": "tasks", **last}]}, new_key()

    async def send() -> Reply:
        return await client.call("POST", "/api/v1/commits", body, Idempotency_Key=key)

    refused = await send()
    assert refused.error[1] == code, refused.body
    assert world.database.execute("SELECT count(*) FROM tasks WHERE id <> 'other'") == [(0,)]
    assert world.database.execute("SELECT count(*) FROM pgsync_private.commit") == [(0,)]
    assert contract.record(await client.get(f"/api/v1/commits/{key}")) is None

    world.database.execute(repair)
    contract.receipt(await send(), key=key, ops=BATCH)
    assert (await send()).json["ops"] == BATCH
    rows = contract.rows(await client.get("/api/v1/models/tasks?title=x&limit=1000"))["data"]
    assert len(rows) == BATCH
