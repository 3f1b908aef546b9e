"""Presence: who is there and what they hold, told to those who share a group, on every gateway and however one goes."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from pgsync.gateway import presence
from tests.acceptance import contract
from tests.acceptance.conftest import Client, Socket, World, until
from tests.acceptance.test_live_claims import at, begin, coordination, heard, second_gateway, settled

ROOT = Path(__file__).resolve().parents[2]


async def seen(socket: Socket, kind: str, user: str) -> dict[str, Any]:
    """The next presence frame of this kind about somebody."""
    return await heard(socket, "presence_update", kind=kind, userId=user)


async def test_peers_of_a_group_hear_who_comes_changes_and_goes(world: World) -> None:
    a, b = world.client(participant="a", kind="rk"), world.client(participant="b", kind="ek")
    async with b.socket() as second:
        await second.send("presence_update", {"status": "online", "timezone": "Europe/Zurich", "customStatus": "lunch"})
        async with a.socket() as first:
            there = await seen(first, "enter", "b")
            assert (there["status"], there["timezone"], there["customStatus"]) == ("online", "Europe/Zurich", "lunch")
            assert (there["participantKind"], there["isAgent"], there["activeClaims"]) == ("user", False, [])
            assert there["syncGroups"] == ["org:acme"]
            activity = {
                "entityType": "task",
                "entityId": "t1",
                "action": "editing",
                "detail": "the title",
                "field": "title",
                "fields": ["title"],
                "meta": {"x": 1},
                "loadFactor": 0.5,
                "acceptingNewWork": True,
            }
            await first.send("presence_update", {"status": "busy", "activity": activity, "mesh": {"role": "worker"}})
            came = await seen(second, "enter", "a")
            assert (came["status"], came["activity"], came["mesh"]) == ("busy", activity, {"role": "worker"})
            assert (came["participantKind"], came["isAgent"]) == ("agent", True)
            await first.send("presence_update", {"status": "away"})
            changed = await seen(second, "update", "a")
            assert (changed["status"], "activity" in changed) == ("away", False)
        gone = await seen(second, "leave", "a")
        assert gone["status"] == "offline"


async def test_what_a_client_may_not_say_of_itself_is_said_by_the_server(world: World) -> None:
    a, b = world.client(participant="a"), world.client(participant="b")
    async with a.socket() as first, b.socket() as second:
        claim = {"claimId": "no", "entityType": "task", "entityId": "t1", "declaredAt": 1, "expiresAt": 2}
        await first.send(
            "presence_update",
            {
                "userId": "b",
                "kind": "leave",
                "isAgent": True,
                "participantKind": "user",
                "syncGroups": ["org:other"],
                "activeClaims": [claim],
                "timestamp": 5,
                "delegatedFrom": "boss",
                "activity": {"entityType": "task"},
            },
        )
        came = await seen(second, "enter", "a")
        assert (came["isAgent"], came["participantKind"], came["syncGroups"]) == (False, "system", ["org:acme"])
        assert came["activeClaims"] == []
        assert "delegatedFrom" not in came
        assert "activity" not in came


async def test_only_those_who_share_a_group_are_told_and_only_of_that_group(world: World) -> None:
    red = world.client(participant="red", syncGroups=["org:acme", "team:red"])
    both = world.client(participant="both", syncGroups=["team:red", "team:blue"])
    blue = world.client(participant="blue", syncGroups=["team:blue"])
    other = world.client("other", participant="foreign", syncGroups=["team:red"])
    async with red.socket() as r, both.socket() as x, blue.socket() as s, other.socket() as foreign:
        await r.send("presence_update", {})
        assert (await seen(x, "enter", "red"))["syncGroups"] == ["team:red"]
        await x.send("presence_update", {})
        assert (await seen(r, "enter", "both"))["syncGroups"] == ["team:red"]
        assert (await seen(s, "enter", "both"))["syncGroups"] == ["team:blue"]
        assert await settled(foreign) == []
        # groups that change while connected
        await x.send("update_subscription", {"syncGroups": ["team:blue"]})
        assert (await seen(r, "leave", "both"))["userId"] == "both"
        assert (await seen(x, "leave", "red"))["userId"] == "red"
        await x.send("update_subscription", {"syncGroups": ["team:red"]})
        await seen(s, "leave", "both")
        await seen(r, "enter", "both")
        await seen(x, "enter", "red")
        assert all(frame["payload"]["userId"] == "both" for frame in s.frames)


async def test_participant_with_two_tabs_leaves_with_the_last(world: World) -> None:
    a, b = world.client(participant="a"), world.client(participant="b")
    async with b.socket() as watching:
        async with a.socket() as one:
            await one.send("presence_update", {"status": "busy"})
            async with a.socket() as two:
                await two.send("presence_update", {"status": "online"})
                await heard(watching, "presence_update", userId="a", status="online")
                assert await settled(one) == []  # one's own tabs are no peers
                await one.send("presence_update", {"status": "busy"})  # the same as before, but later
                await heard(watching, "presence_update", userId="a", status="busy")
                await two.send("presence_update", {"status": "away"})
                await heard(watching, "presence_update", userId="a", status="away")
            await heard(watching, "presence_update", userId="a", status="busy", kind="update")
        await seen(watching, "leave", "a")
    assert [frame["payload"]["kind"] for frame in watching.frames if frame["type"] == "presence_update"][-1] == "leave"


async def test_what_a_tab_says_last_counts_also_within_a_millisecond(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "_now_ms", lambda: 1_700_000_000_000)
    a, b = world.client(participant="a"), world.client(participant="b")
    async with b.socket() as watching, a.socket() as one, a.socket() as two:
        await one.send("presence_update", {"status": "busy"})
        await heard(watching, "presence_update", userId="a", status="busy")
        await two.send("presence_update", {"status": "away"})
        await heard(watching, "presence_update", userId="a", status="away")
        await one.send("presence_update", {"status": "busy"})
        await heard(watching, "presence_update", userId="a", status="busy")


async def test_claims_are_shown_with_who_holds_them_however_they_were_taken(world: World) -> None:
    a, b = world.client(participant="a"), world.client(participant="b")
    await a.create("tasks", "t1", {"title": "x"})
    async with b.socket() as watching:
        held = contract.granted(await a.call("POST", "/api/v1/models/tasks/t1/claim", {"description": "by http"}))
        came = await seen(watching, "enter", "a")  # who holds something is there, with or without a socket
        (claim,) = came["activeClaims"]
        assert (claim["claimId"], claim["description"], claim["status"]) == (held["id"], "by http", "active")
        assert (claim["entityType"], claim["entityId"]) == ("task", "t1")
        async with a.socket() as socket:
            await socket.send("presence_update", {"status": "busy"})
            both = await heard(watching, "presence_update", userId="a", status="busy")
            assert [one["claimId"] for one in both["activeClaims"]] == [held["id"]]
            await begin(socket, "c-1", {"entityType": "task", "entityId": "t2"})
            assert len((await seen(watching, "update", "a"))["activeClaims"]) == 2
            contract.released(await a.call("DELETE", "/api/v1/models/tasks/t1/claim"))
            while [one["claimId"] for one in (await seen(watching, "update", "a"))["activeClaims"]] != ["c-1"]:
                pass
        contract.released(await a.call("DELETE", "/api/v1/claims/c-1"))
        await seen(watching, "leave", "a")


async def test_one_that_comes_late_learns_who_is_there_and_what_they_hold(world: World) -> None:
    a, b, late = (world.client(participant=name) for name in ("a", "b", "late"))
    async with a.socket() as socket:
        await socket.send("presence_update", {"status": "busy"})
        await begin(socket, "c-1")
        contract.granted(await b.call("POST", "/api/v1/models/tasks/t2/claim", {}))
        async with late.socket() as watching:
            entered: dict[str, dict[str, Any]] = {}
            while len(entered) < 2:  # in no order
                frame = await heard(watching, "presence_update", kind="enter")
                entered[frame["userId"]] = frame
            assert entered["a"]["status"] == "busy"
            assert entered["b"]["activeClaims"]


async def test_many_updates_are_told_as_the_last_of_them(world: World) -> None:
    a, b = world.client(participant="a"), world.client(participant="b")
    async with a.socket() as first, b.socket() as second:
        for number in range(50):
            await first.send("presence_update", {"status": f"s{number}"})
        assert (await seen(second, "enter", "a"))["status"] == "s0"
        assert (await seen(second, "update", "a"))["status"] == "s49"
        assert len([frame for frame in second.frames if frame["type"] == "presence_update"]) == 2


# --- two gateways -------------------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """For gateways that start after this; the killed one has the same."""
    monkeypatch.setattr(presence, "HEARTBEAT_SECONDS", 0.3)
    monkeypatch.setattr(presence, "EXPIRY_SECONDS", 2.0)


def presence_messages(world: World, slot: str) -> list[dict[str, Any]]:
    """What gateways have said since the slot was made."""
    rows = world.database.execute(
        "SELECT convert_from(substring(data FROM 22), 'UTF8') FROM pg_logical_slot_get_binary_changes(%s, NULL, NULL,"
        " 'proto_version', '1', 'publication_names', 'pgsync', 'messages', 'true')"
        " WHERE get_byte(data, 0) = ascii('M') AND position('\"g\"'::bytea IN data) > 0",
        (slot,),
    )
    return [orjson.loads(text) for (text,) in rows]


async def test_peers_at_another_gateway_are_told_the_same(quick: None, world: World) -> None:
    a, b, c = (world.client(participant=name) for name in "abc")
    async with a.socket() as here:
        await here.send("presence_update", {"status": "busy", "mesh": {"x": 1}})
        async with second_gateway(world) as beside, at(b, beside.gateway).socket() as there:
            came = await seen(there, "enter", "a")  # who was there before the other gateway started
            assert (came["status"], came["mesh"], came["syncGroups"]) == ("busy", {"x": 1}, ["org:acme"])
            await there.send("presence_update", {"status": "online"})
            await seen(here, "enter", "b")
            await here.send("presence_update", {"status": "away"})
            assert (await seen(there, "update", "a"))["status"] == "away"
            async with at(a, beside.gateway).socket() as tab:  # the same participant at both
                await tab.send("presence_update", {"status": "tab"})
                while (await seen(there, "update", "a"))["status"] != "tab":
                    pass
            while (await seen(there, "update", "a"))["status"] != "away":
                pass
            async with c.socket() as short:
                await short.send("presence_update", {})
                await seen(there, "enter", "c")
            await seen(there, "leave", "c")
        assert (await seen(here, "leave", "b"))["status"] == "offline"


async def test_alone_a_gateway_says_nothing_but_whether_somebody_is_there(quick: None, world: World) -> None:
    with world.database.connect() as connection:
        connection.execute("SELECT pg_create_logical_replication_slot('listening', 'pgoutput')")
    try:
        a, b = world.client(participant="a"), world.client(participant="b")
        async with a.socket() as first, b.socket() as second:
            for status in ("one", "two", "three"):
                await first.send("presence_update", {"status": status})
            while (await heard(second, "presence_update", userId="a"))["status"] != "three":
                pass
        said = presence_messages(world, "listening")
        assert [message.get("ask") for message in said] == [True]
    finally:
        with world.database.connect() as connection:
            connection.execute("SELECT pg_drop_replication_slot('listening')")


async def test_sessions_of_a_killed_gateway_leave(quick: None, world: World, tmp_path: Path) -> None:
    a, b = world.client(participant="a"), world.client(participant="b")
    program = (
        "import asyncio, sys\n"
        "from pgsync.gateway import presence, serve\n"
        "from pgsync.config import GatewayConfig\n"
        "presence.HEARTBEAT_SECONDS = 0.3\n"
        "async def main():\n"
        "    database, listener, deployment = sys.argv[1:]\n"
        "    config = GatewayConfig(database_url=database, listener_url=listener, port=0, deployment=deployment)\n"
        "    async with serve(config) as gateway:\n"
        "        print('PORT', gateway.port, flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    from pgsync import names

    urls = [world.database.dsn_as(names.GATEWAY), world.database.dsn_as(names.LISTENER), f"{world.database.name}_k"]
    errors = (tmp_path / "errors").open("w")
    process = subprocess.Popen(
        [sys.executable, "-c", program, *urls], cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True
    )
    try:
        assert process.stdout is not None
        loop = asyncio.get_running_loop()
        while not (line := await loop.run_in_executor(None, process.stdout.readline)).startswith("PORT"):
            assert line, (tmp_path / "errors").read_text()
        there = Client(world.session, f"http://127.0.0.1:{line.split()[1]}", a.key)
        async with b.socket() as watching:
            await watching.send("presence_update", {})
            async with there.socket() as doomed:
                await doomed.send("presence_update", {"status": "busy"})
                assert (await seen(watching, "enter", "a"))["status"] == "busy"
                process.send_signal(signal.SIGKILL)
                assert (await seen(watching, "leave", "a"))["status"] == "offline"
    finally:
        process.kill()
        await asyncio.get_running_loop().run_in_executor(None, process.communicate)
        errors.close()


async def test_gateway_that_missed_a_message_asks_again(quick: None, world: World) -> None:
    a, b = world.client(participant="a"), world.client(participant="b")
    async with second_gateway(world) as beside, a.socket() as here, at(b, beside.gateway).socket() as there:
        await here.send("presence_update", {})
        await seen(there, "enter", "a")
        deaf = coordination(beside).presence
        deaf._lose(coordination(world).presence.gateway_id)  # as if it had not heard for long
        await seen(there, "leave", "a")
        await seen(there, "enter", "a")


NONSENSE = (
    "{}",
    '{"g":5,"n":1}',
    '{"g":"x","n":"1"}',
    '{"g":"x","n":true}',
    '{"g":"%s","n":1}' % ("x" * 1000),
    '{"g":"x","n":1,"on":5,"off":{}}',
    '{"g":"x","n":2,"on":[null,5,[],["s"],["s",1,2,3,4,5,6,7]]}',
    '{"g":"x","n":3,"on":[["s","acme","robot","fake",["org:acme"],{},null,1]]}',
    '{"g":"x","n":4,"on":[["s","acme","user","fake",[5],{},null,1]]}',
    '{"g":"x","n":5,"on":[["s","acme","user","fake",["org:acme"],{},null,-1]]}',
    '{"g":"x","n":6,"on":[["s","acme","user","",["org:acme"],{},null,1]]}',
    '{"g":"x","n":7,"on":[["s","acme","user",{},["org:acme"],[],{},1.5]]}',
    '{"g":"x","n":18446744073709551615,"off":[5,null,[]]}',
    '{"g":"x","n":1e300}',
    '{"g":"y","n":1,"bye":true}',
    '{"g":"x","n":8,"bye":true}',
)


async def test_nonsense_in_the_log_is_passed_over(world: World) -> None:
    a, b = world.client(participant="a"), world.client(participant="b")
    async with b.socket() as second:
        for said in NONSENSE:
            text = '{"t":"p"' + (said[:-1].replace("{", ",", 1) if said != "{}" else "") + "}"
            assert orjson.loads(text)["t"] == "p"
            world.say(text)
        await a.create("tasks", "t1", {"title": "after it"})
        async with a.socket() as first:
            await first.send("presence_update", {})
            await seen(second, "enter", "a")
        users = {frame["payload"]["userId"] for frame in second.frames if frame["type"] == "presence_update"}
        assert users == {"a"}


async def test_forged_presence_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "MAX_REMOTE_SESSIONS", 5)
    monkeypatch.setattr(presence, "MAX_PEERS", 2)
    known = coordination(world).presence
    for gateway in ("x", "y", "z"):
        sessions = [
            [f"s{n}", "acme", "user", f"{gateway}{n}", ["org:acme"], {"big": "x" * 9000}, None, 1] for n in range(9)
        ]
        text = orjson.dumps({"t": "p", "g": gateway, "n": 1, "reset": True, "on": sessions}).decode()
        world.say(text)
    await world.client().create("tasks", "t1", {"title": "after them"})

    async def arrived() -> bool:
        return len(known._peers) == 2

    await until(arrived, "the messages are read")
    assert len(known._people) == 5
    assert all(
        session.payload == {"status": "online"} for p in known._people.values() for session in p.sessions.values()
    )


@pytest.mark.parametrize("depth", [200, 251, 253, 600])
def test_what_is_nested_too_deep_to_be_told_is_left_out(depth: int) -> None:
    deep: Any = 1
    for _ in range(depth):
        deep = {"a": deep}
    activity = {"entityType": "task", "entityId": "t1", "action": "editing", "meta": {"deep": deep}}
    for said in ({"deep": deep}, {"activity": activity}):
        payload = presence.payload_of(said)
        orjson.dumps({"on": [["1", "acme", payload]]})
        assert (payload == {"status": "online"}) is (depth > 244)
