"""Server-sent events: rows and then every change in commit order, by condition, with a cursor to go on from."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
import psycopg
import pytest

from pgsync.gateway import changes as changes_module
from pgsync.gateway import serve
from pgsync.push import push
from pgsync.schema import load_schema
from tests import postgres
from tests.acceptance.conftest import LIMIT_SECONDS, SCHEMA, Client, World, config_of, until

PATH = "/api/v1/changes"


@dataclass(frozen=True, slots=True)
class Message:
    """One block of the stream; `name` is None for one that only moves the cursor or keeps the connection."""

    name: str | None
    data: Any
    id: str | None


class Events:
    """What a reader of the stream gets, block by block."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.cursor: str | None = None

    async def block(self) -> Message | None:
        """The next block, None at the end of the stream."""
        fields: dict[str, str] = {}
        seen = False
        async with asyncio.timeout(LIMIT_SECONDS):
            while line := await self.response.content.readline():
                text = line.decode().rstrip("\n")
                if not text:
                    if not seen:
                        continue
                    self.cursor = fields.get("id", self.cursor)
                    data = orjson.loads(fields["data"]) if "data" in fields else None
                    return Message(fields.get("event"), data, fields.get("id"))
                seen = True
                name, _, value = text.partition(":")
                assert name in ("", "event", "data", "id", "retry"), text
                assert name not in fields or name == "", "an event has each field once"
                fields[name] = value.removeprefix(" ")
        return None

    async def next(self) -> Message:
        """The next event."""
        while (found := await self.block()) is not None:
            if found.name is not None:
                return found
        raise AssertionError("the stream has ended")

    async def until(self, name: str) -> list[Message]:
        """The events up to one of this name, which is the last."""
        found = [await self.next()]
        while found[-1].name != name:
            found.append(await self.next())
        return found

    async def changes(self, count: int) -> list[tuple[str, str]]:
        """Action and row id of the next changes; anything else fails."""
        found = [await self.next() for _ in range(count)]
        assert {message.name for message in found} <= {"change"}, found
        return [(message.data["actionType"], message.data["modelId"]) for message in found]


@contextlib.asynccontextmanager
async def following(client: Client, cursor: str | None = None, **parameters: Any) -> AsyncIterator[Events]:
    """A stream that is open; `where` is given as what it is the JSON of."""
    query = {
        name: value if isinstance(value, str) else orjson.dumps(value).decode() for name, value in parameters.items()
    }
    headers = {"Authorization": f"Bearer {client.key}"} | ({} if cursor is None else {"Last-Event-ID": cursor})
    async with client.session.get(client.url + PATH, params=query, headers=headers) as response:
        assert response.status == 200, await response.text()
        yield Events(response)


async def test_changes_by_http_and_sql_arrive_in_commit_order_as_over_the_socket(world: World, client: Client) -> None:
    async with following(client) as events, client.socket() as socket:
        assert events.response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert events.response.headers["X-Accel-Buffering"] == "no"
        assert "no-cache" in events.response.headers["Cache-Control"]
        assert events.response.headers["x-request-id"]
        assert (await events.next()).name == "live"
        await socket.sync()
        await client.create("tasks", "t1", {"title": "line\nbreak"})
        world.database.execute("UPDATE tasks SET status = 'done' WHERE id = 't1'")
        await client.delete("tasks", "t1")
        deltas = await socket.deltas(3)
        found = [await events.next() for _ in range(3)]
        assert [message.data for message in found] == deltas
        assert all(message.name == "change" and message.id for message in found)


async def test_transaction_has_its_cursor_at_its_end_only(client: Client) -> None:
    operations = [{"action": "create", "model": "tasks", "id": f"t{n}", "data": {"title": "x"}} for n in range(3)]
    async with following(client) as events:
        await events.until("live")
        await client.call("POST", "/api/v1/commits", {"operations": operations})
        found = [await events.next() for _ in range(3)]
    assert [message.id is None for message in found] == [True, True, False]


