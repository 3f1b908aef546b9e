"""Measures for Prometheus: what is there, what moves them, and who sees them."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import AsyncIterator, Set
from typing import Final

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from pgsync.gateway import serve
from tests import postgres
from tests.acceptance.conftest import Client, World, config_of, until
from tests.acceptance.test_workers import Workers, running

LABELS: Final = {"outcome", "kind", "pool", "le"}
OF_WORKERS: Final = {"worker", *LABELS}


async def measures(client: Client, known: Set[str] = LABELS) -> dict[str, float]:
    """Each sample by name and label values, the worker's first."""
    async with client.session.get(client.url + "/metrics") as reply:
        assert reply.status == 200
        assert reply.headers["Content-Type"].startswith("text/plain")
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(await reply.text()):
            assert family.documentation
            for sample in family.samples:
                assert sample.labels.keys() <= known
                labels = sorted(sample.labels, key="worker".__ne__)
                found["/".join([sample.name, *(sample.labels[label] for label in labels)])] = sample.value
        return found


async def test_commits_connections_and_the_stream_are_measured(world: World, client: Client) -> None:
    await client.create("tasks", "t1", {"title": "secret"})
    await client.update("tasks", "none", {"title": "x"})
    async with client.socket():
        found = await measures(client)
    assert found["pgsync_commits_total/confirmed"] == found["pgsync_commit_seconds_count"] == 1
    assert found["pgsync_commits_total/refused"] == 1
    assert found["pgsync_commits_total/failed"] == found["pgsync_commits_total/queued"] == 0
    assert (found["pgsync_connections/websocket"], found["pgsync_connections/events"]) == (1, 0)
    assert found["pgsync_stream_connected"] == 1
    assert found["pgsync_stream_last_sync_id"] == world.gateway.feed.head
    assert found["pgsync_ring_transactions"] >= 1
    assert found["pgsync_ring_bytes"] > 0
    assert found["pgsync_schema_version"] == 1
    assert found["pgsync_readers_fallen_total"] == 0
    assert {"pgsync_pool_used/reads", "pgsync_pool_free/writes", "pgsync_pool_waiting/reads"} <= found.keys()
    assert {"pgsync_stream_lag_bytes", "pgsync_stream_lag_seconds", "pgsync_checkpoint_age_seconds"} <= found.keys()

    async def retained() -> bool:
        return "pgsync_slot_retained_bytes" in await measures(client)

    await until(retained, "the slot has been looked at")


async def test_only_callers_on_this_machine_see_them_unless_the_operator_says_so(
    pushed: postgres.Database, world: World, client: Client
) -> None:
    for header in ("X-Forwarded-For", "Forwarded"):
        assert (await client.get("/metrics", **{header: "192.0.2.1"})).status == 404
    for access, status in (("all", 200), ("none", 404)):
        settings = config_of(pushed, metrics=access, deployment=f"{pushed.name}_{access}")
        async with serve(settings) as gateway, aiohttp.ClientSession() as session:
            headers = {"X-Forwarded-For": "192.0.2.1"}
            async with session.get(gateway.url + "/metrics", headers=headers) as reply:
                assert reply.status == status


async def test_whichever_worker_is_asked_tells_what_all_of_them_measure(pushed: postgres.Database) -> None:
    async with running(pushed) as workers, workers.client() as client, contextlib.AsyncExitStack() as stack:
        for _ in range(12):  # so many that both workers have some, all but surely
            await stack.enter_async_context(client.socket())
        for n in range(12):
            await workers.create(client, f"t{n}")
        for _ in range(4):  # whichever worker answers
            before = await measures(client, OF_WORKERS)
            for name in ("pgsync_commits_total/{}/confirmed", "pgsync_commit_seconds_count/{}"):
                assert sum(before[name.format(n)] for n in (1, 2)) == 12
            assert sum(before[f"pgsync_connections/{n}/websocket"] for n in (1, 2)) == 12
            assert before["pgsync_worker_up/1"] == before["pgsync_worker_up/2"] == 1
            assert before["pgsync_worker_restarts_total/1"] == before["pgsync_worker_restarts_total/2"] == 0
            assert before["pgsync_commit_seconds_bucket/1/+Inf"] == before["pgsync_commit_seconds_count/1"]
            assert all(before[f"process_resident_memory_bytes/{n}"] for n in (0, 1, 2))

        # One that stands still is left out, and nobody waits for it for long.
        other = await stack.enter_async_context(connected_to(workers, 2))
        os.kill(workers.pid(1), signal.SIGSTOP)
        without = await measures(other, OF_WORKERS)
        assert (without["pgsync_worker_up/1"], without["pgsync_worker_up/2"]) == (0, 1)
        assert "pgsync_commits_total/1/confirmed" not in without
        assert without["pgsync_commits_total/2/confirmed"] == before["pgsync_commits_total/2/confirmed"]

        os.kill(workers.pid(1), signal.SIGKILL)
        await workers.said("gateway_started", 3)
        after = await measures(other, OF_WORKERS)
        assert (after["pgsync_worker_up/1"], after["pgsync_commits_total/1/confirmed"]) == (1, 0)
        assert after["pgsync_commits_total/2/confirmed"] == before["pgsync_commits_total/2/confirmed"]
        assert (after["pgsync_worker_restarts_total/1"], after["pgsync_worker_restarts_total/2"]) == (1, 0)


@contextlib.asynccontextmanager
async def connected_to(workers: Workers, number: int) -> AsyncIterator[Client]:
    """A caller whose requests all go to this worker, over one connection."""
    for _ in range(100):
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
            client = Client(session, workers.url, workers.key)
            if (await client.get("/api/health")).json["worker"] == number:
                yield client
                return
    raise AssertionError(f"worker {number} answers nobody")
