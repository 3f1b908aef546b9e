"""Many at once against one row, through two gateways: every promise about writes holds in whatever order they come.

Rounds that do not depend on each other run on rows of their own, side by side; `--race-rounds N` says how many.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from pgsync.gateway import serve
from tests.acceptance import contract
from tests.acceptance.conftest import Client, Reply, World, config_of, new_key, until

TWINS = 50
WRITERS = 20
CLAIMERS = 100
BATCH = 500


@pytest.fixture
async def elsewhere(world: World) -> AsyncIterator[Callable[[Client], Client]]:
    """The same caller at another gateway of the same database."""
    async with serve(config_of(world.database, deployment=f"{world.database.name}_b")) as gateway:
        yield lambda client: replace(client, url=gateway.url)


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> Callable[[int], int]:
    """How many rounds to run: those of the command line, else the usual number of the race."""
    chosen: int | None = request.config.getoption("--race-rounds")
    return lambda usual: chosen or usual


Elsewhere = Callable[[Client], Client]
Rounds = Callable[[int], int]


def task(row_id: str) -> str:
    return f"/api/v1/models/tasks/{row_id}"


def agent(world: World, name: str) -> Client:
    return world.client(kind="rk", participant=name)


def side_by_side(total: int, width: int) -> Iterator[range]:
    """The numbers of all rounds, in groups of those that run at once."""
    return (range(first, min(first + width, total)) for first in range(0, total, width))


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
    world: World, client: Client, elsewhere: Elsewhere, rounds: Rounds, route: str
) -> None:
    """A row that exists stays as it is and an update may be repeated, so what counts is how often the log moved."""
    twins = [client if number % 2 else elsewhere(client) for number in range(TWINS)]
    total = rounds(70)
    for some in side_by_side(total, 250):
        await fill(client, *(f"old{number}" for number in some))

    def send(twin: Client, number: int, key: str) -> Awaitable[Reply]:
        if route == "create":
            return twin.create("tasks", f"new{number}", {"title": "x"}, Idempotency_Key=key)
        if route == "update":
            return twin.update("tasks", f"old{number}", {"priority": number + 1}, Idempotency_Key=key)
        operations = [
            {"action": "delete", "model": "tasks", "id": f"old{number}"},
            {"action": "create", "model": "tasks", "id": f"new{number}", "data": {"title": "x"}},
        ]
        return twin.call("POST", "/api/v1/commits", {"operations": operations}, Idempotency_Key=key)

    ops = 2 if route == "commits" else 1
    for some in side_by_side(total, 3):
        head = await client.head()
        keys = {number: new_key() for number in some}
        replies = await asyncio.gather(*(send(twin, number, keys[number]) for twin in twins for number in some))
        places = []
        for index, number in enumerate(some):
            equal = replies[index :: len(some)]
            assert len({reply.body for reply in equal}) == 1, {reply.body for reply in equal}
            places.append(contract.receipt(equal[0], key=keys[number], ops=ops)["lastSyncId"])
        assert sorted(places) == [head + ops * (turn + 1) for turn in range(len(some))]
        assert await client.head() == head + ops * len(some)
    assert world.database.execute("SELECT count(*) FROM pgsync_private.change") == [(total * (1 + ops),)]


# --- one row ------------------------------------------------------------------------------------------------------


async def test_writers_of_different_columns_both_land_and_of_the_same_column_one_is_refused(
    world: World, elsewhere: Elsewhere, rounds: Rounds
) -> None:
    a, b = agent(world, "a"), elsewhere(agent(world, "b"))
    rows = [f"t{number}" for number in range(20)]
    await fill(a, *rows)

    async def guarded(client: Client, row_id: str, data: Any) -> Callable[[], Awaitable[Reply]]:
        _, stamp = await read(client, row_id)
        return lambda: patch(client, row_id, data, readAt=stamp)

    async def race(row_id: str) -> None:
        for number in range(1, 1 + max(rounds(200) // len(rows), 1)):
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


async def test_read_modify_write_of_twenty_writers_loses_nothing(
    world: World, elsewhere: Elsewhere, rounds: Rounds
) -> None:
    """As the contract's client updates by a function: read, write what depends on it, wait a little when refused."""
    writers = [agent(world, f"w{number}") for number in range(WRITERS)]
    writers = [client if number % 2 else elsewhere(client) for number, client in enumerate(writers)]
    refusals = 0

    async def add(client: Client, row_id: str, amount: int) -> None:
        nonlocal refusals
        tries = 0
        while True:
            row, stamp = await read(client, row_id)
            body = {"priority": row["priority"] + amount}
            reply = await patch(client, row_id, body, readAt=stamp, onStale="reject")
            if reply.status == 200:
                contract.receipt(reply)
                return
            contract.refusal(reply, 409, "stale_context", ["conflicts", "readAt"])
            refusals += 1
            await asyncio.sleep(0.06 + 0.04 * tries + 0.06 * random.random())
            tries += 1

    for some in side_by_side(rounds(24), 8):
        rows = [f"t{number}" for number in some]
        await fill(writers[0], *rows)
        await asyncio.gather(
            *(add(client, row_id, 1 + number) for number, client in enumerate(writers) for row_id in rows)
        )
        for row_id in rows:
            row, _ = await read(writers[0], row_id)
            assert row["priority"] == sum(range(1, 1 + WRITERS))
    assert refusals > 0


async def test_batches_over_the_same_rows_in_any_order_all_land(
    world: World, elsewhere: Elsewhere, rounds: Rounds
) -> None:
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
        for number in range(1, 1 + rounds(40)):
            await asyncio.gather(write(client, number), write(elsewhere(client), number))

    await asyncio.gather(*(go_on(client) for client in writers))


