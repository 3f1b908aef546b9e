"""A gateway on a database of the test's own, and clients that speak HTTP and WebSocket as the contract says."""

from __future__ import annotations

import asyncio
import contextlib
import io
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson
import pytest

from pgsync import keys, names
from pgsync.config import GatewayConfig
from pgsync.gateway import Gateway, serve
from pgsync.push import install, push
from pgsync.schema import load_schema
from tests import postgres
from tests.acceptance import contract
from tests.credentials import create_credential

LIMIT_SECONDS: Final = 20.0
SCHEMA: Final = Path(__file__).with_name("schema.py")


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer: `json` is its parsed body, None when it has none."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body) if self.body else None

    @property
    def error(self) -> tuple[int, str, str | None]:
        """Status, code and field of a refusal, whose envelope is checked on the way."""
        parsed = self.json
        assert parsed["request_id"] == self.headers["x-request-id"]
        assert parsed["message"]
        assert parsed["type"].startswith("Ablo")
        return self.status, parsed["code"], parsed.get("param")


@dataclass(frozen=True, slots=True)
class Client:
    """One caller with one key."""

    session: aiohttp.ClientSession
    url: str
    key: str

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """`body` is sent as it is when it is bytes or a file, else as JSON; header names have _ for -."""
        sent = {"Authorization": f"Bearer {self.key}", "Ablo-Protocol-Version": "1", "Content-Type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if body is None or isinstance(body, bytes | io.BytesIO) else orjson.dumps(body)
        async with asyncio.timeout(LIMIT_SECONDS):
            async with self.session.request(method, self.url + path, data=data, headers=sent) as response:
                return Reply(response.status, response.headers, await response.read())

    async def get(self, path: str, **headers: str) -> Reply:
        return await self.call("GET", path, **headers)

    async def create(self, model: str, row_id: str | None, data: Any, **headers: str) -> Reply:
        body = {"data": data} | ({} if row_id is None else {"id": row_id})
        return await self.call("POST", f"/api/v1/models/{model}", body, **headers)

    async def update(self, model: str, row_id: str, data: Any, **headers: str) -> Reply:
        return await self.call("PATCH", f"/api/v1/models/{model}/{row_id}", {"data": data}, **headers)

    async def delete(self, model: str, row_id: str, **headers: str) -> Reply:
        return await self.call("DELETE", f"/api/v1/models/{model}/{row_id}", {}, **headers)

    async def head(self) -> int:
        """The last sync id so far."""
        head: int = (await self.get("/api/health")).json["stream"]["lastSyncId"]
        return head

    async def row(self, model: str, row_id: str) -> Any:
        """The row's data, None when there is none."""
        reply = await self.get(f"/api/v1/models/{model}/{row_id}")
        assert reply.status == 200, reply.body
        return reply.json["data"]

    @contextlib.asynccontextmanager
    async def socket(self, *groups: str, cursor: str = "") -> AsyncIterator[Socket]:
        """An open WebSocket, authenticated by subprotocol as the contract's client does."""
        query = [("cursor", cursor), *(("syncGroups", group) for group in groups)]
        protocols = (f"ablo.bearer.{self.key}", "ablo.sync.v1")
        async with self.session.ws_connect(f"{self.url}/api/sync/ws", params=query, protocols=protocols) as raw:
            assert raw.protocol == "ablo.sync.v1"
            yield Socket(raw)


@dataclass(slots=True)
class Socket:
    """One WebSocket, with what has come in so far."""

    raw: aiohttp.ClientWebSocketResponse
    frames: list[dict[str, Any]] = field(default_factory=list)

    async def send(self, kind: str, payload: Any = None) -> None:
        await self.raw.send_str(orjson.dumps({"type": kind, "payload": payload}).decode())

    async def receive(self) -> dict[str, Any]:
        """The next frame."""
        async with asyncio.timeout(LIMIT_SECONDS):
            message = await self.raw.receive()
        assert message.type is aiohttp.WSMsgType.TEXT, message
        frame = orjson.loads(message.data)
        contract.frame(frame)
        self.frames.append(frame)
        return dict(frame)

    async def wait_for(self, kind: str) -> Any:
        """The payload of the next frame of this type; deltas that come before it stay in `frames`."""
        while True:
            frame = await self.receive()
            if frame["type"] == kind:
                return frame.get("payload")

    async def deltas(self, count: int) -> list[dict[str, Any]]:
        """The next deltas, in the order they came."""
        found: list[dict[str, Any]] = []
        while len(found) < count:
            payload = await self.wait_for("delta")
            found += payload.get("deltas", [payload]) if isinstance(payload, dict) else payload
        assert len(found) == count, found
        return found

    async def sync(self, last_sync_id: int = 0, cursor: str | None = None) -> Any:
        """What a sync_request is answered with."""
        await self.send(
            "sync_request",
            {"cursor": cursor, "lastSyncId": last_sync_id, "capabilities": [], "protocolVersion": 1},
        )
        return await self.wait_for("sync_response")


@dataclass(frozen=True, slots=True)
class World:
    """A gateway, its database, and a way to become somebody."""

    gateway: Gateway
    database: postgres.Database
    session: aiohttp.ClientSession

    def key(
        self, organization: str = "acme", *, kind: keys.KeyKind = "sk", participant: str = "ci", **more: Any
    ) -> str:
        """A new credential of the organization."""
        return create_credential(self.database, organization=organization, kind=kind, participant=participant, **more)[
            0
        ]

    def client(self, organization: str = "acme", **more: Any) -> Client:
        """A caller with a new credential of the organization."""
        return self.with_key(self.key(organization, **more))

    def with_key(self, key: str) -> Client:
        return Client(self.session, self.gateway.url, key)

    def say(self, message: str) -> None:
        """Writes a message into the log as somebody who knows what ours are known by."""
        token = self.database.execute("SELECT pgsync_private.message_token()")[0][0]
        text = f'{{"w":"{token}",{message.removeprefix("{")}'
        self.database.execute("SELECT pg_logical_emit_message(true, 'pgsync', %s)", (text,))


@pytest.fixture(scope="session")
def template(server: postgres.Server) -> Iterator[postgres.Database]:
    """A database with the schema pushed, to copy."""
    prepared = server.create_database()
    install(prepared.dsn)
    push(prepared.dsn, load_schema(str(SCHEMA)))
    yield prepared
    prepared.drop()


@pytest.fixture
def pushed(server: postgres.Server, template: postgres.Database) -> Iterator[postgres.Database]:
    """A database of this test's own with the schema pushed."""
    copied = server.create_database(template=template.name)
    try:
        yield copied
    finally:
        copied.drop()


StartGateway = Callable[..., contextlib.AbstractAsyncContextManager[Gateway]]


def config_of(database: postgres.Database, **settings: Any) -> GatewayConfig:
    """Settings of a gateway on this database, on a free port and with a slot of its own."""
    given: dict[str, Any] = {
        "database_url": database.dsn_as(names.GATEWAY),
        "listener_url": database.dsn_as(names.LISTENER),
        "port": 0,
        "deployment": database.name,
    }
    return GatewayConfig(**(given | settings))


@pytest.fixture
async def world(pushed: postgres.Database) -> AsyncIterator[World]:
    """A running gateway and an HTTP session."""
    async with serve(config_of(pushed)) as gateway, aiohttp.ClientSession() as session:
        yield World(gateway, pushed, session)


@pytest.fixture
def client(world: World) -> Client:
    """A caller of the organization acme with a secret key."""
    return world.client()


async def until(condition: Callable[[], Awaitable[Any]], what: str) -> Any:
    """Waits until the condition gives something true, and returns that."""
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            while not (found := await condition()):
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise TimeoutError(f"not within {LIMIT_SECONDS} s: {what}") from None
    return found


def new_key() -> str:
    """An idempotency key that nobody used."""
    return str(uuid.uuid4())
