"""How many may be connected for long, and from which pages."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from pgsync.gateway import serve
from tests import postgres
from tests.acceptance.conftest import LIMIT_SECONDS, Client, World, config_of, until

CHANGES = "/api/v1/changes"
OURS, THEIRS = "https://app.example.com", "https://evil.example.com"


@contextlib.asynccontextmanager
async def gateway_with(database: postgres.Database, **settings: Any) -> AsyncIterator[World]:
    async with serve(config_of(database, **settings)) as gateway, aiohttp.ClientSession() as session:
        yield World(gateway, database, session)


async def opened(client: Client) -> aiohttp.ClientResponse:
    """An event stream that has said its first word."""
    response = await client.session.get(client.url + CHANGES, headers={"Authorization": f"Bearer {client.key}"})
    if response.status == 200:
        async with asyncio.timeout(LIMIT_SECONDS):
            await response.content.readline()
    return response


async def test_sockets_and_streams_count_together_per_participant_and_in_all(pushed: postgres.Database) -> None:
    async with gateway_with(pushed, connection_limit=3, participant_connection_limit=2) as world:
        one, two = world.client(participant="one"), world.client(participant="two")
        async with one.socket():
            stream = await opened(one)
            assert stream.status == 200
            refused = await one.get(CHANGES)
            assert refused.error == (429, "connection_limit_exceeded", None)
            assert refused.headers["Retry-After"]
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                async with one.socket():
                    raise AssertionError("opened")
            assert caught.value.status == 429
            async with two.socket():
                assert (await two.get(CHANGES)).error == (503, "instance_at_capacity", None)
                assert (await one.get("/api/v1/models/tasks")).status == 200
            await stream.read() if stream.content.at_eof() else stream.close()

        async def free() -> bool:  # those that went make room
            response = await opened(one)
            response.close()
            return response.status == 200

        await until(free, "one of them is free again")


async def test_pages_of_named_origins_may_use_everything(pushed: postgres.Database) -> None:
    async with gateway_with(pushed, cors_origin=(OURS,)) as world:
        client = world.client()
        asked = {
            "Origin": OURS,
            "Access-Control-Request-Method": "PATCH",
            "Access-Control-Request-Headers": "if-match,x-trace",
        }
        async with world.session.options(f"{client.url}/api/v1/models/tasks/t1", headers=asked) as preflight:
            assert preflight.status == 204
            assert preflight.headers["Access-Control-Allow-Origin"] == OURS
            assert "PATCH" in preflight.headers["Access-Control-Allow-Methods"]
            allowed = preflight.headers["Access-Control-Allow-Headers"].lower().split(", ")
            known = ("Authorization", "If-Match", "Idempotency-Key", "Last-Event-ID", "Ablo-Protocol-Version")
            for header in (*known, "X-Trace"):
                assert allowed.count(header.lower()) == 1
        async with world.session.options(
            f"{client.url}/api/v1/models/tasks", headers=asked | {"Origin": THEIRS}
        ) as preflight:
            assert "Access-Control-Allow-Origin" not in preflight.headers
        nobody = world.with_key("nope")
        for reply in (
            await client.get("/api/v1/models/tasks", Origin=OURS),
            await client.get("/api/v1/models/widgets", Origin=OURS),
            await nobody.get("/api/v1/models/tasks", Origin=OURS),
            await client.get(f"{CHANGES}?follow=0", Origin=OURS),
            await client.get("/api/health", Origin=OURS),
        ):
            assert reply.headers["Access-Control-Allow-Origin"] == OURS
            exposed = {name.strip() for name in reply.headers["Access-Control-Expose-Headers"].split(",")}
            assert exposed >= {"X-Auth-Failure", "x-request-id", "ETag"}
            assert reply.headers["Vary"] == "Origin"
        other = await client.get("/api/v1/models/tasks", Origin=THEIRS)
        assert "Access-Control-Allow-Origin" not in other.headers
        assert other.headers["Vary"] == "Origin"


async def test_every_origin_may_be_allowed_and_none_is_without_the_setting(
    pushed: postgres.Database, world: World, client: Client
) -> None:
    reply = await client.get("/api/v1/models/tasks", Origin=OURS)
    assert not [name for name in reply.headers if name.startswith("Access-Control")]
    async with gateway_with(pushed, cors_origin=("*",), deployment=f"{pushed.name}_b") as open_world:
        reply = await open_world.client().get("/api/v1/models/tasks", Origin=OURS)
        assert reply.headers["Access-Control-Allow-Origin"] == "*"


async def handshake(world: World, client: Client, origin: str | None) -> int:
    """The status of a WebSocket's handshake from a page of this origin."""
    protocols = (f"ablo.bearer.{client.key}", "ablo.sync.v1")
    try:
        async with world.session.ws_connect(f"{client.url}/api/sync/ws", protocols=protocols, origin=origin):
            return 101
    except aiohttp.WSServerHandshakeError as error:
        return error.status


async def test_socket_opens_for_the_pages_that_may_use_the_routes(pushed: postgres.Database) -> None:
    async with gateway_with(pushed, cors_origin=(OURS,)) as world:
        client = world.client()
        assert await handshake(world, client, None) == 101
        assert await handshake(world, client, OURS) == 101
        assert await handshake(world, client, world.gateway.url) == 101  # a page of this server's own
        assert await handshake(world, client, THEIRS) == 403


@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_check_says_what_is_wrong_with_a_key(world: World, client: Client, method: str) -> None:
    good = await client.call(method, "/api/auth/check")
    assert (good.status, good.body) == (204, b"")
    for key, code in (("", "api_key_required"), ("sk_wrong", "apikey_invalid")):
        bad = await world.with_key(key).call(method, "/api/auth/check")
        assert (bad.status, bad.body) == (401, b"")
        assert bad.headers["X-Auth-Failure"] == code
