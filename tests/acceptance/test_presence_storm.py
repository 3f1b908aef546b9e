"""Random tabs at two gateways: when they rest, each sees exactly the peers that it shares a group with.

PGSYNC_PRESENCE_STORM=<steps>:<seed> runs a longer storm, or one that failed again.
"""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import AsyncExitStack
from typing import Any

import pytest

from pgsync.gateway import presence
from tests.acceptance import contract
from tests.acceptance.conftest import Client, Socket, World, until
from tests.acceptance.test_live_claims import at, second_gateway

STEPS, _, SEED = os.environ.get("PGSYNC_PRESENCE_STORM", "120:").partition(":")
GROUPS = ("team:red", "team:blue", "team:green")


class Tab:
    """One socket of a participant, and what it believes of others."""

    def __init__(self, name: str, client: Client, groups: list[str]) -> None:
        self.name = name
        self.client = client
        self.groups = groups
        self.status: str | None = None
        self.peers: dict[str, dict[str, Any]] = {}
        self.socket: Socket | None = None
        self._stack = AsyncExitStack()
        self._reading: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self.socket = await self._stack.enter_async_context(self.client.socket(*self.groups))
        self._reading = asyncio.create_task(self._read(self.socket))

    async def close(self) -> None:
        assert self._reading is not None
        self._reading.cancel()
        await asyncio.wait({self._reading})
        await self._stack.aclose()

    async def _read(self, socket: Socket) -> None:
        while True:
            frame = await socket.raw.receive_json()
            payload = contract.frame(frame)
            if frame["type"] == "presence_update":
                if payload["kind"] == "leave":
                    assert self.peers.pop(payload["userId"], None) is not None, "leaves who never came"
                else:
                    assert (payload["kind"] == "update") == (payload["userId"] in self.peers), payload
                    self.peers[payload["userId"]] = payload

    def errors(self, tabs: list[Tab], newest: dict[str, str]) -> list[str]:
        """What it believes that is not true."""
        truth: dict[str, tuple[str, list[str]]] = {}
        for name in {tab.name for tab in tabs} - {self.name}:
            there = [tab for tab in tabs if tab.name == name and tab.status is not None]
            shared = {group for tab in there for group in tab.groups} & set(self.groups)
            if shared:
                truth[name] = (newest[name], sorted(shared))
        told = {name: (payload["status"], payload["syncGroups"]) for name, payload in self.peers.items()}
        return [] if told == truth else [f"{self.name} was told {told}, true is {truth}"]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "HEARTBEAT_SECONDS", 0.3)
    monkeypatch.setattr(presence, "PACE_SECONDS", 0.02)
    monkeypatch.setattr(presence, "THROTTLE_SECONDS", 0.0)


async def test_storm_of_tabs_leaves_everybody_with_the_truth(quick: None, world: World) -> None:
    seed = SEED or str(random.randrange(10**9))
    chance = random.Random(seed)
    people = {name: world.client(participant=name, syncGroups=list(GROUPS)) for name in ("ada", "bob", "cy", "dee")}
    tabs: list[Tab] = []
    said: list[tuple[Tab, str]] = []
    async with second_gateway(world) as beside:
        for number in range(int(STEPS)):
            action = chance.choice(("open", "close", "say", "say", "regroup"))
            tab = chance.choice(tabs) if tabs else None
            if action == "open" and len(tabs) < 10:
                name = chance.choice(list(people))
                client = at(people[name], chance.choice((world, beside)).gateway)
                opened = Tab(name, client, chance.sample(GROUPS, chance.randint(1, 3)))
                await opened.open()
                tabs.append(opened)
            elif tab is not None and action == "close":
                tabs.remove(tab)
                await tab.close()
            elif tab is not None and tab.socket is not None and action == "say":
                tab.status = f"s{number}"
                said.append((tab, tab.status))
                await tab.socket.send("presence_update", {"status": tab.status})
                await tab.socket.send("ping")
                await asyncio.sleep(0.002)  # which of two tabs spoke last is told in whole milliseconds
            elif tab is not None and tab.socket is not None and action == "regroup":
                tab.groups = chance.sample(GROUPS, chance.randint(1, 3))
                await tab.socket.send("update_subscription", {"syncGroups": tab.groups})

        errors: list[str] = []

        async def everybody_is_right() -> bool:
            newest = {tab.name: status for tab, status in said if tab in tabs}
            errors[:] = [error for tab in tabs for error in tab.errors(tabs, newest)]
            for tab in tabs:
                assert tab._reading is not None
                assert not tab._reading.done(), tab._reading.exception()
            return not errors

        try:
            await until(everybody_is_right, "what everybody was told is true")
        except TimeoutError:
            raise AssertionError(f"seed {seed}: {'; '.join(errors)}") from None
        for tab in tabs:
            await tab.close()
