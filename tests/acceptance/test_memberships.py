"""A membership that comes or goes changes what live clients of its participant see, while they are connected."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import orjson
import pytest

from pgsync.gateway import serve
from pgsync.push import push
from pgsync.schema import Field, Model, Ref, Schema
from tests import postgres
from tests.acceptance.conftest import Client, Socket, World, config_of, until


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


@pytest.fixture(scope="module")
def shared_template(server: postgres.Server) -> Iterator[postgres.Database]:
    database = server.create_database()
    push(database.dsn, SCHEMA)
    yield database
    database.drop()


@pytest.fixture
def shared(server: postgres.Server, shared_template: postgres.Database) -> Iterator[postgres.Database]:
    """Workspaces w1 and w2 of acme with a document each, and w1 of globex with another."""
    database = server.create_database(template=shared_template.name)
    for organization, workspace in (("acme", "w1"), ("acme", "w2"), ("globex", "w1")):
        database.execute(
            "INSERT INTO workspaces (organization_id, id, name) VALUES (%s, %s, 'x')", (organization, workspace)
        )
        write(database, organization, f"{organization}-{workspace}", workspace)
    yield database
    database.drop()


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


class Rows:
    """What a client of the contract has: deltas applied, and rows loaded anew when it is told to."""

    def __init__(self, client: Client, socket: Socket) -> None:
        self.documents: dict[str, Any] = {}
        self.seen: set[str] = set()
        self.bootstraps = 0
        self._client = client
        self._socket = socket

    async def load(self) -> None:
        answer = (await self._client.get("/api/sync/bootstrap")).json
        self.documents = {row["id"]: row for row in answer["models"]["Document"]}
        self.seen |= set(self.documents)
        await self._answered(answer["lastSyncId"])

    async def _answered(self, position: int) -> None:
        await self._take(await self._socket.sync(position))

    async def _take(self, payload: Any) -> None:
        if payload.get("requiresBootstrap"):
            self.bootstraps += 1
            await self.load()
            return
        for delta in payload.get("deltas", [payload] if "modelName" in payload else []):
            if delta["modelName"] == "Document":
                if delta["actionType"] == "D":
                    self.documents.pop(delta["modelId"], None)
                else:
                    self.documents[delta["modelId"]] = delta["data"]

    async def until(self, *documents: str) -> None:
        """Reads on until these are what it has."""
        while set(self.documents) != set(documents):
            frame = await self._socket.receive()
            if frame["type"] in ("delta", "sync_response"):
                await self._take(frame["payload"])


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
