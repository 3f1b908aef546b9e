"""The logs: every change and every event of a claim, numbered as in the stream, for those who may know."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.conftest import Client, World, until

LOG_EVENT = {"object", "id", "at", "model", "op", "recordId", "actor"}


async def page(client: Client, **query: Any) -> dict[str, Any]:
    """A page, checked for its envelope and the shape of its events."""
    reply = await client.get("/api/v1/logs?" + "&".join(f"{name}={value}" for name, value in query.items()))
    assert reply.status == 200, reply.body
    found: dict[str, Any] = reply.json
    assert set(found) == {"object", "data", "has_more", "next_cursor"}
    assert found["object"] == "list"
    log, claims = found["next_cursor"].split(".")
    assert log.isdigit()
    assert claims.isdigit()
    for event in found["data"]:
        assert event["object"] in ("log_event", "claim_event")
        if event["object"] == "log_event":
            assert set(event) == LOG_EVENT
            assert event["at"].endswith("Z")
    return found


async def events(client: Client, count: int, **query: Any) -> list[dict[str, Any]]:
    """The log events of a page, once there are so many: places are stored a moment after a commit is confirmed."""

    async def stored() -> list[dict[str, Any]] | None:
        found = [event for event in (await page(client, **query))["data"] if event["object"] == "log_event"]
        return found if len(found) >= count else None

    found: list[dict[str, Any]] = await until(stored, f"{count} events in the log")
    assert len(found) == count
    return found


def brief(found: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(event["model"], event["op"], event["recordId"]) for event in found]


async def test_every_change_is_an_event_under_the_id_of_its_delta(client: Client) -> None:
    async with client.socket() as socket:
        await socket.sync()
        await client.create("tasks", "t1", {"title": "x"})
        await client.update("tasks", "t1", {"title": "y"})
        await client.delete("tasks", "t1")
        deltas = await socket.deltas(3)
    found = await events(client, 3)
    assert brief(found) == [("Task", "create", "t1"), ("Task", "update", "t1"), ("Task", "delete", "t1")]
    assert [event["id"] for event in found] == [delta["id"] for delta in deltas]
    assert {event["actor"] for event in found} == {"system:ci"}


async def test_commit_that_was_confirmed_is_in_the_log(client: Client) -> None:
    cursor = (await page(client))["next_cursor"]
    for number in range(20):
        receipt = (await client.create("tasks", f"t{number}", {"title": "x"})).json
        found = await page(client, after=cursor)
        assert [(event["id"], event["recordId"]) for event in found["data"]] == [(receipt["lastSyncId"], f"t{number}")]
        assert not found["has_more"]
        cursor = found["next_cursor"]


async def test_log_ends_before_a_transaction_that_nobody_sees_yet(world: World, client: Client) -> None:
    created = (await client.create("tasks", "t1", {"title": "x"})).json["lastSyncId"]
    cursor = (await page(client))["next_cursor"]
    with world.database.connect() as connection:
        connection.execute("BEGIN; UPDATE tasks SET title = 'y'")
        ((xid,),) = connection.execute("SELECT pg_current_xact_id()::text").fetchall()
        # What a gateway stores that has read its commit from the log, where it stands a moment before others see it
        world.database.execute(
            "INSERT INTO pgsync_private.position (xid, first_sync_id, last_sync_id, commit_sync_ids)"
            " VALUES (%s::text::xid8, 1000, 1000, '{}')",
            (xid,),
        )
        assert [event["id"] for event in (await page(client))["data"]] == [created]
        waiting = await page(client, after=cursor)
        assert (waiting["data"], waiting["has_more"], waiting["next_cursor"]) == ([], False, cursor)
        connection.execute("COMMIT")
    (event,) = (await page(client, after=cursor))["data"]
    assert (event["id"], event["op"]) == (1000, "update")
    assert [event["id"] for event in (await page(client))["data"]] == [created, 1000]


async def test_direct_sql_is_in_the_log_under_its_role(world: World, client: Client) -> None:
    world.database.execute("INSERT INTO tasks (organization_id, id, title) VALUES ('acme', 's1', 'by hand')")
    (event,) = await events(client, 1)
    assert brief([event]) == [("Task", "create", "s1")]
    assert event["actor"] == "system:postgres"


async def test_cascades_are_numbered_as_they_are_streamed(world: World, client: Client) -> None:
    world.database.execute("ALTER TABLE tasks DROP CONSTRAINT tasks_project_id_fkey")
    world.database.execute(
        "ALTER TABLE tasks ADD FOREIGN KEY (organization_id, project_id) REFERENCES projects (organization_id, id)"
        " ON DELETE CASCADE"
    )
    world.database.execute(
        """
        INSERT INTO projects (organization_id, id, name) VALUES ('acme', 'p1', 'x'), ('acme', 'p2', 'x');
        INSERT INTO tasks (organization_id, id, title, project_id)
        VALUES ('acme', 't1', 'x', 'p1'), ('acme', 't2', 'x', 'p2'), ('acme', 't3', 'x', 'p1');
        """
    )
    async with client.socket() as socket:
        await socket.sync()
        world.database.execute("DELETE FROM projects")
        deltas = await socket.deltas(5)
    streamed = [(delta["id"], delta["modelName"], delta["modelId"]) for delta in deltas]
    found = (await events(client, 10))[5:]
    assert [(event["id"], event["model"], event["recordId"]) for event in found] == streamed


async def test_pages_follow_each_other_without_gap_or_repetition_also_inside_a_transaction(
    world: World, client: Client
) -> None:
    await client.create("tasks", "t0", {"title": "x"})
    world.database.execute(
        "INSERT INTO tasks (organization_id, id, title) SELECT 'acme', 'n' || n, 'x' FROM generate_series(1, 7) AS n"
    )
    whole = await events(client, 8)
    seen: list[dict[str, Any]] = []
    cursor = "0.0"
    while True:
        found = await page(client, after=cursor, limit=3)
        assert len(found["data"]) <= 3
        seen += found["data"]
        cursor = found["next_cursor"]
        if not found["has_more"]:
            break
    assert seen == whole
    assert (await page(client, after=cursor))["data"] == []
    await client.create("tasks", "t9", {"title": "x"})
    assert brief(await events(client, 1, after=cursor)) == [("Task", "create", "t9")]


async def test_without_a_cursor_the_newest_come_in_order(client: Client) -> None:
    for number in range(5):
        await client.create("tasks", f"t{number}", {"title": "x"})
    await events(client, 5)
    assert [event["recordId"] for event in (await page(client, limit=2))["data"]] == ["t3", "t4"]


async def test_filters_by_model_operation_and_time(world: World, client: Client) -> None:
    await client.create("tasks", "t1", {"title": "x"})
    await client.create("projects", "p1", {"name": "x"})
    await client.update("tasks", "t1", {"title": "y"})
    await events(client, 3)
    for model in ("tasks", "Task", "TASK"):
        assert brief((await page(client, model=model))["data"]) == [("Task", "create", "t1"), ("Task", "update", "t1")]
    assert brief((await page(client, op="create"))["data"]) == [("Task", "create", "t1"), ("Project", "create", "p1")]
    assert (await page(client, op="archive"))["data"] == []
    assert (await page(client, since="2100-01-01T00:00:00Z"))["data"] == []
    assert len((await page(client, since="1h"))["data"]) == 3
    assert len((await page(client, since="2020-01-01"))["data"]) == 3


async def test_other_organizations_and_unreadable_models_are_not_in_the_log(world: World) -> None:
    acme = world.client()
    await acme.create("tasks", "t1", {"title": "x"})
    await acme.create("projects", "p1", {"name": "x"})
    await events(acme, 2)
    assert (await page(world.client("rival")))["data"] == []
    tasks_only = world.client(participant="reader", operations=["task.read"])
    assert brief((await page(tasks_only))["data"]) == [("Task", "create", "t1")]
    assert brief((await page(tasks_only, after="0.0"))["data"]) == [("Task", "create", "t1")]
    denied = await tasks_only.get("/api/v1/logs?model=projects")
    assert denied.error[:2] == (403, "capability_scope_denied")
    assert denied.json["requiredCapability"] == {"scope": "project.read"}
    nobody = world.client(participant="nobody", syncGroups=["user:nobody"])
    assert (await page(nobody))["data"] == []


async def test_truncated_table_is_an_event_for_everybody(world: World, client: Client) -> None:
    world.database.execute("TRUNCATE tasks")
    assert brief(await events(client, 1)) == [("Task", "delete", "*")]
    assert brief(await events(world.client("rival"), 1)) == [("Task", "delete", "*")]


async def test_events_of_claims_are_in_the_log_with_a_cursor_of_their_own(world: World, client: Client) -> None:
    await client.create("tasks", "t1", {"title": "x"})
    await events(client, 1)
    body = {"description": "rewriting", "queue": False, "meta": {"why": "demo"}}
    reply = await client.call("POST", "/api/v1/models/tasks/t1/claim", body)
    assert reply.status == 201, reply.body
    found = await page(client)
    _, event = found["data"]
    assert event["object"] == "claim_event"
    assert (event["claimId"], event["status"], event["actor"]) == (reply.json["id"], "active", "ci")
    assert event["target"] == {"model": "tasks", "id": "t1", "meta": {"why": "demo"}}
    assert event["fenceToken"] == reply.json["fenceToken"]
    after = found["next_cursor"]
    assert (await page(client, after=after))["data"] == []
    await client.call("DELETE", "/api/v1/models/tasks/t1/claim")
    (event,) = (await page(client, after=after))["data"]
    assert event["object"] == "claim_event"
    assert event["status"] in ("committed", "canceled")
    assert (await page(world.client("rival")))["data"] == []
    assert [e["object"] for e in (await page(client, op="create"))["data"]] == ["log_event"]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("after=x", "after"),
        ("after=1.2.3", "after"),
        ("after=-1", "after"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("op=I", "op"),
        ("op=destroy", "op"),
        ("since=soon", "since"),
        ("since=99999999999999999999", "since"),
    ],
)
async def test_bad_query_names_its_parameter(client: Client, query: str, param: str) -> None:
    assert (await client.get(f"/api/v1/logs?{query}")).error == (400, "invalid_request", param)


async def test_unknown_model_is_named(client: Client) -> None:
    assert (await client.get("/api/v1/logs?model=widgets")).error[:2] == (400, "unknown_model")