async def test_reader_goes_on_after_its_last_event_by_header_and_by_parameter(client: Client) -> None:
    async with following(client) as events:
        await events.until("live")
        await client.create("tasks", "t1", {"title": "x"})
        await events.changes(1)
        cursor = events.cursor
    await client.create("tasks", "t2", {"title": "x"})
    async with following(client, cursor) as events:
        assert await events.changes(1) == [("I", "t2")]
        assert (await events.next()).name == "live"
    assert cursor is not None
    async with following(client, cursor=cursor, snapshot="1", follow="0") as events:  # where it was says more than rows
        assert await events.changes(1) == [("I", "t2")]
        last = await events.next()
        assert (last.name, last.id is None) == ("live", False)
        assert await events.block() is None
    async with following(client, last.id, follow="0") as events:
        assert (await events.next()).name == "live"


async def test_rows_come_first_and_then_exactly_what_they_lack(world: World, client: Client) -> None:
    """While somebody writes without pause: from any snapshot on every change arrives once, none that it showed."""
    await client.create("tasks", "t1", {"title": "x", "priority": -1})
    await client.create("projects", "p1", {"name": "P"})
    writing = True

    async def write() -> None:
        number = 0
        while writing:
            await client.update("tasks", "t1", {"priority": number})
            number += 1

    writer = asyncio.ensure_future(write())
    for _ in range(5):
        async with following(client, models="tasks", snapshot="1") as events:
            begun = await events.next()
            assert (begun.name, begun.data["models"], begun.id) == ("snapshot", ["Task"], None)
            row = await events.next()
            assert (row.name, row.data["modelId"], row.id) == ("row", "t1", None)
            shown = row.data["data"]["priority"]
            found: list[int] = []
            while len(found) < 3:
                message = await events.next()
                if message.name == "change":
                    found.append(message.data["data"]["priority"])
                else:
                    assert message.name == "live"
            assert found == list(range(shown + 1, shown + 4))
    writing = False
    await writer


async def test_large_snapshot_is_sent_in_pages_and_whole(world: World, client: Client) -> None:
    world.database.execute(
        "INSERT INTO tasks (organization_id, id, title)"
        " SELECT CASE WHEN n % 10 = 0 THEN 'other' ELSE 'acme' END, n::text, repeat('x', n % 500)"
        " FROM generate_series(1, 5000) AS n"
    )
    async with following(client, models="Task", snapshot="1", follow="0") as events:
        found = await events.until("live")
    rows = [message for message in found if message.name == "row"]
    assert {message.data["modelId"] for message in rows} == {str(n) for n in range(1, 5001) if n % 10}
    assert len(rows) == 4500
    assert {len(message.data["data"]["title"]) == int(message.data["modelId"]) % 500 for message in rows} == {True}


# --- what is wanted -------------------------------------------------------------------------------------------------


async def test_models_groups_and_grants_decide_what_arrives(world: World, client: Client) -> None:
    reader = world.client(kind="rk", participant="bot", operations=["task.read"])
    other = world.client("other")
    async with (
        following(client, models="projects") as projects,
        following(reader) as granted,
        following(other) as others,
        following(client, groups="org:acme", models="tasks,projects") as both,
    ):
        for events in (projects, granted, others, both):
            await events.until("live")
        await client.create("tasks", "t1", {"title": "x"})
        await client.create("projects", "p1", {"name": "P"})
        await client.create("tasks", "t2", {"title": "x"})
        await other.create("projects", "o1", {"name": "O"})
        assert await projects.changes(1) == [("I", "p1")]
        assert await granted.changes(2) == [("I", "t1"), ("I", "t2")]
        assert await others.changes(1) == [("I", "o1")]
        assert await both.changes(3) == [("I", "t1"), ("I", "p1"), ("I", "t2")]


