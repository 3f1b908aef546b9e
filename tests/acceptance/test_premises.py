"""Guarded writes over HTTP: a write that depends on what was read lands exactly when that still holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal

import aiohttp
import pytest

from pgsync.gateway import serve
from pgsync.push import push
from pgsync.schema import Model, Schema
from tests import postgres
from tests.acceptance import contract
from tests.acceptance.conftest import Client, Reply, World, config_of, new_key

TASKS = "/api/v1/models/tasks"
T1 = f"{TASKS}/t1"


class Task(Model):
    title: str
    status: Literal["todo", "done"] = "todo"
    n: int = 0
    code: str | None = None


class Note(Model, conflict={"user": "overwrite", "agent": "notify", "system": "reject"}):
    text: str


@pytest.fixture(scope="module")
def prepared(server: postgres.Server) -> Iterator[postgres.Database]:
    with server.lend() as database:
        push(database.dsn, Schema(Task, Note))
        yield database


@pytest.fixture
async def world(server: postgres.Server, prepared: postgres.Database) -> AsyncIterator[World]:
    with server.lend(template=prepared) as database:
        async with serve(config_of(database)) as gateway, aiohttp.ClientSession() as session:
            yield World(gateway, database, session)


@pytest.fixture
async def ada(world: World) -> Client:
    """An agent, in whose organization there are two tasks."""
    ada = world.client(kind="rk", participant="ada")
    for row_id in ("t1", "t2"):
        contract.receipt(await ada.create("tasks", row_id, {"title": "first"}))
    return ada


@pytest.fixture
def bob(world: World) -> Client:
    return world.client(kind="rk", participant="bob")


async def stamp(client: Client, row_id: str = "t1", model: str = "tasks") -> int:
    read = contract.model(await client.get(f"/api/v1/models/{model}/{row_id}"))
    return int(read["stamp"])


async def patch(client: Client, data: Any, row_id: str = "t1", model: str = "tasks", **guards: Any) -> Reply:
    return await client.call("PATCH", f"/api/v1/models/{model}/{row_id}", {"data": data, **guards})


async def commit(client: Client, *operations: Any, key: str | None = None, **more: Any) -> Reply:
    body = {"operations": list(operations), **more} if operations else more
    return await client.call("POST", "/api/v1/commits", body, Idempotency_Key=key or new_key())


def update(row_id: str, data: Any, **guards: Any) -> dict[str, Any]:
    return {"action": "update", "model": "tasks", "id": row_id, "data": data, **guards}


def stale(reply: Reply, *details: str) -> dict[str, Any]:
    return contract.refusal(reply, 409, "stale_context", ["conflicts", "readAt", *details])


# --- one row ------------------------------------------------------------------------------------------------------


async def test_functional_update_is_refused_once_and_lands_on_what_is_there_then(ada: Client, bob: Client) -> None:
    read_at = await stamp(ada)
    theirs = contract.receipt(await bob.update("tasks", "t1", {"n": 5}))
    refused = stale(await patch(ada, {"n": 1}, readAt=read_at, onStale="reject"))
    assert refused["conflicts"] == [{"model": "tasks", "id": "t1", "observedSyncId": theirs["lastSyncId"]}]
    assert refused["readAt"] == read_at
    fresh = contract.model(await ada.get(T1))
    assert (fresh["data"]["n"], fresh["stamp"] >= theirs["lastSyncId"]) == (5, True)
    contract.receipt(await patch(ada, {"n": 6}, readAt=fresh["stamp"], onStale="reject"))
    assert (await ada.row("tasks", "t1"))["n"] == 6


async def test_one_conflict_per_column(ada: Client, bob: Client) -> None:
    read_at = await stamp(ada)
    contract.receipt(await bob.update("tasks", "t1", {"title": "bob's", "status": "done"}))
    contract.receipt(await patch(ada, {"n": 1}, readAt=read_at))
    stale(await patch(ada, {"n": 2, "status": "todo"}, readAt=read_at))
    stale(await ada.call("DELETE", T1, {"readAt": read_at}))
    row = await ada.row("tasks", "t1")
    assert (row["title"], row["status"], row["n"]) == ("bob's", "done", 1)


async def test_delete_and_create_of_the_row_touch_every_column(ada: Client, bob: Client) -> None:
    read_at = await stamp(ada)
    contract.receipt(await bob.delete("tasks", "t1"))
    contract.receipt(await bob.create("tasks", "t1", {"title": "another"}))
    stale(await patch(ada, {"n": 1}, readAt=read_at))


async def test_direct_sql_makes_a_premise_stale(world: World, ada: Client) -> None:
    read_at = await stamp(ada)
    world.database.execute("UPDATE tasks SET n = 7 WHERE id = 't1'")
    refused = stale(await patch(ada, {"n": 1}, readAt=read_at))
    assert refused["conflicts"][0]["observedSyncId"] > read_at


async def test_open_transaction_that_commits_later_makes_an_earlier_read_stale(world: World, ada: Client) -> None:
    """Its changes were not visible to the read, whatever the ids of the two transactions."""
    with world.database.connect(autocommit=False) as other:
        other.execute("UPDATE tasks SET n = 7 WHERE id = 't1'")
        contract.receipt(await ada.update("tasks", "t2", {"n": 1}))
        read_at = await stamp(ada)
        late = asyncio.ensure_future(patch(ada, {"n": 1}, readAt=read_at))
        while not world.database.execute("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
            await asyncio.sleep(0.01)
        other.commit()
    stale(await late)


async def test_overwrite_applies_and_notify_of_a_row_route_holds_back(ada: Client, bob: Client) -> None:
    read_at = await stamp(ada)
    contract.receipt(await bob.update("tasks", "t1", {"n": 5, "code": "x"}))
    contract.receipt(await bob.update("tasks", "t1", {"code": None}))
    held = contract.receipt(await patch(ada, {"n": 1}, readAt=read_at, onStale="notify"), ops=0)
    (told,) = held["notifications"]
    assert (told["currentValues"], told["writtenBy"]) == ({"n": 5}, {"kind": "agent", "id": "bob"})
    held = contract.receipt(await patch(ada, {"code": "y"}, readAt=read_at, onStale="notify"), ops=0)
    assert held["notifications"][0]["currentValues"] == {"code": None}
    assert (await ada.row("tasks", "t1"))["n"] == 5
    contract.receipt(await patch(ada, {"n": 2}, readAt=read_at, onStale="overwrite"))
    assert (await ada.row("tasks", "t1"))["n"] == 2


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [("ek", "overwritten"), ("rk", "held back"), ("sk", "refused")],
    ids=["user", "agent", "system"],
)
async def test_model_says_per_kind_of_participant_what_a_stale_premise_does(
    world: World, bob: Client, kind: Any, outcome: str
) -> None:
    writer = world.client(kind=kind, participant="w")
    contract.receipt(await bob.create("notes", "n1", {"text": "first"}))
    read_at = await stamp(writer, "n1", "notes")
    contract.receipt(await bob.update("notes", "n1", {"text": "bob's"}))
    reply = await patch(writer, {"text": "w's"}, "n1", "notes", readAt=read_at)
    if outcome == "refused":
        stale(reply)
    elif outcome == "held back":
        assert len(contract.receipt(reply, ops=0)["notifications"]) == 1
    else:
        assert "notifications" not in contract.receipt(reply)
    assert (await bob.row("notes", "n1"))["text"] == ("w's" if outcome == "overwritten" else "bob's")
    stale(await patch(writer, {"text": "w's own way"}, "n1", "notes", readAt=read_at, onStale="reject"))


# --- batches ------------------------------------------------------------------------------------------------------


async def test_stale_operation_of_a_batch_refuses_or_holds_itself(ada: Client, bob: Client) -> None:
    read_at = await stamp(ada)
    theirs = contract.receipt(await bob.update("tasks", "t1", {"n": 5}))
    lands = update("t2", {"n": 1})
    refused = stale(await commit(ada, lands, update("t1", {"n": 9}, readAt=read_at)), "operation")
    assert refused["operation"] == 1
    assert (await ada.row("tasks", "t2"))["n"] == 0
    key = new_key()
    operations = (lands, update("t1", {"n": 9}, readAt=read_at, onStale="notify"))
    first = await commit(ada, *operations, key=key)
    (told,) = contract.receipt(first, key=key)["notifications"]
    assert told == {
        "object": "stale_notification",
        "scope": "row",
        "target": {"model": "tasks", "id": "t1", "fields": ["n"]},
        "readAt": read_at,
        "observedSyncId": theirs["lastSyncId"],
        "writtenBy": {"kind": "agent", "id": "bob"},
        "currentValues": {"n": 5},
    }
    assert ((await ada.row("tasks", "t1"))["n"], (await ada.row("tasks", "t2"))["n"]) == (5, 1)
    assert (await commit(ada, *operations, key=key)).body == first.body


@pytest.mark.parametrize("fields", [None, ["n"], ["title"]])
async def test_read_row_is_a_premise_as_a_whole_or_by_its_fields(
    ada: Client, bob: Client, fields: list[str] | None
) -> None:
    read = {"model": "tasks", "id": "t2", "readAt": await stamp(ada, "t2")} | ({"fields": fields} if fields else {})
    contract.receipt(await commit(ada, update("t1", {"n": 1}), reads=[read]))
    theirs = contract.receipt(await bob.update("tasks", "t2", {"title": "bob's"}))
    reply = await commit(ada, update("t1", {"n": 2}), reads=[read])
    if fields == ["n"]:
        contract.receipt(reply)
        return
    refused = stale(reply)
    assert refused["conflicts"] == [{"model": "tasks", "id": "t2", "observedSyncId": theirs["lastSyncId"]}]
    held = contract.receipt(await commit(ada, update("t1", {"n": 2}), reads=[read | {"onStale": "notify"}]), ops=0)
    assert held["notifications"][0]["target"]["id"] == "t2"
    contract.receipt(await commit(ada, update("t1", {"n": 3}), reads=[read | {"onStale": "overwrite"}]))
    assert (await ada.row("tasks", "t1"))["n"] == 3


async def test_read_of_a_missing_row_holds_until_it_is_created(ada: Client, bob: Client) -> None:
    read = {"model": "tasks", "id": "t3", "readAt": await stamp(ada, "t3")}
    contract.receipt(await commit(ada, update("t1", {"n": 1}), reads=[read]))
    contract.receipt(await bob.create("tasks", "t3", {"title": "bob's"}))
    stale(await commit(ada, update("t1", {"n": 2}), reads=[read]))


async def test_group_is_a_premise_on_everything_in_it(world: World, ada: Client, bob: Client) -> None:
    read = {"group": "org:acme", "readAt": await stamp(ada)}
    contract.receipt(await world.client("elsewhere").create("tasks", "t9", {"title": "x"}))
    contract.receipt(await commit(ada, update("t1", {"n": 1}), reads=[read]))
    read = {"group": "org:acme", "readAt": await stamp(ada)}
    theirs = contract.receipt(await bob.create("notes", "n9", {"text": "new"}))
    refused = stale(await commit(ada, update("t1", {"n": 2}), reads=[read]))
    assert refused["conflicts"] == [
        {"model": "notes", "id": "n9", "group": "org:acme", "observedSyncId": theirs["lastSyncId"]}
    ]
    held = contract.receipt(await commit(ada, update("t1", {"n": 2}), reads=[read | {"onStale": "notify"}]), ops=0)
    (told,) = held["notifications"]
    assert (told["scope"], told["group"], told["target"]["id"]) == ("group", "org:acme", "n9")
    foreign = [{"group": "org:elsewhere", "readAt": read["readAt"]}]
    assert (await commit(ada, update("t1", {"n": 2}), reads=foreign)).error[:2] == (403, "capability_scope_denied")


@pytest.mark.parametrize(
    "event",
    [
        "TRUNCATE tasks",
        "UPDATE pgsync_private.setting SET value = pg_current_xact_id()::text WHERE name = 'change_floor_xid'",
    ],
    ids=["truncated", "forgotten"],
)
async def test_what_cannot_be_named_is_told_of_in_the_same_shape(world: World, ada: Client, event: str) -> None:
    """A receipt that the contract's client cannot read would make it send a committed write again."""
    read_at = await stamp(ada)
    contract.receipt(await ada.create("notes", "n1", {"text": "x"}))
    world.database.execute(event)
    create = {"action": "create", "model": "notes", "id": "n2", "data": {"text": "x"}}
    premises = [{"group": "org:acme", "readAt": read_at}, {"model": "tasks", "id": "t1", "readAt": read_at}]
    for premise in premises:
        stale(await commit(ada, create, reads=[premise]))
    reads = [premise | {"onStale": "notify"} for premise in premises]
    held = contract.receipt(await commit(ada, create, reads=reads), ops=0)
    assert [told["scope"] for told in held["notifications"]] == ["group", "row"]
    told = contract.receipt(await commit(ada, track=premises), ops=0)["notifications"]
    assert sorted(one["scope"] for one in told) == ["group", "row"]