# --- claims -------------------------------------------------------------------------------------------------------


async def claim(client: Client, row_id: str, **body: Any) -> Reply:
    return await client.call("POST", f"{task(row_id)}/claim", {"description": "editing", "queue": True} | body)


async def release(client: Client, row_id: str) -> bool:
    return contract.released(await client.call("DELETE", f"{task(row_id)}/claim"))


async def beat(client: Client, claim_id: str) -> str:
    """`held`, or `queued` before the turn has come."""
    found = contract.heartbeat(await client.call("POST", f"/api/v1/claims/{claim_id}/heartbeat", {}))
    return str(found["status"])


async def test_a_hundred_claimers_are_served_in_order_one_at_a_time(
    world: World, elsewhere: Elsewhere, rounds: Rounds
) -> None:
    claimers = [agent(world, f"c{number}") for number in range(CLAIMERS)]
    claimers = [client if number % 2 else elsewhere(client) for number, client in enumerate(claimers)]

    async def keep_places() -> None:
        """A ticket without a sign of life for 15 seconds is passed over."""
        while True:
            for first in range(0, CLAIMERS, 20):  # one after another, they would take too long on a busy machine
                some = claimers[first : first + 20]
                beats = [client.call("POST", "/api/v1/claims/heartbeat", {}) for client in some]
                for reply in await asyncio.gather(*beats):
                    contract.heartbeats(reply)
            await asyncio.sleep(1)

    async def line(row_id: str) -> None:
        first, *others = random.sample(claimers, CLAIMERS)
        tokens = {0: contract.granted(await claim(first, row_id))["fenceToken"]}
        replies = await asyncio.gather(*(claim(client, row_id) for client in others))
        tickets = [contract.queued(reply) for reply in replies]
        assert sorted(ticket["position"] for ticket in tickets) == list(range(CLAIMERS - 1))
        entered, left = [[asyncio.Event() for _ in range(CLAIMERS)] for _ in range(2)]
        inside = 0

        async def work(client: Client, ticket: dict[str, Any]) -> None:
            nonlocal inside
            turn = ticket["position"] + 1
            await entered[turn - 1].wait()
            if await beat(client, ticket["id"]) == "queued":  # while the one before works, writes and leaves
                await left[turn - 1].wait()
                assert await beat(client, ticket["id"]) == "held"
            inside += 1
            assert inside == 1
            entered[turn].set()
            mine = contract.claim_state(await client.get(f"/api/v1/claims/{ticket['id']}"))
            assert mine["status"] == "active"
            row, _ = await read(client, row_id)
            assert row["priority"] == ticket["position"]
            tokens[turn] = mine["fenceToken"]
            guards = {"claim": ticket["id"], "fenceToken": mine["fenceToken"]}
            contract.receipt(await patch(client, row_id, {"priority": row["priority"] + 1}, **guards))
            inside -= 1
            assert await release(client, row_id)
            left[turn].set()

        working = [asyncio.ensure_future(work(client, ticket)) for client, ticket in zip(others, tickets, strict=True)]
        entered[0].set()
        assert await release(first, row_id)
        left[0].set()
        await asyncio.gather(*working)
        row, _ = await read(first, row_id)
        assert row["priority"] == CLAIMERS - 1
        assert [tokens[turn] for turn in range(CLAIMERS)] == list(range(1, CLAIMERS + 1))

    keeping = asyncio.ensure_future(keep_places())
    for some in side_by_side(rounds(4), 4):
        rows = [f"t{number}" for number in some]
        await fill(claimers[0], *rows)
        await asyncio.gather(*(line(row_id) for row_id in rows))
    keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping


async def test_holder_that_dies_is_passed_after_its_time_and_can_write_no_more(
    world: World, elsewhere: Elsewhere, rounds: Rounds
) -> None:
    a, b = agent(world, "a"), elsewhere(agent(world, "b"))
    turns: dict[str, asyncio.Future[None]] = {}

    few = asyncio.Semaphore(20)  # or a busy machine is not at the tickets before the leases are over

    async def die(row_id: str) -> None:
        async with few:
            dying = contract.granted(await claim(a, row_id, ttl="3s"))
            ticket = contract.queued(await claim(b, row_id))
        old = {"claim": dying["id"], "fenceToken": dying["fenceToken"]}
        turns[ticket["id"]] = asyncio.get_running_loop().create_future()
        await turns[ticket["id"]]
        mine = contract.claim_state(await b.get(f"/api/v1/claims/{ticket['id']}"))
        assert (mine["status"], mine["fenceToken"]) == ("active", dying["fenceToken"] + 1)
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

    async def all_have_died(dying: Sequence[asyncio.Future[None]]) -> bool:
        for found in contract.heartbeats(await b.call("POST", "/api/v1/claims/heartbeat", {})):
            turn = turns.get(found["claimId"])
            if found["status"] == "held" and turn is not None and not turn.done():
                turn.set_result(None)
        return all(one.done() for one in dying)

    for some in side_by_side(rounds(200), 200):
        rows = [f"t{number}" for number in some]
        await fill(a, *rows)
        dying = [asyncio.ensure_future(die(row_id)) for row_id in rows]
        await until(lambda: all_have_died(dying), "every holder was passed")  # noqa: B023  # awaited here
        await asyncio.gather(*dying)
    too_early = world.database.execute(
        "SELECT count(*) FROM pgsync_private.claim AS old JOIN pgsync_private.claim AS new USING (scope, model, row_id)"
        " WHERE old.participant_id = 'a' AND new.participant_id = 'b' AND new.granted_at < old.expires_at"
    )
    assert too_early == [(0,)]


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