async def test_condition_shows_a_row_while_it_holds(world: World, client: Client) -> None:
    await client.create("tasks", "t1", {"title": "a", "status": "doing"})
    await client.create("tasks", "t2", {"title": "b"})
    async with following(client, models="tasks", where=[["status", "=", "doing"]], snapshot="1") as events:
        first = await events.until("live")
        assert [message.data["modelId"] for message in first if message.name == "row"] == ["t1"]
        await client.update("tasks", "t2", {"status": "doing", "priority": 3})
        arrived = await events.next()
        assert (arrived.data["actionType"], arrived.data["data"]["title"]) == ("I", "b")
        await client.update("tasks", "t1", {"status": "done"})
        assert await events.changes(1) == [("D", "t1")]
        await client.create("tasks", "t3", {"title": "c"})  # never seen
        await client.create("tasks", "t4", {"title": "d", "status": "doing"})
        assert await events.changes(1) == [("I", "t4")]
        await client.delete("tasks", "t4")
        assert await events.changes(1) == [("D", "t4")]


async def test_condition_is_exact_where_the_log_has_the_old_row(world: World, client: Client) -> None:
    world.database.execute("ALTER TABLE tasks REPLICA IDENTITY FULL")
    large = "x" * 20_000
    async with following(client, models="tasks", where=[["priority", ">=", 5]]) as events:
        await events.until("live")
        world.database.execute("ALTER TABLE tasks ALTER COLUMN title SET STORAGE EXTERNAL")
        await client.create("tasks", "t1", {"title": large, "priority": 1})
        await client.update("tasks", "t1", {"priority": 2})  # still nothing
        await client.update("tasks", "t1", {"priority": 5})
        arrived = await events.next()
        assert (arrived.data["actionType"], arrived.data["data"]["title"] == large) == ("I", True)
        await client.update("tasks", "t1", {"priority": 6})
        stayed = await events.next()
        assert (stayed.data["actionType"], stayed.data["data"]["priority"]) == ("U", 6)
        await client.update("tasks", "t1", {"priority": 4})
        assert await events.changes(1) == [("D", "t1")]
        await client.update("tasks", "t1", {"priority": 3})
        await client.delete("tasks", "t1")
        await client.create("tasks", "t2", {"title": "end", "priority": 9})
        assert await events.changes(1) == [("I", "t2")]


async def test_value_that_the_log_leaves_out_is_read_and_never_missing(world: World, client: Client) -> None:
    """A row begins to match while its large title did not change: the log has neither the old row nor the title."""
    world.database.execute("ALTER TABLE tasks ALTER COLUMN title SET STORAGE EXTERNAL")
    large = "x" * 20_000
    await client.create("tasks", "t1", {"title": large, "priority": 1})
    async with (
        following(client, models="tasks", where=[["priority", "=", 5]]) as events,
        following(client, models="tasks", where=[["title", "LIKE", "x%"]]) as titled,
    ):
        await events.until("live")
        await titled.until("live")
        await client.update("tasks", "t1", {"priority": 5})
        for stream in (events, titled):
            arrived = await stream.next()
            assert (arrived.data["actionType"], arrived.data["data"]["title"] == large) == ("I", True)
        await client.update("tasks", "t1", {"title": "short"})
        assert (await events.next()).data["data"]["title"] == "short"
        assert await titled.changes(1) == [("D", "t1")]


async def test_conditions_of_several_models_are_an_object(client: Client) -> None:
    where = {"tasks": [["title", "LIKE", "a%"]], "Project": [["name", "IN", ["P", "Q"]]]}
    async with following(client, models="tasks,projects,counters", where=where) as events:
        await events.until("live")
        for row_id, title in (("t1", "b"), ("t2", "ab")):
            await client.create("tasks", row_id, {"title": title})
        for row_id, name in (("p1", "R"), ("p2", "Q")):
            await client.create("projects", row_id, {"name": name})
        await client.create("counters", "7", {})
        assert await events.changes(3) == [("I", "t2"), ("I", "p2"), ("I", "7")]


