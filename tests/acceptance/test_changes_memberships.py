"""An event stream follows the memberships of its reader: rows of a group come with it and go with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from pgsync.gateway import serve
from pgsync.push import push
from tests import postgres
from tests.acceptance.conftest import World, config_of
from tests.acceptance.test_changes import following
from tests.workspaces import SCHEMA


@pytest.fixture
def granting(server: postgres.Server) -> Iterator[postgres.Database]:
    with server.lend() as database:
        push(database.dsn, SCHEMA)
        for workspace in ("w1", "w2"):
            database.execute("INSERT INTO workspaces (organization_id, id, name) VALUES ('acme', %s, 'x')", [workspace])
            write(database, workspace, workspace)
        grant(database, "w1")
        yield database


@pytest.fixture
async def world(granting: postgres.Database) -> AsyncIterator[World]:
    async with serve(config_of(granting)) as gateway, aiohttp.ClientSession() as session:
        yield World(gateway, granting, session)


def grant(database: postgres.Database, workspace: str) -> None:
    database.execute(
        "INSERT INTO members (organization_id, id, person_id, workspace_id) VALUES ('acme', %s, 'ada', %s)",
        [f"ada-{workspace}", workspace],
    )


def write(database: postgres.Database, row_id: str, workspace: str) -> None:
    database.execute(
        "INSERT INTO documents (organization_id, id, title, workspace_id) VALUES ('acme', %s, 'x', %s)",
        [row_id, workspace],
    )


async def test_rows_of_a_group_come_with_its_membership_and_go_with_it(world: World) -> None:
    ada = world.client(kind="ek", participant="ada")
    async with (
        following(ada, models="documents", snapshot="1") as events,
        following(ada, models="documents") as plain,
    ):
        first = await events.until("live")
        assert [message.data["modelId"] for message in first if message.name == "row"] == ["w1"]
        await plain.until("live")
        write(world.database, "d1", "w1")
        write(world.database, "d2", "w2")
        grant(world.database, "w2")
        write(world.database, "d3", "w2")
        assert await events.changes(1) == [("I", "d1")]
        again = await events.until("live")
        assert [message.name for message in again[:2]] == ["bootstrap", "snapshot"]
        assert again[0].data["reason"] == "groups_changed"
        shown = [message.data["modelId"] for message in again if message.name == "row"]
        later = [message.data["modelId"] for message in again if message.name == "change"]
        assert sorted(shown + later) == ["d1", "d2", "d3", "w1", "w2"]

        assert await plain.changes(1) == [("I", "d1")]
        assert (await plain.next()).data["reason"] == "groups_changed"
        await plain.until("live")
        write(world.database, "later", "w2")
        assert (await plain.until("change"))[-1].data["modelId"] in ("d3", "later")

        world.database.execute("DELETE FROM members WHERE workspace_id = 'w1'")
        write(world.database, "d4", "w1")
        write(world.database, "d5", "w2")
        last = await events.until("live")
        left = {message.data["modelId"] for message in last if message.name in ("row", "change")}
        assert {"d2", "d3", "w2"} <= left <= {"d2", "d3", "w2", "later", "d5"}


async def test_reader_that_names_its_groups_is_shown_those_only(world: World) -> None:
    ada, bob = world.client(kind="ek", participant="ada"), world.client(kind="ek", participant="bob")
    grant(world.database, "w2")
    async with following(ada, models="documents", groups="workspace:w2", snapshot="1", follow="0") as events:
        rows = [message.data["modelId"] for message in await events.until("live") if message.name == "row"]
        assert rows == ["w2"]
    async with following(bob, models="documents", snapshot="1") as events:
        assert "row" not in [message.name for message in await events.until("live")]
        write(world.database, "d1", "w1")
        world.database.execute(
            "INSERT INTO members (organization_id, id, person_id, workspace_id) VALUES ('acme', 'bob-w1', 'bob', 'w1')"
        )
        assert (await events.next()).data["reason"] == "groups_changed"
        assert {m.data["modelId"] for m in await events.until("live") if m.name == "row"} == {"d1", "w1"}
