"""A read rule binds the live stream as row security binds reads, also when a row begins or ceases to match."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from pgsync.gateway import claim_lines, serve
from pgsync.push import push
from pgsync.schema import Field, Model, Ref, Schema, load_schema
from tests import postgres
from tests.acceptance.conftest import World, config_of
from tests.acceptance.test_changes import following
from tests.acceptance.test_live_claims import begin, heard, settled

SCHEMA: Final = Path(__file__).parents[2] / "examples" / "tasks" / "schema.py"


@pytest.fixture
async def ruled(database: postgres.Database) -> AsyncIterator[World]:
    """A gateway on the schema of the demo, whose comments their author can keep private."""
    push(database.dsn, load_schema(str(SCHEMA)))
    async with serve(config_of(database)) as gateway, aiohttp.ClientSession() as session:
        yield World(gateway, database, session)


async def test_private_rows_reach_their_author_only(ruled: World) -> None:
    ada, bob = ruled.client(kind="ek", participant="ada"), ruled.client(kind="ek", participant="bob")
    await ada.create("tasks", "t1", {"title": "x"})
    async with ada.socket("org:acme") as hers, bob.socket("org:acme") as his:
        head = await ada.head()
        await hers.sync(head)
        await his.sync(head)
        comment = {"body": "one", "private": True, "author_id": "ada", "task_id": "t1"}
        assert (await ada.create("comments", "c1", comment)).status == 200
        assert (await ada.update("comments", "c1", {"body": "two"})).status == 200
        assert (await ada.update("comments", "c1", {"private": False})).status == 200
        assert (await ada.update("comments", "c1", {"body": "three"})).status == 200
        assert (await ada.update("comments", "c1", {"private": True, "body": "secret"})).status == 200
        assert (await ada.delete("comments", "c1")).status == 200
        assert (await ada.update("tasks", "t1", {"title": "end"})).status == 200

        seen = await hers.deltas(7)
        assert [delta["actionType"] for delta in seen] == ["I", "U", "U", "U", "U", "D", "U"]
        his_own = await his.deltas(4)
        assert [(delta["actionType"], delta["modelId"]) for delta in his_own] == [
            ("I", "c1"),
            ("U", "c1"),
            ("D", "c1"),
            ("U", "t1"),
        ]
        assert his_own[0]["data"]["body"] == "two"
        assert his_own[2]["data"] is None
        assert "secret" not in str(his.frames)


async def test_a_catch_up_is_bound_by_the_rule_too(ruled: World) -> None:
    ada, bob = ruled.client(kind="ek", participant="ada"), ruled.client(kind="ek", participant="bob")
    await ada.create("tasks", "t1", {"title": "x"})
    head = await ada.head()
    comment = {"body": "secret", "private": True, "author_id": "ada", "task_id": "t1"}
    await ada.create("comments", "c1", comment)
    async with bob.socket("org:acme") as his:
        answer = await his.sync(head)
        assert answer["deltas"] == []
    partial = await bob.get(f"/api/sync/bootstrap?lastSyncId={head}")
    assert b"secret" not in partial.body
    partial = await ada.get(f"/api/sync/bootstrap?lastSyncId={head}")
    assert b"secret" in partial.body


async def test_claims_on_private_rows_are_told_to_those_who_see_them(
    monkeypatch: pytest.MonkeyPatch, database: postgres.Database
) -> None:
    monkeypatch.setattr(claim_lines, "REFRESH_SECONDS", 0.3)
    push(database.dsn, load_schema(str(SCHEMA)))
    async with serve(config_of(database)) as gateway, aiohttp.ClientSession() as session:
        world = World(gateway, database, session)
        ada, bob = world.client(kind="ek", participant="ada"), world.client(kind="ek", participant="bob")
        carol = world.client(kind="ek", participant="carol")
        await ada.create("tasks", "t1", {"title": "x"})
        comment = {"body": "one", "private": True, "author_id": "ada", "task_id": "t1"}
        assert (await ada.create("comments", "c1", comment)).status == 200
        async with ada.socket() as hers, bob.socket() as his, carol.socket() as carols:
            await begin(hers, "c-comment", {"entityType": "comment", "entityId": "c1"})
            await begin(hers, "c-task", {"entityType": "task", "entityId": "t1"})
            peer = await heard(his, "presence_update", userId="ada")
            assert [claim["claimId"] for claim in peer["activeClaims"]] == ["c-task"]
            # A row that one does not see is claimed as a missing one, among those who do not see it.
            for row_id in ("c1", "c-missing"):
                target = {"entityType": "comment", "entityId": row_id}
                blind = await begin(his, f"his-{row_id}", target, queue=True)
                assert (blind["frame"], blind["fenceToken"]) == ("claim_acquired", 1)
                waits = await begin(carols, f"carols-{row_id}", target, queue=True)
                assert (waits["frame"], waits["heldBy"]) == ("claim_queued", "bob")
                while not (line := await heard(his, "claim_queue"))["queue"] or line["target"]["id"] != row_id:
                    pass
                await his.send("claim_abandon", {"claimId": f"his-{row_id}"})
                assert (await heard(carols, "claim_granted"))["claimId"] == f"carols-{row_id}"
                await carols.send("claim_abandon", {"claimId": f"carols-{row_id}"})
            assert all(
                entry["id"] != "carols-c1"
                for frame in await settled(hers)
                if frame["type"] == "claim_queue"
                for entry in frame["payload"]["queue"]
            )
            await ada.update("comments", "c1", {"private": False})
            while len((await heard(his, "presence_update", userId="ada"))["activeClaims"]) < 2:
                pass
            await begin(his, "c-bob", {"entityType": "comment", "entityId": "c1"}, queue=True)
            assert [entry["id"] for entry in (await heard(his, "claim_queue"))["queue"]] == ["c-bob"]
            await ada.update("comments", "c1", {"private": True})
            while len((await heard(his, "presence_update", userId="ada"))["activeClaims"]) > 1:
                pass


class Person(Model):
    name: str


class Team(Model, scope=True):
    name: str


class Member(Model, grants=("person", "team")):
    person_id: Ref[Person] = Field(fk=False)
    team_id: Ref[Team] = Field(fk=False)


class Notice(Model, rule="against IS NULL OR NOT (against = ANY (actor.groups))"):
    against: str | None = None


@pytest.mark.parametrize("by_membership", [False, True])
async def test_who_asks_for_fewer_groups_sees_no_row_that_a_rule_hides_from_it(
    server: postgres.Server, by_membership: bool
) -> None:
    database = server.create_database()
    push(database.dsn, Schema(Person, Team, Member, Notice))
    statement = "INSERT INTO members (organization_id, id, person_id, team_id) VALUES ('acme', 'm', 'ada', 'red')"
    if by_membership:
        database.execute(statement)

    def post(row_id: str) -> None:
        for against in ("red", "blue"):
            database.execute(
                "INSERT INTO notices (organization_id, id, against) VALUES ('acme', %s, %s)",
                (f"{row_id}-{against}", f"team:{against}"),
            )

    try:
        async with serve(config_of(database)) as gateway, aiohttp.ClientSession() as session:
            world = World(gateway, database, session)
            named: dict[str, Any] = {} if by_membership else {"syncGroups": ["org:acme", "team:red"]}
            ada = world.client(kind="ek", participant="ada", **named)
            async with (
                ada.socket("org:acme") as narrow,
                ada.socket() as whole,
                following(ada, groups="org:acme", snapshot="1") as events,
            ):
                await events.until("live")
                await narrow.sync(await ada.head())
                await whole.sync(await ada.head())
                post("a")
                for socket in (narrow, whole):
                    assert [delta["modelId"] for delta in await socket.deltas(1)] == ["a-blue"]
                assert await events.changes(1) == [("I", "a-blue")]
                await whole.send("update_subscription", {"syncGroups": ["org:acme"]})
                assert (await whole.wait_for("subscription_ack"))["success"]
                post("b")
                for socket in (narrow, whole):
                    assert [delta["modelId"] for delta in await socket.deltas(1)] == ["b-blue"]
                assert await events.changes(1) == [("I", "b-blue")]
                await narrow.send("bootstrap_request")
                answers = [await narrow.wait_for("bootstrap_response")]
                for query in ("", "?syncGroups=org:acme"):
                    answers.append((await ada.get(f"/api/sync/bootstrap{query}")).json)
                for answer in answers:
                    assert {row["id"] for row in answer["models"]["Notice"]} == {"a-blue", "b-blue"}
                async with following(ada, groups="org:acme", snapshot="1") as again:
                    rows = [message.data["modelId"] for message in await again.until("live") if message.name == "row"]
                    assert set(rows) & {"a-red", "b-red"} == set()
    finally:
        database.drop()


async def test_a_push_of_another_rule_has_clients_load_the_rows_anew(server: postgres.Server) -> None:
    class Memo(Model):
        secret: bool = False

    class Ruled(Model, key="memos", table="memos", typename="Memo", rule="NOT secret"):
        secret: bool = False

    database = server.create_database()
    push(database.dsn, Schema(Memo))
    try:
        async with serve(config_of(database)) as gateway, aiohttp.ClientSession() as session:
            ada = World(gateway, database, session).client(kind="ek", participant="ada")
            for row_id, secret in (("m1", True), ("m2", False)):
                await ada.create("memos", row_id, {"secret": secret})
            async with ada.socket() as socket, following(ada) as events:
                await events.until("live")
                head = await ada.head()
                assert not (await socket.sync(head)).get("requiresBootstrap")
                push(database.dsn, Schema(Ruled))
                assert (await socket.wait_for("sync_response"))["requiresBootstrap"]
                assert (await events.next()).name == "bootstrap"
            async with ada.socket() as socket:
                assert (await socket.sync(head))["requiresBootstrap"]
            rows = (await ada.get("/api/sync/bootstrap")).json["models"]["Memo"]
            assert [row["id"] for row in rows] == ["m2"]
    finally:
        database.drop()