@pytest.mark.parametrize(
    ("query", "status", "code", "param"),
    [
        ("model=tasks", 400, "invalid_request", "model"),
        ("models=widgets", 400, "unknown_model", "model"),
        ("snapshot=yes", 400, "invalid_request", "snapshot"),
        ("groups=org:other", 403, "capability_scope_denied", "syncGroups"),
        ("groups=Nonsense", 400, "invalid_sync_group", "syncGroups"),
        ('where=[["title","=","x"]]', 400, "invalid_request", "where"),
        ('models=tasks&where={"projects":[["name","=","x"]]}', 400, "unknown_model", "where"),
        ('models=tasks&where=[["nope","=","x"]]', 400, "query_invalid_identifier", "where[0]"),
        ('models=tasks&where=[["isDone","=","x"]]', 400, "query_invalid_boolean", "where[0]"),
        ('models=tasks&where=[["title","<","x"]]', 400, "query_unsupported_operator", "where[0]"),
        ('models=tasks&where=[["title","ILIKE","x"]]', 400, "query_unsupported_operator", "where[0]"),
        ("models=tasks&where=[", 400, "model_query_failed", "where"),
    ],
)
async def test_what_cannot_be_followed_is_refused_with_its_place(
    client: Client, query: str, status: int, code: str, param: str
) -> None:
    assert (await client.get(f"{PATH}?{query}")).error == (status, code, param)


async def test_stream_needs_a_key_and_the_grant(world: World) -> None:
    assert (await world.with_key("nope").get(PATH)).status == 401
    writer = world.client(kind="rk", participant="bot", operations=["task.update"])
    assert (await writer.get(f"{PATH}?models=tasks")).error == (403, "capability_scope_denied", "models")


# --- how it breaks --------------------------------------------------------------------------------------------------


async def test_unknown_cursor_means_bootstrap_and_the_rows_follow_if_they_were_asked_for(client: Client) -> None:
    await client.create("tasks", "t1", {"title": "x"})
    async with following(client, "nonsense") as events:
        first = await events.next()
        assert (first.name, first.data["reason"]) == ("bootstrap", "unknown_cursor")
        assert (await events.next()).name == "live"
        await client.create("tasks", "t2", {"title": "x"})
        assert await events.changes(1) == [("I", "t2")]
    async with following(client, "nonsense", snapshot="1", models="tasks") as events:
        names = [message.name for message in await events.until("live")]
    assert names == ["bootstrap", "snapshot", "row", "row", "live"]


async def test_truncated_table_is_told_and_read_anew(world: World, client: Client) -> None:
    await client.create("tasks", "t1", {"title": "x"})
    async with (
        following(client, snapshot="1", models="tasks") as events,
        following(client, models="projects") as unconcerned,
        following(client) as plain,
    ):
        for stream in (events, unconcerned, plain):
            await stream.until("live")
        world.database.execute("TRUNCATE tasks")
        await client.create("projects", "p1", {"name": "P"})
        found = await events.until("live")
        assert [message.name for message in found] == ["bootstrap", "snapshot", "live"]
        assert (found[0].data["reason"], found[0].data["modelName"]) == ("truncated", "Task")
        assert await unconcerned.changes(1) == [("I", "p1")]
        assert (await plain.next()).name == "bootstrap"
        assert await plain.changes(1) == [("I", "p1")]


async def test_rows_that_are_read_anew_are_of_all_models_also_of_those_pushed_since(
    world: World, client: Client, tmp_path: Path
) -> None:
    schema = SCHEMA.read_text()
    more = "class Later(Model):\n    label: str | None = None\n\n\nschema = Schema(Later, "
    (tmp_path / "schema.py").write_text(schema.replace("schema = Schema(", more))
    async with following(client, snapshot="1") as events, following(client, snapshot="1", models="tasks") as narrow:
        for stream in (events, narrow):
            await stream.until("live")
        push(world.database.dsn, load_schema(str(tmp_path / "schema.py")))
        await client.create("laters", "l1", {"label": "x"})
        assert await events.changes(1) == [("I", "l1")]
        world.database.execute("TRUNCATE tasks")
        rows = [message.data["modelId"] for message in await events.until("live") if message.name == "row"]
        assert rows == ["l1"]
        assert [message.name for message in await narrow.until("live")] == ["bootstrap", "snapshot", "live"]


