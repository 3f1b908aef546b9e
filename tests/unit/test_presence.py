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


@pytest.mark.parametrize("seed", range(20))
async def test_who_is_known_never_enters_and_who_is_not_never_leaves_or_changes(seed: int) -> None:
    chance = Random(seed)
    database = Database("", size=1)  # which nothing here asks
    members = Members()
    lines = ClaimLines(database, database, ServedSchema(database), members)
    presence = Presence(database, members, lines, is_listening=lambda: True)

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