async def test_tracked_row_is_told_of_in_the_next_commit_and_once(ada: Client, bob: Client) -> None:
    track = [{"model": "tasks", "id": "t1"}]
    began = contract.receipt(await commit(ada, track=track), ops=0)
    assert "notifications" not in began
    contract.receipt(await ada.update("tasks", "t1", {"title": "ada's own"}))
    theirs = contract.receipt(await bob.update("tasks", "t1", {"n": 5}))
    (told,) = contract.receipt(await commit(ada, update("t2", {"n": 1})))["notifications"]
    assert (told["target"]["id"], told["observedSyncId"]) == ("t1", theirs["lastSyncId"])
    assert told["readAt"] == began["lastSyncId"]
    assert (told["writtenBy"], told["currentValues"]) == ({"kind": "agent", "id": "bob"}, {"n": 5})
    assert "notifications" not in contract.receipt(await commit(ada, update("t2", {"n": 2})))
    assert "notifications" not in contract.receipt(await commit(bob, update("t2", {"n": 3})))


@pytest.mark.parametrize("on_stale", ["notify", "reject"])
async def test_who_tracks_anew_is_told_what_moved_before(ada: Client, bob: Client, on_stale: str) -> None:
    track = [{"model": "tasks", "id": "t1", "onStale": on_stale}, {"group": "org:acme", "onStale": on_stale}]
    began = contract.receipt(await commit(ada, track=track), ops=0)
    theirs = contract.receipt(await bob.update("tasks", "t1", {"n": 5}))
    told = contract.receipt(await commit(ada, update("t2", {"n": 1}), track=track), ops=1)["notifications"]
    assert sorted(one["scope"] for one in told) == ["group", "row"]
    for one in told:
        assert (one["readAt"], one["observedSyncId"]) == (began["lastSyncId"], theirs["lastSyncId"])
    assert "notifications" not in contract.receipt(await commit(ada, update("t2", {"n": 2}), track=track))
    contract.receipt(await bob.update("tasks", "t1", {"n": 6}))
    assert len(contract.receipt(await commit(ada, track=track), ops=0)["notifications"]) == 2