async def test_slow_reader_costs_no_memory_and_is_told_to_bootstrap(world: World, client: Client) -> None:
    async with following(client, snapshot="1", models="tasks") as events:
        await events.until("live")
        world.gateway.feed.ring.max_bytes = 1
        large = "x" * 200_000
        for number in range(60):  # more than the connection's buffers hold
            await client.create("tasks", f"t{number}", {"title": large})
        found = await events.until("bootstrap")
        assert found[-1].data["reason"] == "too_slow"
        rows = await events.until("live")
        assert len([message for message in rows if message.name == "row"]) == 60


async def test_revoked_key_ends_the_stream_with_its_reason(world: World) -> None:
    client = world.client(participant="one")
    async with following(client) as events:
        await events.until("live")
        revoke = "SELECT pgsync.revoke_credential_v1(c ->> 'capabilityId') FROM pgsync.credentials_v1() AS c"
        world.database.execute(f"{revoke} WHERE c ->> 'participantId' = 'one'")
        last = await events.next()
        assert (last.name, last.data["code"]) == ("end", "apikey_revoked")
        assert await events.block() is None


async def test_key_that_expires_ends_the_stream_with_its_reason(world: World) -> None:
    (soon,) = world.database.execute("SELECT to_json(now() + INTERVAL '1 second') #>> '{}'")
    async with following(world.client(expiresAt=soon[0])) as events:
        last = (await events.until("end"))[-1]
        assert last.data["code"] == "apikey_expired"


async def test_gateway_that_stops_says_so(pushed: postgres.Database) -> None:
    async with aiohttp.ClientSession() as session:
        async with serve(config_of(pushed)) as gateway:
            client = World(gateway, pushed, session).client()
            response = await session.get(gateway.url + PATH, headers={"Authorization": f"Bearer {client.key}"})
            events = Events(response)
            await events.until("live")
        assert "stops" in (await events.next()).data["message"]
        response.close()


async def test_quiet_stream_shows_that_it_lives_and_moves_its_cursor(
    world: World, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes_module, "KEEPALIVE_SECONDS", 0.05)
    async with following(client, models="projects") as events:
        await events.until("live")
        before = events.cursor
        await client.create("tasks", "t1", {"title": "x"})
        while events.cursor == before:
            block = await events.block()
            assert block is not None
            assert block.name is None


async def test_reader_that_stands_still_is_cut_off(
    world: World, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes_module, "STALLED_SECONDS", 0.2)
    router = world.gateway.feed.router
    async with following(client) as events:
        await events.until("live")
        assert len(router) == 1
        large = "x" * 1_000_000
        for number in range(20):
            await client.create("tasks", f"t{number}", {"title": large})

        async def gone() -> bool:
            return len(router) == 0

        await until(gone, "the stream is given up")


async def test_rows_that_are_committed_but_not_visible_yet_arrive_once(world: World, client: Client) -> None:
    """An open transaction at the moment of the snapshot: its rows come as changes, and none twice."""
    with psycopg.connect(world.database.dsn) as open_one:
        open_one.execute("INSERT INTO tasks (organization_id, id, title) VALUES ('acme', 'late', 'x')")
        await client.create("tasks", "seen", {"title": "x"})
        async with following(client, models="tasks", snapshot="1") as events:
            first = await events.until("live")
            assert [message.data["modelId"] for message in first if message.name == "row"] == ["seen"]
            open_one.commit()
            assert await events.changes(1) == [("I", "late")]
            await client.create("tasks", "after", {"title": "x"})
            assert await events.changes(1) == [("I", "after")]


