"""Random claimers at two gateways: when they rest, what each was told is what the database says.

PGSYNC_CLAIM_STORM=<steps>:<seed> runs a longer storm, or one that failed again.
"""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import AsyncExitStack
from typing import Any

from tests.acceptance import contract
from tests.acceptance.conftest import Client, Socket, World, until
from tests.acceptance.test_live_claims import at, second_gateway

STEPS, _, SEED = os.environ.get("PGSYNC_CLAIM_STORM", "150:").partition(":")
ROWS = ("t1", "t2", "t3")
PARTS: tuple[dict[str, Any], ...] = ({}, {"field": "title"}, {"fields": ["title", "code"]}, {"field": "status"})


class Claimer:
    """A client that believes what it is told."""

    def __init__(self, world: World, name: str, gateways: list[World]) -> None:
        self.name = name
        self.client = world.client(participant=name)
        self.gateways = gateways
        self.own: dict[str, tuple[str, dict[str, Any]]] = {}  # claim: what it was told, what it asked for
        self.given_back: set[str] = set()
        self.held_by: dict[str, set[str]] = {}
        self.lines: dict[str, list[str]] = {}
        self.socket: Socket | None = None
        self._stack = AsyncExitStack()
        self._reading: asyncio.Task[None] | None = None
        self._count = 0

    async def connect(self, random: random.Random) -> None:
        at_one: Client = at(self.client, random.choice(self.gateways).gateway)
        self.held_by, self.lines = {}, {}
        self.socket = await self._stack.enter_async_context(at_one.socket())
        self._reading = asyncio.create_task(self._read(self.socket))
        await self.socket.send("presence_update", {"status": "online"})
        for claim_id, (told, asked) in list(self.own.items()):
            self.own[claim_id] = ("asked", asked) if told != "gone" else (told, asked)
            if told != "gone":
                await self.socket.send("claim_begin", asked)

    async def disconnect(self) -> None:
        """Leaves when nothing is under way: who leaves before its answer comes cannot know what it has."""

        async def answered() -> bool:
            return not any(told == "asked" for told, _ in self.own.values())

        if self._reading is not None:
            await until(answered, "every claim_begin is answered")
            self._reading.cancel()
            await asyncio.wait({self._reading})
        await self._stack.aclose()
        self.socket = None

    async def _read(self, socket: Socket) -> None:
        while True:
            message = await socket.raw.receive_json()
            payload = contract.frame(message)
            kind = message["type"]
            if kind == "presence_update":
                self.held_by[payload["userId"]] = {claim["claimId"] for claim in payload["activeClaims"]}
            elif kind == "claim_queue":
                self.lines[payload["target"]["id"]] = [entry["id"] for entry in payload["queue"]]
            elif payload and payload.get("claimId") in self.own and payload["claimId"] not in self.given_back:
                told = {"claim_acquired": "held", "claim_granted": "held", "claim_queued": "queued"}.get(kind)
                if told is None and kind in ("claim_rejected", "claim_lost", "claim_expired"):
                    told = "gone"
                if told is not None:
                    self.own[payload["claimId"]] = (told, self.own[payload["claimId"]][1])

    async def step(self, random: random.Random, world: World) -> None:
        if self.socket is None or random.random() < 0.05:
            await self.disconnect()
            await self.connect(random)
        assert self.socket is not None
        living = [claim_id for claim_id, (told, _) in self.own.items() if told != "gone"]
        action = random.choice(("begin", "begin", "begin", "abandon", "release", "beat", "expire", "rest"))
        if action == "begin":
            self._count += 1
            claim_id = f"{self.name}-{self._count}"
            target = {"entityType": "task", "entityId": random.choice(ROWS), **random.choice(PARTS)}
            asked = {"claimId": claim_id, **target, "queue": random.random() < 0.8, "estimatedMs": 300_000}
            self.own[claim_id] = ("asked", asked)
            await self.socket.send("claim_begin", asked)
        elif action == "abandon" and living:
            claim_id = random.choice(living)
            self._give_back([claim_id])
            await self.socket.send("claim_abandon", {"claimId": claim_id})
        elif action == "release":
            await self.client.call("DELETE", f"/api/v1/models/tasks/{random.choice(ROWS)}/claim")
        elif action == "beat" and living:
            beat = {"claimId": random.choice(living), "details": {"n": random.randrange(9)}}
            await self.socket.send("claim_heartbeat", beat)
        elif action == "expire" and living:
            statement = "UPDATE pgsync_private.claim SET expires_at = clock_timestamp() WHERE id = %s"
            world.database.execute(statement, (random.choice(living),))

    def _give_back(self, claim_ids: list[str]) -> None:
        self.given_back.update(claim_ids)
        for claim_id in claim_ids:
            self.own[claim_id] = ("gone", self.own[claim_id][1])

    def errors(self, held: dict[str, set[str]], lines: dict[str, list[str]]) -> list[str]:
        """What it believes that is not true."""
        waiting = {claim_id for line in lines.values() for claim_id in line}
        found: list[str] = []
        for claim_id, (told, _) in self.own.items():
            true = "held" if claim_id in held.get(self.name, ()) else "queued" if claim_id in waiting else "gone"
            if told != true:
                found.append(f"{claim_id} is {true}, {self.name} was told {told}")
        for name in {*held, *self.held_by} - {self.name}:
            told_of, truly = self.held_by.get(name, set()), held.get(name, set())
            if told_of != truly:
                found.append(f"{name} holds {sorted(truly)}, {self.name} was told {sorted(told_of)}")
        for row in ROWS:
            if self.lines.get(row, []) != lines.get(row, []):
                found.append(f"the line of {row} is {lines.get(row)}, {self.name} was told {self.lines.get(row)}")
        return found


async def test_storm_of_claims_leaves_everybody_with_the_truth(world: World) -> None:
    seed = SEED or str(random.randrange(10**9))
    chance = random.Random(seed)
    for row in ROWS:
        await world.client().create("tasks", row, {"title": "x"})
    async with second_gateway(world) as beside:
        claimers = [Claimer(world, name, [world, beside]) for name in ("ada", "bob", "cy", "dee")]
        for _ in range(int(STEPS)):
            await chance.choice(claimers).step(chance, world)
            if chance.random() < 0.3:
                await asyncio.sleep(0)
        for claimer in claimers:
            if claimer.socket is None:
                await claimer.connect(chance)

        errors: list[str] = []

        async def everybody_is_right() -> bool:
            rows = world.database.execute(
                "SELECT row_id, id, participant_id, status FROM pgsync_private.claim"
                " WHERE ended_at IS NULL ORDER BY place"
            )
            held: dict[str, set[str]] = {}
            lines: dict[str, list[str]] = {}
            for row_id, claim_id, participant, status in rows:
                if status == "active":
                    held.setdefault(participant, set()).add(claim_id)
                else:
                    lines.setdefault(row_id, []).append(claim_id)
            errors[:] = [error for claimer in claimers for error in claimer.errors(held, lines)]
            return not errors

        try:
            await until(everybody_is_right, "what everybody was told is true")
        except TimeoutError:
            raise AssertionError(f"seed {seed}: {'; '.join(errors)}") from None
        for claimer in claimers:
            await claimer.disconnect()