async def test_track_of_what_is_stale_already_is_answered_at_once(ada: Client, bob: Client) -> None:
    read_at = await stamp(ada)
    contract.receipt(await bob.update("tasks", "t1", {"n": 5}))
    track = [{"model": "tasks", "id": "t1", "readAt": read_at}]
    (told,) = contract.receipt(await commit(ada, track=track), ops=0)["notifications"]
    assert (told["readAt"], told["currentValues"]) == (read_at, {"n": 5})


async def test_receipt_of_a_commit_that_shared_its_transaction_is_a_premise_of_its_own(ada: Client) -> None:
    """Writes that pile up travel in one transaction; whoever goes on from his receipt has seen just his own."""
    writers = [{"title": f"row {n}"} for n in range(60)]
    replies = await asyncio.gather(*(ada.create("tasks", f"w{n}", data) for n, data in enumerate(writers)))
    receipts = [contract.receipt(reply) for reply in replies]
    transactions = [receipt["serverTxId"].split("-")[0] for receipt in receipts]
    assert len(set(transactions)) < len(transactions)
    again = await asyncio.gather(
        *(patch(ada, {"n": n + 1}, f"w{n}", readAt=one["lastSyncId"]) for n, one in enumerate(receipts))
    )
    for reply in again:
        contract.receipt(reply)
    first, last = receipts[0], max(receipts, key=lambda one: int(one["lastSyncId"]))
    assert first["lastSyncId"] < last["lastSyncId"]
    stale(await patch(ada, {"n": 99}, "w0", readAt=first["lastSyncId"]))


