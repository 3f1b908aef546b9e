"""What clients hear of a push: to load rows anew where what they have is wrong, nothing where there is only more."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from pgsync.gateway import serve
from pgsync.push import push
from pgsync.push.wishes import Backfill, ModelRename, Rename, Wishes
from pgsync.schema import Field, Model, Schema
from tests import postgres
from tests.acceptance.conftest import Socket, World, config_of, until
from tests.acceptance.test_changes import following

BASE: dict[str, Any] = {
    "note": (str | None, None),
    "label": (str | None, Field(None, sql="character varying(40)")),
    "count": (int | None, Field(None, sql="integer")),
}
WITHOUT_NOTE = {name: said for name, said in BASE.items() if name != "note"}


def memo(fields: dict[str, Any], *, name: str = "Memo", index: bool = False, **options: Any) -> type[Model]:
    """A model with these fields beside a title; a field is its type, or type and default."""
    annotations = {key: said[0] if isinstance(said, tuple) else said for key, said in fields.items()}
    defaults = {key: said[1] for key, said in fields.items() if isinstance(said, tuple)}
    title = Field(index=True) if index else Field()
    body = {"__annotations__": {"title": str, **annotations}, "__module__": __name__, "title": title, **defaults}
    return type(name, (Model,), body, **options)


def schema(rule: str | None = None, /, *, index: bool = False, **fields: Any) -> Schema:
    return Schema(memo(fields, index=index, rule=rule))


def with_model() -> Schema:
    class Letter(Model, table="letters"):
        text: str

    return Schema(memo(BASE), Letter)


def renamed() -> Schema:
    return Schema(memo(BASE, name="Letter", key="letters", table="memos"))


LETTERS = """
CREATE TABLE letters (
  organization_id text, id text, text text, created_at timestamptz, updated_at timestamptz, created_by text,
  PRIMARY KEY (organization_id, id)
)
"""


@dataclass(frozen=True)
class Case:
    """A push. `connected`, `back`: whether who is connected, and who comes back from before, is told to bootstrap."""

    after: Schema
    connected: bool = False
    back: bool = False
    wishes: Wishes = field(default_factory=Wishes)
    before: str = ""


CASES = {
    "nullable field": Case(schema(**BASE, due=(str | None, None))),
    "field with a default": Case(schema(**BASE, size=(int, 7)), back=True),
    "field with values by backfill": Case(
        schema(**BASE, size=int), back=True, wishes=Wishes(backfills=(Backfill("memos", "size", 7),))
    ),
    "column that has values": Case(
        schema(**BASE, due=(str | None, None)),
        back=True,
        before="ALTER TABLE memos ADD COLUMN due text; UPDATE memos SET due = 'soon'",
    ),
    "model": Case(with_model()),
    "model of a table with rows": Case(
        with_model(), back=True, before=f"{LETTERS}; INSERT INTO letters VALUES ('acme', 'l1', 'x')"
    ),
    "wider types": Case(
        schema(
            note=(str | None, None),
            label=(str | None, Field(None, sql="character varying(90)")),
            count=(int | None, Field(None, sql="bigint")),
        )
    ),
    "narrower type": Case(
        schema(
            note=(str | None, None),
            label=(str | None, Field(None, sql="character varying(20)")),
            count=(int | None, Field(None, sql="integer")),
        ),
        connected=True,
        back=True,
        wishes=Wishes(force=True),
    ),
    "index": Case(schema(index=True, **BASE)),
    "rule": Case(schema("title <> 'secret'", **BASE), connected=True, back=True),
    "field renamed": Case(
        schema(remark=(str | None, None), **WITHOUT_NOTE),
        connected=True,
        back=True,
        wishes=Wishes(renames=(Rename("memos", "note", "remark"),)),
    ),
    "field removed": Case(
        schema(**WITHOUT_NOTE), connected=True, back=True, wishes=Wishes(allow=frozenset({"memos.note"}))
    ),
    "model renamed": Case(
        renamed(), connected=True, back=True, wishes=Wishes(renames=(ModelRename("memos", "letters"),))
    ),
}


@pytest.fixture(scope="module")
def template(server: postgres.Server) -> Iterator[postgres.Database]:
    with server.lend() as database:
        push(database.dsn, schema(**BASE))
        database.execute("INSERT INTO memos (organization_id, id, title, note) VALUES ('acme', 'm1', 'x', 'y')")
        yield database


@pytest.fixture
async def live(server: postgres.Server, template: postgres.Database) -> AsyncIterator[World]:
    with server.lend(template=template) as database:
        async with serve(config_of(database)) as gateway, aiohttp.ClientSession() as session:
            yield World(gateway, database, session)


async def is_noted(database: postgres.Database) -> bool:
    """Whether everything about the tables has been told: a model that is new is looked at by a gateway."""
    query = (
        "SELECT NOT EXISTS (SELECT FROM pgsync_private.table_states() AS t"
        " LEFT JOIN pgsync_private.table_state AS k USING (model_key)"
        " WHERE k.state IS DISTINCT FROM t.state OR jsonb_strip_nulls(k.fields) <> t.fields)"
    )
    return bool((await asyncio.to_thread(database.execute, query))[0][0])


async def told_before_a_change(database: postgres.Database, socket: Socket) -> int:
    """How often the socket is told to bootstrap before it hears of a change that comes after all else."""
    database.execute("UPDATE memos SET title = 'last'")
    told = 0
    while True:
        frame = await socket.receive()
        payload = frame.get("payload") or {}
        told += bool(payload.get("requiresBootstrap"))
        if frame["type"] == "delta":
            deltas = payload.get("deltas", [payload])
            if deltas[-1]["data"]["title"] == "last":
                return told


@pytest.mark.parametrize("name", CASES)
async def test_push_has_those_bootstrap_whose_rows_it_makes_wrong(live: World, name: str) -> None:
    case = CASES[name]
    if case.before:
        live.database.execute(case.before)
    ada = live.client(kind="ek", participant="ada")
    async with ada.socket() as socket:
        head = await ada.head()
        cursor = (await socket.sync(head))["cursor"]
        await asyncio.to_thread(push, live.database.dsn, case.after, wishes=case.wishes)
        await until(lambda: is_noted(live.database), "the push is told")
        assert await told_before_a_change(live.database, socket) == case.connected
        assert not (await socket.sync(head)).get("requiresBootstrap"), "it has heard of it"
    for where in (None, cursor):
        async with ada.socket(cursor=where or "") as back:
            assert bool((await back.sync(head, where)).get("requiresBootstrap")) == case.back
    caught_up = (await ada.get(f"/api/sync/bootstrap?lastSyncId={head}")).json
    assert caught_up["type"] == ("full" if case.back else "partial")
    async with ada.socket() as back:
        assert not (await back.sync(caught_up["lastSyncId"])).get("requiresBootstrap"), "it has loaded them"
    async with following(ada, cursor) as events:
        assert (await events.next()).name == ("bootstrap" if case.back else "change")


async def test_client_that_comes_before_the_stream_has_the_push_hears_of_it(live: World) -> None:
    """It may be of the new version, which others have got to by the database meanwhile."""
    ada = live.client(kind="ek", participant="ada")
    slots = "SELECT active_pid FROM pg_replication_slots WHERE database = current_database()"
    ((walsender,),) = live.database.execute(slots)
    async with ada.socket() as before:
        head = await ada.head()
        await before.sync(head)
        os.kill(walsender, signal.SIGSTOP)
        try:
            await asyncio.to_thread(push, live.database.dsn, schema(**BASE, size=(int, 7)))

            async def served() -> bool:
                return bool((await ada.get("/api/schema")).json["version"] == 2)

            await until(served, "the gateway has heard of the push")
            async with ada.socket() as after:
                assert not (await after.sync(head)).get("requiresBootstrap")
                os.kill(walsender, signal.SIGCONT)
                assert (await after.wait_for("sync_response"))["requiresBootstrap"]
                assert await told_before_a_change(live.database, before) == 0
        finally:
            os.kill(walsender, signal.SIGCONT)
