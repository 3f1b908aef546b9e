"""What a load balancer and an operator see of the stream."""

from __future__ import annotations

from tests.acceptance.conftest import Client, World, until


async def test_health_tells_how_far_the_stream_is_behind_and_what_the_server_keeps_for_it(
    world: World, client: Client
) -> None:
    async def measured() -> bool:
        return (await client.get("/api/health")).json["stream"]["slot"]["walStatus"] is not None

    await until(measured, "a first look at the slot")
    reply = await client.get("/api/health")
    assert (reply.status, reply.json["status"]) == (200, "healthy")
    stream = reply.json["stream"]
    assert stream["lagBytes"] >= 0
    assert stream["lagSeconds"] >= 0
    assert stream["slot"]["name"] == world.gateway.feed.slot
    assert stream["slot"]["walStatus"] in ("reserved", "extended")
    assert stream["slot"]["retainedBytes"] >= 0
    assert stream["slot"]["failover"] is (True if world.database.server.major >= 17 else None)


async def test_health_is_degraded_and_the_lag_grows_while_the_stream_is_away(world: World, client: Client) -> None:
    feed = world.gateway.feed
    world.database.execute("ALTER ROLE pgsync_listener CONNECTION LIMIT 0")
    try:
        world.database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name IN (%s, %s)",
            [f"pgsync stream {feed.slot}", f"pgsync listener {feed.slot}"],
        )

        async def behind() -> bool:
            reply = await client.get("/api/health")
            return reply.status == 503 and reply.json["stream"]["lagSeconds"] > 0

        await until(behind, "the lag to grow")
    finally:
        world.database.execute("ALTER ROLE pgsync_listener CONNECTION LIMIT -1")

    async def back() -> bool:
        reply = await client.get("/api/health")
        return reply.status == 200 and reply.json["stream"]["lagSeconds"] < 2

    await until(back, "the stream to be back")
