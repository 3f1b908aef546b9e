"""Lists and stamps: typed equality, stable pages, and a watermark that never runs ahead of what was read."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import orjson
import pytest

from tests.acceptance.conftest import Client, World, until

TASKS = "/api/v1/models/tasks"


async def pages(client: Client, query: str) -> list[list[Any]]:
    """All pages of a list, following its cursor."""
    found: list[list[Any]] = []
    after = ""
    while True:
        reply = await client.get(f"{TASKS}?{query}{after}")
        assert reply.status == 200, reply.body
        listed = reply.json
        assert [entry["id"] for entry in listed["evidence"]] == [row["id"] for row in listed["data"]]
        assert all(entry["stamp"] == listed["stamp"] for entry in listed["evidence"])
        assert listed["has_more"] == (listed["next_cursor"] is not None)
        found.append(listed["data"])
        if not listed["has_more"]:
            return found
        after = f"&starting_after={listed['next_cursor']}"


async def fill(client: Client) -> None:
    operations = [
        {
            "action": "create",
            "model": "tasks",
            "id": f"t{n:02}",
            "data": {
                "title": f"title {n % 3}",
                "priority": n % 4,
                "isDone": n % 2 == 0,
                "code": f"c{n}" if n % 5 else None,
            },
        }
        for n in range(20)
    ]
    assert (await client.call("POST", "/api/v1/commits", {"operations": operations})).status == 200


async def test_filters_are_typed_equalities(client: Client) -> None:
    await fill(client)
    listed = (await client.get(f"{TASKS}?priority=2&isDone=true&limit=50")).json
    assert [row["id"] for row in listed["data"]] == ["t02", "t06", "t10", "t14", "t18"]
    assert (await client.get(f"{TASKS}?title=nobody")).json["data"] == []


@pytest.mark.parametrize(
    ("where", "numbers"),
    [
        (["priority", 2], [2, 6, 10, 14, 18]),
        (["priority", "!=", 0], [n for n in range(20) if n % 4]),
        ([["priority", ">", 0], ["priority", "<=", 1]], [1, 5, 9, 13, 17]),
        (["id", ">=", "t17"], [17, 18, 19]),
        (["createdAt", "<", "2020-01-01T00:00:00.000Z"], []),
        (["code", "IN", ["c3", "c4", "absent"]], [3, 4]),
        (["code", "NOT IN", [f"c{n}" for n in range(18)]], [18, 19]),
        (["code", "IS", None], [0, 5, 10, 15]),
        ([["code", "IS NOT", None], ["id", "<", "t03"]], [1, 2]),
        ([["code", "IS NOT", "c1"], ["id", "<", "t03"]], [0, 2]),
        (["isDone", "IS", False], list(range(1, 20, 2))),
        (["code", "LIKE", "c_"], [1, 2, 3, 4, 6, 7, 8, 9]),
        (["title", "ILIKE", "TITLE 2"], [2, 5, 8, 11, 14, 17]),
        ([["title", "NOT LIKE", "%0"], ["title", "NOT ILIKE", "%2"]], [1, 4, 7, 10, 13, 16, 19]),
        (["status", "NOT LIKE", "t%"], []),
    ],
)
async def test_tuples_filter_with_the_operators_of_sql(client: Client, where: Any, numbers: list[int]) -> None:
    await fill(client)
    query = f"where={quote(orjson.dumps(where))}&limit=4"
    assert [row["id"] for part in await pages(client, query) for row in part] == [f"t{n:02}" for n in numbers]


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("order_by", ["id", "title", "priority", "code", "createdAt"])
async def test_pages_hold_every_row_once_in_one_order(client: Client, order_by: str, order: str) -> None:
    await fill(client)
    whole = (await pages(client, f"order_by={order_by}&order={order}"))[0]
    assert len({row["id"] for row in whole}) == 20
    parts = await pages(client, f"order_by={order_by}&order={order}&limit=3")
    assert [len(part) for part in parts] == [3, 3, 3, 3, 3, 3, 2]
    assert [row["id"] for part in parts for row in part] == [row["id"] for row in whole]


async def test_page_goes_on_where_it_was_while_rows_come_and_go(client: Client) -> None:
    await fill(client)
    first = (await client.get(f"{TASKS}?limit=5")).json
    await client.delete("tasks", "t04")
    await client.create("tasks", "t01b", {"title": "x"})
    second = (await client.get(f"{TASKS}?limit=5&starting_after={first['next_cursor']}")).json
    assert [row["id"] for row in second["data"]] == ["t05", "t06", "t07", "t08", "t09"]


async def test_cursor_of_another_order_is_refused(client: Client) -> None:
    await fill(client)
    cursor = (await client.get(f"{TASKS}?limit=5&order_by=title")).json["next_cursor"]
    reply = await client.get(f"{TASKS}?limit=5&order_by=priority&starting_after={cursor}")
    assert reply.error == (400, "model_query_failed", "starting_after")


async def test_list_of_a_row_that_a_rule_or_tenant_hides_does_not_have_it(world: World) -> None:
    ours, theirs = world.client("acme"), world.client("other")
    await fill(ours)
    assert (await theirs.get(TASKS)).json["data"] == []
    assert (await theirs.get(f"{TASKS}?title=title%200")).json["data"] == []


async def test_list_uses_the_tenants_index_and_asks_for_the_identity_once(world: World) -> None:
    await fill(world.client())
    with world.database.connect("pgsync_gateway", autocommit=False) as connection:
        identity = '{"organizationId":"acme","participantId":"ci","participantKind":"system","syncGroups":["org:acme"]}'
        connection.execute("SELECT pgsync.set_identity_v1(%s)", [identity])
        connection.execute("SET LOCAL enable_seqscan = off")
        plan = "\n".join(row[0] for row in connection.execute("EXPLAIN SELECT * FROM tasks ORDER BY id LIMIT 10"))
    assert "tasks_pkey" in plan
    assert "InitPlan" in plan


@pytest.mark.parametrize(
    "statement", ["ALTER TABLE tasks DISABLE ROW LEVEL SECURITY", "DROP POLICY pgsync_select ON tasks"]
)
async def test_table_without_its_row_security_is_read_by_nobody(world: World, client: Client, statement: str) -> None:
    await client.create("tasks", "t1", {"title": "ours"})
    await client.create("projects", "p1", {"name": "ours"})
    await world.client("rival").create("tasks", "t2", {"title": "theirs"})
    world.database.execute(statement)
    queries = {"queries": [{"model": "tasks"}]}
    whole = await client.get("/api/sync/bootstrap?models=Task")
    for reply in (
        await client.get(TASKS),
        await client.get(f"{TASKS}/t2"),
        await client.get(f"{TASKS}?title=theirs"),
        await client.call("POST", "/api/sync/query", queries),
        # once the stream has noticed it, a bootstrap leaves the model out and says so
        *([whole] if whole.status != 200 else []),
    ):
        assert b"theirs" not in reply.body
        assert b"model_not_provisioned" in reply.body
    if whole.status == 200:
        assert whole.json["failedModels"] == ["Task"]
        assert whole.json["models"] == {}
    assert (await client.row("projects", "p1"))["name"] == "ours"

    async def bootstrap() -> Any:
        return (await client.get("/api/sync/bootstrap")).json

    async def is_left_out() -> bool:
        return bool((await bootstrap()).get("failedModels") == ["Task"])

    await until(is_left_out, "a bootstrap has the others")
    assert (await bootstrap())["models"]["Project"][0]["name"] == "ours"


# --- stamps -------------------------------------------------------------------------------------------------------


async def test_stamp_of_a_row_covers_its_last_write_however_it_was_made(world: World, client: Client) -> None:
    await client.create("tasks", "t1", {"title": "x"})
    for number in range(20):
        world.database.execute("UPDATE tasks SET priority = %s WHERE id = 't1'", [number])
        reply = (await client.get(f"{TASKS}/t1")).json
        assert reply["data"]["priority"] == number
        assert reply["stamp"] == world.gateway.feed.head


async def test_stamp_does_not_run_ahead_of_what_the_read_saw(world: World, client: Client) -> None:
    """A transaction that is open during the read commits later, so its sync id is beyond the stamp."""
    await client.create("tasks", "t1", {"title": "x"})
    with world.database.connect(autocommit=False) as other:
        other.execute("UPDATE tasks SET priority = 1 WHERE id = 't1'")
        await client.create("tasks", "t2", {"title": "x"})
        before = (await client.get(f"{TASKS}/t1")).json
        assert before["data"]["priority"] == 0
        other.commit()

    async def changed() -> Any:
        reply = (await client.get(f"{TASKS}/t1")).json
        return reply if reply["data"]["priority"] == 1 else None

    after = await until(changed, "the update is visible")
    assert after["stamp"] > before["stamp"]


async def test_reads_do_not_wait_for_writers_who_wait(world: World, client: Client) -> None:
    await client.create("tasks", "t1", {"title": "x"})
    with world.database.connect(autocommit=False) as other:
        other.execute("UPDATE tasks SET priority = 1 WHERE id = 't1'")
        waiting = [asyncio.ensure_future(client.update("tasks", "t1", {"priority": 2 + n})) for n in range(4)]
        while not world.database.execute("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
            await asyncio.sleep(0.01)
        assert (await client.row("tasks", "t1"))["priority"] == 0
        other.commit()
    assert [reply.status for reply in await asyncio.gather(*waiting)] == [200] * 4
