"""Measures for Prometheus: what is there, what moves them, and who sees them."""

from __future__ import annotations

from typing import Final

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from pgsync.gateway import serve
from tests import postgres
from tests.acceptance.conftest import Client, World, config_of, until

LABELS: Final = {"outcome", "kind", "pool", "le"}


async def measures(client: Client) -> dict[str, float]:
    """Each sample by name and label values."""
    async with client.session.get(client.url + "/metrics") as reply:
        assert reply.status == 200
        assert reply.headers["Content-Type"].startswith("text/plain")
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(await reply.text()):
            assert family.documentation
            for sample in family.samples:
                assert set(sample.labels) <= LABELS
                found["/".join([sample.name, *sample.labels.values()])] = sample.value
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
