"""A membership that comes or goes changes what live clients of its participant see, while they are connected."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from random import Random
from typing import Any, Final

import aiohttp
import orjson
import psycopg
import pytest

from pgsync.gateway import serve
from pgsync.push import push
from pgsync.schema import Field, Model, Ref, Schema
from tests import postgres
from tests.acceptance.conftest import LIMIT_SECONDS, Client, Socket, World, config_of, until

SEEDS: Final = int(os.environ.get("PGSYNC_MEMBERSHIP_SEEDS", "3"))


class Person(Model):
    name: str


class Workspace(Model, scope=True):
    name: str


class Document(Model):
    title: str
    workspace_id: Ref[Workspace] = Field(parent=True, on_delete="cascade")


class Team(Model):
    name: str


class Member(Model, grants=("person", "workspace")):
    person_id: Ref[Person] = Field(fk=False)
    workspace_id: Ref[Workspace] = Field(on_delete="cascade")
    team_id: Ref[Team] | None = Field(None, on_delete="cascade")


SCHEMA = Schema(Person, Workspace, Document, Team, Member)


def without_grants() -> Schema:
    """The same, with memberships that grant nothing."""

    class Member(Model):
        person_id: Ref[Person] = Field(fk=False)
        workspace_id: Ref[Workspace] = Field(on_delete="cascade")
        team_id: Ref[Team] | None = Field(None, on_delete="cascade")

    return Schema(Person, Workspace, Document, Team, Member)


@pytest.fixture(scope="module")
def shared_template(server: postgres.Server) -> Iterator[postgres.Database]:
    with server.lend() as database:
        push(database.dsn, SCHEMA)
        yield database


@pytest.fixture
def shared(server: postgres.Server, shared_template: postgres.Database) -> Iterator[postgres.Database]:
    """Workspaces w1 and w2 of acme with a document each, and w1 of globex with another."""
    with server.lend(template=shared_template) as database:
        for organization, workspace in (("acme", "w1"), ("acme", "w2"), ("globex", "w1")):
            database.execute(
                "INSERT INTO workspaces (organization_id, id, name) VALUES (%s, %s, 'x')", (organization, workspace)
            )
            write(database, organization, f"{organization}-{workspace}", workspace)
        yield database


@pytest.fixture
async def live(shared: postgres.Database) -> AsyncIterator[World]:
    async with serve(config_of(shared)) as gateway, aiohttp.ClientSession() as session:
        yield World(gateway, shared, session)


def write(database: postgres.Database, organization: str, row_id: str, workspace: str) -> None:
    database.execute(
        "INSERT INTO documents (organization_id, id, title, workspace_id) VALUES (%s, %s, 'x', %s)",
        (organization, row_id, workspace),
    )


def grant(
    database: postgres.Database,
    person: str,
    workspace: str,
    *,
    organization: str = "acme",
    team: str | None = None,
) -> None:
    database.execute(
        "INSERT INTO members (organization_id, id, person_id, workspace_id, team_id) VALUES (%s, %s, %s, %s, %s)",
        (organization, f"{person}-{workspace}", person, workspace, team),
    )


def revoke(database: postgres.Database, person: str, workspace: str) -> None:
    database.execute("DELETE FROM members WHERE person_id = %s AND workspace_id = %s", (person, workspace))


def member(world: World, participant: str) -> Client:
    return world.client(kind="ek", participant=participant)


async def bootstrap(client: Client) -> Any:
    while (reply := await client.get("/api/sync/bootstrap")).status == 503:
        await asyncio.sleep(0)  # the gateway has lost its connection and says so
    return reply.json


async def beyond(client: Client, sync_id: int) -> bool:
    return await client.head() > sync_id


class Rows:
    """What a client of the contract has: deltas applied, and rows loaded anew when it is told to."""

    def __init__(self, client: Client, socket: Socket) -> None:
        self.documents: dict[str, Any] = {}
        self.seen: set[str] = set()
        self.ids: list[int] = []  # of the deltas since rows were loaded
        self.position = 0  # as it was said last
        self.bootstraps = 0
        self._client = client
        self._socket = socket

    async def load(self) -> None:
        answer = await bootstrap(self._client)
        self.documents = {row["id"]: row for row in answer["models"]["Document"]}
        self.seen |= set(self.documents)
        self.ids.clear()
        await self.ask(answer["lastSyncId"])

    def use(self, socket: Socket) -> None:
        """Goes on with another socket."""
        self._socket = socket

    async def ask(self, position: int) -> None:
        """As a client does that has loaded rows; the answer comes among the deltas."""
        await self._socket.send("sync_request", {"lastSyncId": position, "capabilities": [], "protocolVersion": 1})

    async def _take(self, payload: Any) -> None:
        if payload.get("requiresBootstrap"):
            self.bootstraps += 1
            await self.load()
            return
        for delta in payload.get("deltas", [payload] if "modelName" in payload else []):
            self.ids.append(delta["id"])
            if delta["modelName"] == "Document":
                row_id = delta["modelId"]
                if delta["actionType"] == "D":
                    self.documents.pop(row_id, None)
                elif delta["actionType"] == "I" or row_id in self.documents:
                    self.documents[row_id] = self.documents.get(row_id, {}) | delta["data"]
                self.seen |= set(self.documents)

    async def until(self, *documents: str) -> None:
        """Reads on until these are what it has."""
        while set(self.documents) != set(documents):
            await self._next()

    async def until_there(self, document: str) -> None:
        """Reads on until it has this one, and what was on the way beside it."""
        while document not in self.documents:
            await self._next()
        head = await self._client.head()
        await self.ask(head)
        while self.position < head:
            await self._next()

    async def _next(self) -> None:
        frame = await self._socket.receive()
        if frame["type"] in ("delta", "sync_response"):
            await self._take(frame["payload"])
        if frame["type"] == "sync_response":
            self.position = 0 if frame["payload"].get("requiresBootstrap") else frame["payload"]["currentSyncId"]


async def test_a_grant_and_its_end_reach_every_socket_of_the_participant(live: World) -> None:
    ada, bob = member(live, "ada"), member(live, "bob")
    async with ada.socket() as first, ada.socket() as second, bob.socket() as others:
        sessions = [Rows(ada, first), Rows(ada, second)]
        his = Rows(bob, others)
        for rows in (*sessions, his):
            await rows.load()
            assert rows.documents == {}
        grant(live.database, "ada", "w1")
        for rows in sessions:
            await rows.until("acme-w1")
        write(live.database, "acme", "new", "w1")
        write(live.database, "acme", "elsewhere", "w2")
        write(live.database, "globex", "abroad", "w1")
        for rows in sessions:
            await rows.until("acme-w1", "new")
        revoke(live.database, "ada", "w1")
        for rows in sessions:
            await rows.until()
        write(live.database, "acme", "hidden", "w1")
        grant(live.database, "bob", "w2")
        await his.until("acme-w2", "elsewhere")
        for rows in sessions:
            assert "hidden" not in str(rows._socket.frames)
            assert rows.bootstraps <= 1  # a change that comes right after another may be told in short
        assert "acme-w1" not in str(others.frames)


async def test_what_was_written_between_grant_and_revoke_is_never_shown_after_the_revoke(live: World) -> None:
    ada = member(live, "ada")
    grant(live.database, "ada", "w2")
    async with ada.socket() as socket:
        rows = Rows(ada, socket)
        await rows.load()
        for number in range(10):
            grant(live.database, "ada", "w1")
            write(live.database, "acme", f"within-{number}", "w1")
            revoke(live.database, "ada", "w1")
            write(live.database, "acme", f"secret-{number}", "w1")
            live.database.execute("DELETE FROM documents WHERE id = %s", (f"within-{number}",))
            live.database.execute("DELETE FROM documents WHERE id = %s", (f"secret-{number}",))
        write(live.database, "acme", "end", "w2")
        await rows.until("acme-w2", "end")
        assert "secret" not in str(socket.frames)
        assert not any(document.startswith("secret") for document in rows.seen)


async def test_rows_are_told_one_by_one_in_the_place_of_the_change(live: World) -> None:
    ada = member(live, "ada")
    head = await ada.head()
    grant(live.database, "ada", "w2")
    # Rows that a client has loaded before the stream is where they are would have it find this change on its way.
    await until(lambda: beyond(ada, head), "the stream has the membership")
    async with ada.socket() as socket:
        rows = Rows(ada, socket)
        await rows.load()
        before = await ada.head()
        with live.database.connect(autocommit=False) as connection:
            connection.execute(
                "INSERT INTO members (organization_id, id, person_id, workspace_id) VALUES ('acme', 'm', 'ada', 'w1')"
            )
            connection.execute(
                "INSERT INTO documents (organization_id, id, title, workspace_id) VALUES ('acme', 'b', 'b', 'w1')"
            )
            connection.execute("UPDATE documents SET title = 'y' WHERE id = 'acme-w2'")
        await rows.until("acme-w1", "acme-w2", "b")
        await rows.until_there("b")
        assert rows.position == await ada.head()
        assert rows.bootstraps == 0
        assert rows.documents["acme-w2"]["title"] == "y"
        assert rows.ids == sorted(set(rows.ids))
        assert rows.ids[0] > before


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_whatever_happens_at_once_the_client_has_the_rows_that_it_may_see(live: World, seed: int) -> None:
    """PGSYNC_MEMBERSHIP_SEEDS=100 for the long form."""
    random = Random(seed)
    ada = member(live, "ada")
    live.database.execute("INSERT INTO workspaces (organization_id, id, name) VALUES ('acme', 'w0', 'x')")
    grant(live.database, "ada", "w0")
    workspaces = ("w0", "w1", "w2")
    async with ada.socket() as socket, ada.socket() as slow:
        rows, others = Rows(ada, socket), Rows(ada, slow)
        await rows.load()
        await others.load()

        def work() -> None:
            with live.database.connect(autocommit=True) as connection:
                for step in range(60):
                    with connection.transaction():
                        for number in range(random.randint(1, 3)):
                            _one(connection, random, f"{step}-{number}", workspaces)
                    if random.random() < 0.2:
                        time.sleep(random.random() / 10)
                connection.execute(
                    "INSERT INTO members (organization_id, id, person_id, workspace_id)"
                    " VALUES ('acme', 'last', 'ada', 'w0')"
                )
                connection.execute(
                    "INSERT INTO documents (organization_id, id, title, workspace_id) VALUES ('acme', 'end', 'x', 'w0')"
                )

        working = asyncio.create_task(asyncio.to_thread(work))
        await rows.until_there("end")
        await working
        await others.until_there("end")
        shown = (await bootstrap(ada))["models"]["Document"]
        expected = {row["id"]: (row["title"], row["workspace_id"]) for row in shown}
        for one in (rows, others):
            found = {key: (row["title"], row["workspace_id"]) for key, row in one.documents.items()}
            assert found == expected
            assert one.ids == sorted(set(one.ids))


def _one(connection: psycopg.Connection[Any], random: Random, name: str, workspaces: Sequence[str]) -> None:
    match random.randrange(31):
        case 30:  # a change by which everybody is concerned
            connection.execute("TRUNCATE members")
        case 29:  # the gateway has to ask again
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'pgsync gateway reads'"
            )
        case 28:
            connection.execute("DELETE FROM members WHERE person_id = 'ada'")
        case number:
            _write(connection, random, number % 7, name, workspaces)


def _write(
    connection: psycopg.Connection[Any], random: Random, kind: int, name: str, workspaces: Sequence[str]
) -> None:
    workspace = random.choice(workspaces)
    match kind:
        case 0 | 1:
            connection.execute(
                "INSERT INTO members (organization_id, id, person_id, workspace_id) VALUES ('acme', %s, 'ada', %s)"
                " ON CONFLICT DO NOTHING",
                (f"ada-{random.choice(workspaces[1:])}", random.choice(workspaces[1:])),
            )
        case 2:
            connection.execute("DELETE FROM members WHERE id = %s", (f"ada-{random.choice(workspaces[1:])}",))
        case 3:
            connection.execute(
                "INSERT INTO documents (organization_id, id, title, workspace_id) VALUES ('acme', %s, 'x', %s)",
                (name, workspace),
            )
        case 4:
            connection.execute(
                "UPDATE documents SET workspace_id = %s WHERE organization_id = 'acme' AND id IN"
                " (SELECT id FROM documents WHERE organization_id = 'acme' ORDER BY md5(id || %s) LIMIT 2)",
                (workspace, name),
            )
        case 5:
            connection.execute(
                "UPDATE documents SET title = %s WHERE organization_id = 'acme' AND workspace_id = %s",
                (name, workspace),
            )
        case _:
            connection.execute(
                "DELETE FROM documents WHERE organization_id = 'acme' AND id IN"
                " (SELECT id FROM documents WHERE organization_id = 'acme' ORDER BY md5(id || %s) LIMIT 1)",
                (name,),
            )


async def test_a_moved_membership_moves_what_is_seen(live: World) -> None:
    ada = member(live, "ada")
    grant(live.database, "ada", "w1")
    async with ada.socket() as socket:
        rows = Rows(ada, socket)
        await rows.load()
        assert set(rows.documents) == {"acme-w1"}
        live.database.execute("UPDATE members SET workspace_id = 'w2' WHERE person_id = 'ada'")
        await rows.until("acme-w2")
        live.database.execute("UPDATE members SET person_id = 'bob' WHERE person_id = 'ada'")
        await rows.until()


async def test_a_membership_that_goes_by_cascade_takes_the_rows_along(live: World) -> None:
    ada = member(live, "ada")
    live.database.execute("INSERT INTO teams (organization_id, id, name) VALUES ('acme', 'red', 'x')")
    grant(live.database, "ada", "w1", team="red")
    async with ada.socket() as socket:
        rows = Rows(ada, socket)
        await rows.load()
        live.database.execute("DELETE FROM teams WHERE id = 'red'")
        await rows.until()


async def test_truncated_memberships_grant_nothing(live: World) -> None:
    ada = member(live, "ada")
    grant(live.database, "ada", "w1")
    async with ada.socket() as socket:
        rows = Rows(ada, socket)
        await rows.load()
        assert set(rows.documents) == {"acme-w1"}
        live.database.execute("TRUNCATE members")
        await rows.until()
        write(live.database, "acme", "hidden", "w1")
        grant(live.database, "ada", "w2")
        await rows.until("acme-w2")
        assert "hidden" not in str(socket.frames)


async def test_a_membership_of_another_organization_says_nothing_here(live: World) -> None:
    ada = member(live, "ada")
    async with ada.socket() as socket:
        rows = Rows(ada, socket)
        await rows.load()
        grant(live.database, "ada", "w1", organization="globex")
        write(live.database, "globex", "abroad", "w1")
        grant(live.database, "ada", "w2")
        await rows.until("acme-w2")
        assert rows.bootstraps <= 1
        assert "globex" not in str(socket.frames)


async def test_a_client_that_narrowed_its_groups_keeps_them(live: World) -> None:
    ada = member(live, "ada")
    async with ada.socket("workspace:w2") as socket:
        await socket.sync(await ada.head())
        grant(live.database, "ada", "w1")
        grant(live.database, "ada", "w2")
        await socket.send("ping")
        write(live.database, "acme", "hidden", "w1")

        async def follows() -> bool:
            await socket.send("update_subscription", {"syncGroups": ["workspace:w2"]})
            acked: bool = (await socket.wait_for("subscription_ack"))["syncGroups"] == ["workspace:w2"]
            return acked

        await until(follows, "the membership is known")
        write(live.database, "acme", "seen", "w2")
        (delta,) = await socket.deltas(1)
        assert delta["modelId"] == "seen"
        assert "hidden" not in str(socket.frames)


async def test_every_gateway_follows_a_membership_made_through_one(live: World) -> None:
    async with serve(config_of(live.database, deployment="other")) as gateway:
        elsewhere = World(gateway, live.database, live.session)
        ada = member(live, "ada")
        there = elsewhere.with_key(ada.key)
        admin = live.client()
        async with ada.socket() as here, there.socket() as other:
            sessions = [Rows(ada, here), Rows(there, other)]
            for rows in sessions:
                await rows.load()
            made = await admin.create("members", "m1", {"person_id": "ada", "workspace_id": "w1"})
            assert made.status == 200, made.body
            for rows in sessions:
                await rows.until("acme-w1")
            assert (await admin.delete("members", "m1")).status == 200
            for rows in sessions:
                await rows.until()
            assert (await ada.get("/api/v1/models/documents/acme-w1")).json["data"] is None


async def test_a_client_that_comes_back_after_a_change_of_its_memberships_loads_anew(live: World) -> None:
    ada = member(live, "ada")
    grant(live.database, "ada", "w1")
    async with ada.socket() as socket:
        rows = Rows(ada, socket)
        await rows.load()
        cursor = (await socket.sync(await ada.head()))["cursor"]
    revoke(live.database, "ada", "w1")
    grant(live.database, "ada", "w2")
    write(live.database, "acme", "hidden", "w1")
    async with ada.socket(cursor=cursor) as socket:
        again = Rows(ada, socket)
        again.documents = rows.documents
        await again.until("acme-w2")
        assert "hidden" not in str(socket.frames)


async def test_events_follow_memberships_too(live: World) -> None:
    ada = member(live, "ada")
    headers = {"Authorization": f"Bearer {ada.key}"}
    url = f"{ada.url}/api/v1/changes?models=documents&snapshot=1"
    async with ada.session.get(url, headers=headers) as response:
        documents: set[str] = set()

        async def read_until(*wanted: str) -> None:
            name = ""
            while True:
                line = (await response.content.readline()).decode().strip()
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                    if name == "snapshot":
                        documents.clear()
                if line.startswith("data: ") and name in ("row", "change"):
                    said = orjson.loads(line.removeprefix("data: "))
                    documents.add(said["modelId"])
                if name == "live" and documents == set(wanted):
                    return

        await read_until()
        grant(live.database, "ada", "w1")
        await read_until("acme-w1")
        revoke(live.database, "ada", "w1")
        await read_until()
        grant(live.database, "ada", "w2")
        await read_until("acme-w2")


async def test_a_push_that_makes_rows_memberships_or_no_more_is_followed(live: World) -> None:
    grant(live.database, "ada", "w1")
    push(live.database.dsn, without_grants())
    ada, stays = member(live, "ada"), live.client(participant="ci", syncGroups=["org:acme", "workspace:w2"])
    async with stays.socket() as other:
        others = Rows(stays, other)
        await others.load()
        async with ada.socket() as socket:
            rows = Rows(ada, socket)
            await rows.load()
            assert rows.documents == {}
            position, cursor = await ada.head(), (await socket.sync(await ada.head()))["cursor"]
            push(live.database.dsn, SCHEMA)
            await until_closed(socket)
        for resumed in (cursor, ""):
            async with ada.socket(cursor=resumed) as socket:
                rows = Rows(ada, socket)
                await rows.ask(position)
                await rows.until("acme-w1")
                revoke(live.database, "ada", "w1")
                await rows.until()
                grant(live.database, "ada", "w1")
                await rows.until("acme-w1")
        async with ada.socket() as socket:
            rows = Rows(ada, socket)
            await rows.load()
            position = await ada.head()
            push(live.database.dsn, without_grants())
            await until_closed(socket)
        async with ada.socket() as socket:
            rows.use(socket)
            await rows.ask(position)
            await rows.until()
            write(live.database, "acme", "late", "w1")
            write(live.database, "acme", "late2", "w2")
            await others.until_there("late2")
            assert rows.documents == {}
        assert not other.raw.closed, "who follows no memberships stays"


async def until_closed(socket: Socket) -> None:
    """Reads on until the server closes the socket because of a push."""
    async with asyncio.timeout(LIMIT_SECONDS):
        while (message := await socket.raw.receive()).type is aiohttp.WSMsgType.TEXT:
            pass
    assert (message.data, message.extra) == (1012, "schema_changed")
