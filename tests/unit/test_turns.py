"""Whoever reads the log lets those go first who make frames of what was read, within reason."""

from __future__ import annotations

import asyncio

import pytest

from pgsync.stream import turns
from pgsync.stream.turns import Turns

TIME_LIMIT_SECONDS = 20


async def test_reader_goes_on_when_everybody_has_made_his_frames() -> None:
    shared = Turns()
    made: list[str] = []

    async def make(name: str, frames: int) -> None:
        for _ in range(frames):
            made.append(name)
            await shared.between_frames()

    makers = [asyncio.create_task(make("a", 3)), asyncio.create_task(make("b", 10))]
    async with asyncio.timeout(TIME_LIMIT_SECONDS):
        await shared.between_messages()
    assert sorted(made) == ["a"] * 3 + ["b"] * 10
    await asyncio.gather(*makers)


async def test_others_have_their_turn_meanwhile() -> None:
    shared = Turns()
    order: list[str] = []

    async def make() -> None:
        for _ in range(3):
            order.append("frames")
            await shared.between_frames()

    async def other() -> None:
        for _ in range(3):
            order.append("other")
            await asyncio.sleep(0)

    async with asyncio.timeout(TIME_LIMIT_SECONDS):
        await asyncio.gather(make(), other(), shared.between_messages())
    assert order == ["frames", "other"] * 3


async def test_reader_does_not_wait_for_ever_for_somebody_who_never_catches_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", 0.01)
    shared = Turns()

    async def make() -> None:
        while True:
            await shared.between_frames()

    maker = asyncio.create_task(make())
    async with asyncio.timeout(TIME_LIMIT_SECONDS):
        for _ in range(3):
            await shared.between_messages()
    assert not maker.done()
    maker.cancel()
    await asyncio.wait({maker})
    async with asyncio.timeout(TIME_LIMIT_SECONDS):
        await shared.between_messages()
