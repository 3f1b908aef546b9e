"""What a client is told of its peers makes sense by itself, however much of it was never sent."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import orjson
import pytest

from pgsync.gateway.active_schema import ServedSchema
from pgsync.gateway.authenticate import Credential
from pgsync.gateway.claim_lines import ClaimLines
from pgsync.gateway.database import Database
from pgsync.gateway.member import Member, Members
from pgsync.gateway.presence import Presence
from pgsync.stream.transaction import Notice

GROUPS = ("team:red", "team:blue")


class Watcher:
    """A client that takes what waits for it now and then."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.peers: dict[str, list[str]] = {}

    async def _take(self, frame: bytes) -> None:
        payload: dict[str, Any] = orjson.loads(frame)["payload"]
        kind, peer = payload["kind"], payload["userId"]
        assert (kind == "enter") == (peer not in self.peers), payload
        if kind == "leave":
            del self.peers[peer]
        else:
            self.peers[peer] = payload["syncGroups"]

    async def read(self) -> None:
        """Takes everything that waits."""
        running = asyncio.create_task(self.member.outbox.run(self._take))
        while len(self.member.outbox) and not running.done():
            await asyncio.sleep(0)
        if running.done():
            running.result()
        running.cancel()


def member_of(participant: str, groups: frozenset[str]) -> Member:
    credential = Credential.from_json(
        {
            "keyKind": "ek",
            "organizationId": "acme",
            "projectId": None,
            "branchId": None,
            "branchRoot": False,
            "participantKind": "user",
            "participantId": participant,
            "syncGroups": list(GROUPS),
            "operations": [],
            "expiresAt": None,
            "userMeta": {},
        }
    )

    async def catch_up() -> int | None:
        return None

    return Member(credential, groups, on_overflow=lambda: None, catch_up=catch_up)


def presence_of(members: Members) -> Presence:
    database = Database("", size=1)  # which nothing here asks
    lines = ClaimLines(database, database, ServedSchema(database), members)
    return Presence(database, members, lines, is_listening=lambda: True)


async def test_who_is_there_is_told_in_the_order_of_ids() -> None:
    names = [f"user {n:02}" for n in range(60)]
    here, there = names[::2], names[1::2]
    Random(1).shuffle(here)
    Random(2).shuffle(there)
    members = Members()
    presence = presence_of(members)

    def join(participant: str, *groups: str) -> Watcher:
        member = member_of(participant, frozenset(groups))
        members.add(member)
        presence.joined(member)
        return Watcher(member)

    first = join("first", "team:red")
    for name in here:
        presence.said(join(name, "team:red").member, {})
    await first.read()
    said: list[Any] = [[name, "acme", "user", name, ["team:red"], {}, None, 1] for name in there]
    presence.notice(Notice("p", 1, {"g": "other", "n": 1, "reset": True, "on": said}))
    await first.read()
    assert [*first.peers] == here + sorted(there)  # as they came, and what came at once by id

    newcomer, stranger = join("newcomer", "team:red"), join("stranger", "team:blue")
    await newcomer.read()
    assert [*newcomer.peers] == names
    stranger.member.groups = frozenset({"team:red"})
    presence.regrouped(stranger.member, frozenset({"team:blue"}))
    await stranger.read()
    assert [*stranger.peers] == names


@pytest.mark.parametrize("seed", range(20))
async def test_who_is_known_never_enters_and_who_is_not_never_leaves_or_changes(seed: int) -> None:
    chance = Random(seed)
    members = Members()
    presence = presence_of(members)

    def some_groups() -> frozenset[str]:
        return frozenset(chance.sample(GROUPS, chance.randint(0, 2)))

    def join(participant: str) -> Member:
        member = member_of(participant, some_groups())
        members.add(member)
        presence.joined(member)
        return member

    def regroup(member: Member) -> None:
        before, member.groups = member.groups, some_groups()
        presence.regrouped(member, before)

    watcher = Watcher(join("watcher"))
    others: list[Member] = []
    for _ in range(80):
        match chance.choice(("join", "say", "say", "leave", "regroup", "regroup", "read")):
            case "join" if len(others) < 4:
                others.append(join(chance.choice(("ada", "bob"))))
                presence.said(others[-1], {"status": "here"})
            case "say" if others:
                presence._local[member := chance.choice(others)].said_at = float("-inf")
                presence.said(member, {"status": f"{chance.random()}"})
            case "leave" if others:
                member = others.pop(chance.randrange(len(others)))
                presence.left(member, is_last=members.remove(member))
            case "regroup":
                regroup(chance.choice([watcher.member, *others]))
            case "read":
                await watcher.read()
    await watcher.read()
    there = {
        name: sorted(shared)
        for name in ("ada", "bob")
        if (shared := {g for o in others if o.participant[2] == name for g in o.groups} & watcher.member.groups)
    }
    assert watcher.peers == there