CONDITIONS = [
    [["text", "=", "a%b"]],
    [["text", "!=", "abc"]],
    [["text", "IS NOT", "abc"], ["flag", "IS", None]],
    [["text", "IS", "abc"]],
    [["text", "LIKE", "a%"]],
    [["text", "LIKE", "%b%c%"]],
    [["text", "LIKE", "a_c"]],
    [["text", "LIKE", "a\\%b"]],
    [["text", "LIKE", "%"]],
    [["text", "LIKE", ""]],
    [["text", "NOT LIKE", "%b"]],
    [["text", "IN", ["abc", "bc", ""]]],
    [["text", "NOT IN", ["abc"]]],
    [["text", "IN", []]],
    [["text", "NOT IN", []]],
    [["flag", "=", True]],
    [["flag", "IS NOT", False]],
    [["small", ">", -5], ["small", "<=", 7]],
    [["large", "=", 9007199254740993]],
    [["exact", ">=", "1.10"]],
    [["exact", "=", "NaN"]],
    [["ratio", "<", 1e300]],
    [["ratio", ">", "NaN"]],
    [["ratio", "IN", [0.1, "Infinity"]]],
    [["moment", ">", "2026-01-02T03:04:05+02:00"]],
    [["moment", "=", "2026-01-02T01:04:05.500Z"]],
    [["moment", "<=", "infinity"]],
    [["day", "<", "2026-01-02"]],
    [["day", "IS", None]],
    [["ref", "=", "F0000000-0000-4000-8000-00000000000A"]],
    [["ref", "<", "f0000000-0000-4000-8000-00000000000b"]],
    [["words", "IS NOT", None]],
    [["document", "IS", None]],
]


async def test_stream_and_lists_decide_every_condition_alike(world: World, client: Client) -> None:
    """The rows that a condition has in SQL are those that the matcher lets through as they are inserted."""
    async with following(client, follow="0") as events:
        start = (await events.next()).id
    world.database.execute(
        "INSERT INTO samples (organization_id, id, text, flag, small, large, exact, ratio, moment, day, ref, words)"
        " SELECT 'acme', n::text, (ARRAY['abc', 'bc', 'a%b', '', NULL, E'a\\nc', 'xbyc', 'b'])[n % 8 + 1],"
        " (ARRAY[TRUE, FALSE, NULL])[n % 3 + 1], (ARRAY[-5, 0, 7, NULL, 100])[n % 5 + 1],"
        " 9007199254740992 + n % 3, (ARRAY['1.1', '1.10', '-3', 'NaN', NULL, '1e20'])[n % 6 + 1]::numeric,"
        " (ARRAY['0.1', 'NaN', 'Infinity', '-Infinity', '1e300', NULL])[n % 6 + 1]::float8,"
        " (ARRAY['2026-01-02 01:04:05.5Z', 'infinity', '0044-03-15 00:00Z BC', NULL])[n % 4 + 1]::timestamptz,"
        " (ARRAY['2026-01-02', '2026-01-01', '-infinity', NULL])[n % 4 + 1]::date,"
        " (ARRAY['f0000000-0000-4000-8000-00000000000a', 'f0000000-0000-4000-8000-00000000000b'])[n % 2 + 1]::uuid,"
        " (ARRAY[NULL, '{}', '{a}'])[n % 3 + 1]::text[] FROM generate_series(1, 120) AS n"
    )
    await client.create("samples", "last", {})
    for where in CONDITIONS:
        text = quote(orjson.dumps(where).decode())
        by_sql = {row["id"] for row in (await client.get(f"/api/v1/models/samples?where={text}")).json["data"]}
        async with following(client, start, models="samples", where=where, follow="0") as events:
            by_stream = {message.data["modelId"] for message in await events.until("live") if message.name == "change"}
        assert by_stream == by_sql, where


async def test_readers_that_go_in_the_middle_of_their_rows_leave_nothing_behind(world: World, client: Client) -> None:
    world.database.execute(
        "INSERT INTO tasks (organization_id, id, title)"
        " SELECT 'acme', n::text, repeat('x', 20000) FROM generate_series(1, 300) AS n"
    )
    for _ in range(12):  # more than there are places for those who read rows
        async with following(client, models="tasks", snapshot="1") as events:
            await events.next()
            events.response.close()
    async with following(client, models="tasks", snapshot="1", follow="0") as events:
        assert len([message for message in await events.until("live") if message.name == "row"]) == 300


async def test_stream_goes_on_when_the_database_cuts_every_connection(world: World, client: Client) -> None:
    async with following(client, models="tasks") as events:
        await events.until("live")
        await client.create("tasks", "t1", {"title": "x"})
        assert await events.changes(1) == [("I", "t1")]
        world.database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        world.database.execute("UPDATE tasks SET title = 'y' WHERE id = 't1'")
        assert await events.changes(1) == [("U", "t1")]
