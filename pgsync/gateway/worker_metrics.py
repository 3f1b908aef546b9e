"""`GET /metrics` of several processes that serve on one port: whichever worker a scraper reaches answers for all.

Each process hands its own measures out on a Unix socket in the directory that the workers share. They are told apart by
the label `worker`, 0 for the process that keeps the others running. A worker that was replaced counts from 0 again, as
Prometheus expects of a process that has started anew.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families

KEEPER: Final = 0
LABEL: Final = "worker"
ANSWER_SECONDS: Final = 2.0  # one that takes longer is left out: a scraper waits for ten seconds, say


class KeeperMeasures:
    """What the process that keeps `workers` running knows of them, and of itself."""

    def __init__(self, workers: int) -> None:
        self._registry = CollectorRegistry()
        self.restarts = Counter(
            "pgsync_worker_restarts", "Workers that ended and were replaced.", [LABEL], registry=self._registry
        )
        for number in range(1, workers + 1):
            self.restarts.labels(str(number))
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """As it is now."""
        return generate_latest(self._registry)


@asynccontextmanager
async def handed_out(directory: Path, number: int, text: Callable[[], bytes]) -> AsyncIterator[None]:
    """While the block runs, whoever connects to the socket of process `number` gets the text of that moment."""

    async def hand_out(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(text())
            await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(hand_out, _socket_of(directory, number))
    try:
        yield
    finally:
        server.close()


async def measures_of_all(directory: Path, workers: int) -> bytes:
    """The measures of workers 1 to `workers` and of their keeper, without those that do not answer in time."""
    numbers = [KEEPER, *range(1, workers + 1)]
    return merge(dict(zip(numbers, await asyncio.gather(*(_ask(directory, n) for n in numbers)), strict=True)))


def merge(texts: Mapping[int, str | None]) -> bytes:
    """One text of several, each by the number of its process; None of one that did not answer."""
    up = GaugeMetricFamily("pgsync_worker_up", "Whether this worker answered the scrape.", labels=[LABEL])
    families: dict[str, Metric] = {up.name: up}
    for number, text in texts.items():
        if number != KEEPER:
            up.add_metric([str(number)], int(text is not None))
        for family in text_string_to_metric_families(text or ""):
            merged = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            for sample in family.samples:
                merged.add_sample(sample.name, {LABEL: str(number), **sample.labels}, sample.value)
    registry = CollectorRegistry()
    registry.register(_Merged(families.values()))
    return generate_latest(registry)


class _Merged:
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


async def _ask(directory: Path, number: int) -> str | None:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_unix_connection(_socket_of(directory, number))
            try:
                return (await reader.read()).decode()
            finally:
                writer.close()
    except OSError:  # it is being replaced, or stands still
        return None


def _socket_of(directory: Path, number: int) -> str:
    return str(directory / f"metrics.{number}")