# --- plain HTTP ---------------------------------------------------------------------------------------------------


async def test_etag_of_a_read_guards_a_write_through_if_match(ada: Client, bob: Client) -> None:
    read = await ada.get(T1)
    assert read.headers["ETag"] == f'"{read.json["stamp"]}"'
    contract.receipt(await ada.update("tasks", "t1", {"n": 1}, If_Match=read.headers["ETag"]))
    fresh = (await ada.get(T1)).headers["ETag"]
    contract.receipt(await bob.update("tasks", "t1", {"n": 5}))
    stale(await ada.update("tasks", "t1", {"n": 2}, If_Match=fresh))
    contract.receipt(await ada.update("tasks", "t1", {"title": "another column"}, If_Match=fresh))
    stale(await ada.delete("tasks", "t1", If_Match=fresh))
    contract.receipt(await ada.delete("tasks", "t1", If_Match="*"))
    assert (await ada.update("tasks", "t1", {"n": 2}, If_Match="*")).error[:2] == (
        404,
        "mutate_update_entity_not_found",
    )


async def test_if_match_refuses_also_where_the_model_would_overwrite(world: World, bob: Client) -> None:
    user = world.client(kind="ek", participant="u")
    contract.receipt(await bob.create("notes", "n1", {"text": "first"}))
    etag = (await user.get("/api/v1/models/notes/n1")).headers["ETag"]
    contract.receipt(await bob.update("notes", "n1", {"text": "bob's"}))
    stale(await user.update("notes", "n1", {"text": "u's"}, If_Match=etag))


async def test_if_match_that_is_no_etag_of_ours_is_refused(ada: Client) -> None:
    reply = await ada.update("tasks", "t1", {"n": 1}, If_Match='"abc"')
    assert reply.error == (400, "invalid_request", "If-Match")
