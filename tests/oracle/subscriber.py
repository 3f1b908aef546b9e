"""A WebSocket client as contract 2.3 to 2.7 describes it, which keeps a record of everything that it is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from socket import SHUT_RDWR
from typing import Any, Final

import aiohttp
import orjson

from tests.oracle.replica import (
    Answered,
    Asked,
    BootstrapAsked,
    Bootstrapped,
    CaughtUp,
    Delta,
    Event,
    Frame,
    Granted,
    Opened,
    Replica,
    RowKey,
    Settled,
    Subscribed,
)
from tests.oracle.schemas import Identity

LIMIT_SECONDS: Final = 30.0


class StreamEnded(Exception):  # noqa: N818  the gateway went, which is no fault of the test
    """The socket was closed while somebody waited for it."""


@dataclass(slots=True)
class OwnClaim:
    """A claim that a client has asked for with this frame, and what it was told last: held, queued or gone; or asked,
    when it has not been answered on this socket. `given_back`: whether that has arrived, nobody says.
    """

    asked: Mapping[str, Any]
    told: str = "asked"
    given_back: bool = False
    fence_token: int | None = None


class Subscriber:
    """One client. `head` gives the oracle's head at this moment; `events` is the record.

    Every method that asks for something raises StreamEnded, aiohttp.ClientError or TimeoutError when the gateway goes
    away meanwhile; the subscriber is then offline and may `open` again, elsewhere too.
    """

    writes = True

    def __init__(
        self, session: aiohttp.ClientSession, name: str, identity: Identity, key: str, head: Callable[[], int]
    ) -> None:
        self.name = name
        self.identity = identity
        self.groups = identity.groups
        self._loaded: frozenset[str] | None = None  # the groups that the replica's rows were asked for with
        self.key = key
        self.events: list[Event] = []
        self.replica = Replica()
        self.results: dict[str, asyncio.Future[Any]] = {}
        self.close_codes: list[int] = []
        self.told_to_bootstrap = 0
        self.requests = 0
        self.claims: dict[str, OwnClaim] = {}
        self.peers: dict[str, Sequence[str]] = {}  # who is there: the groups that are shared
        self._session = session
        self._head = head
        self._url = ""
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._reading: asyncio.Task[None] | None = None
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._heard = asyncio.Condition()
        self._answers = 0
        self._acks: list[Any] = []
        self._snapshots: list[Any] = []
        self._cursor: tuple[str, int] | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is connected as far as it knows."""
        return self._socket is not None and self._reading is not None and not self._reading.done()

    @property
    def is_lagging(self) -> bool:
        """Whether it does not read at the moment."""
        return not self._may_read.is_set()

    # --- the life of a socket -----------------------------------------------------------------------------------------

    async def open(self, url: str, *, with_cursor: bool = False) -> None:
        """Connects; with the last cursor in the URL when there is one and it is wanted."""
        assert not self.is_open
        cursor, after = self._cursor if with_cursor and self._cursor is not None else ("", None)
        self.groups = self.groups or self.identity.groups  # to ask for none is to ask for all
        anew = self._loaded not in (None, self.groups)
        query = [("cursor", cursor), *(("syncGroups", group) for group in sorted(self.groups))]
        protocols = (f"ablo.bearer.{self.key}", "ablo.sync.v1")
        self._url = url
        self._answers = self.requests = 0
        self._acks.clear()
        self._snapshots.clear()
        self.peers.clear()
        self._may_read.set()
        self._socket = await asyncio.wait_for(
            self._session.ws_connect(f"{url}/api/sync/ws", params=query, protocols=protocols, max_msg_size=0),
            LIMIT_SECONDS,
        )
        self._note(Opened(self.groups, after, anew))
        self._reading = asyncio.create_task(self._read(self._socket), name=f"reading {self.name}")
        await self.send("presence_update", {"status": "online"})
        for claim in self.claims.values():
            if claim.told != "gone":
                claim.told = "asked"
                await self.send("claim_begin", claim.asked)

    async def close(self, *, rudely: bool = False) -> None:
        """Goes; rudely: without a word, as when a network fails."""
        socket, self._socket = self._socket, None
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
            await asyncio.wait({reading})
        if socket is not None:
            if rudely:
                with contextlib.suppress(OSError):
                    if (transport := socket.get_extra_info("socket")) is not None:
                        transport.shutdown(SHUT_RDWR)
            with contextlib.suppress(TimeoutError, aiohttp.ClientError, ConnectionError):
                await asyncio.wait_for(socket.close(), 5)
        self._end()

    def lag(self) -> None:
        """Stops reading."""
        self._may_read.clear()

    def go_on(self) -> None:
        """Reads again."""
        self._may_read.set()

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        try:
            while True:
                await self._may_read.wait()
                message = await socket.receive()
                if message.type is not aiohttp.WSMsgType.TEXT:
                    self.close_codes.append(socket.close_code or 0)
                    break
                self._hear(orjson.loads(message.data), len(message.data))
                async with self._heard:
                    self._heard.notify_all()
        except (aiohttp.ClientError, ConnectionError):
            pass
        finally:
            self._end()
        async with self._heard:
            self._heard.notify_all()

    def _end(self) -> None:
        for result in self.results.values():
            if not result.done():
                result.set_exception(StreamEnded("the socket was closed"))
                result.exception()
        self.results.clear()

    # --- what it is told ----------------------------------------------------------------------------------------------

    def _note(self, event: Event) -> None:
        self.events.append(event)
        self.replica.take(event)
        if isinstance(event, Bootstrapped):
            self._loaded = event.groups

    def _hear(self, frame: dict[str, Any], size_bytes: int) -> None:
        payload: Any = frame.get("payload")
        match frame["type"]:
            case "delta":
                said = payload.get("deltas", [payload])
                self._note(Frame(tuple(map(Delta.from_json, said)), size_bytes))
            case "sync_response":
                must_bootstrap = payload.get("requiresBootstrap", False)
                deltas = tuple(map(Delta.from_json, payload["deltas"]))
                self.told_to_bootstrap += must_bootstrap
                if self.replica.has_asked or must_bootstrap:
                    self._cursor = (payload["cursor"], payload["currentSyncId"])
                    self._answers += 1
                self._note(Answered(deltas, payload["currentSyncId"], must_bootstrap, size_bytes))
            case "subscription_ack":
                self._acks.append(payload)
                if payload["success"]:
                    if not self.identity.follows:
                        self.groups = frozenset(payload["syncGroups"])
                    self._note(Subscribed(self.groups))
            case "bootstrap_response":
                self._snapshots.append(payload)
                self._note(self._bootstrapped([payload], in_stream=True))
            case "mutation_result":
                result = self.results.pop(payload["clientTxId"], None)
                if result is not None and not result.done():
                    result.set_result(payload)
            case (
                "claim_acquired" | "claim_granted" | "claim_queued" | "claim_rejected" | "claim_lost" | "claim_expired"
            ):
                self._hear_of_claim(frame["type"], payload)
            case "presence_update" if payload["kind"] == "leave":
                assert self.peers.pop(payload["userId"], None) is not None, "leaves who never came"
            case "presence_update":
                assert (payload["kind"] == "update") == (payload["userId"] in self.peers), payload
                self.peers[payload["userId"]] = payload["syncGroups"]
            case _:
                pass

    def _hear_of_claim(self, kind: str, payload: Any) -> None:
        claim = self.claims.get(payload["claimId"])
        if claim is None or claim.told == "gone":
            return
        claim.told = {"claim_acquired": "held", "claim_granted": "held", "claim_queued": "queued"}.get(kind, "gone")
        if claim.told == "held":
            token = payload["fenceToken"]
            assert claim.fence_token in (None, token), f"{payload} had the fence token {claim.fence_token}"
            claim.fence_token = token
            if "readAt" in payload:
                self._note(Granted(payload["readAt"]))

    async def send(self, kind: str, payload: Any) -> None:
        """One frame."""
        if self._socket is None:
            raise StreamEnded("not connected")
        await asyncio.wait_for(
            self._socket.send_str(orjson.dumps({"type": kind, "payload": payload}).decode()), LIMIT_SECONDS
        )

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        self.go_on()
        try:
            async with asyncio.timeout(LIMIT_SECONDS), self._heard:
                while not condition():
                    if not self.is_open:
                        raise StreamEnded(what)
                    await self._heard.wait()
        except TimeoutError:
            raise AssertionError(f"{self.name}: not within {LIMIT_SECONDS:.0f} seconds: {what}") from None

    # --- what it asks for ---------------------------------------------------------------------------------------------

    async def sync(self) -> None:
        """Asks what is new, as after opening and every 30 seconds."""
        position = self.replica.position if self.replica.is_whole else 0
        seen = self._answers
        cursor = None if self._cursor is None else self._cursor[0]
        self._note(Asked(position if self._cursor is None else max(position, self._cursor[1])))
        body: dict[str, Any] = {"cursor": cursor, "lastSyncId": position, "capabilities": [], "protocolVersion": 1}
        await self.send("sync_request", body)
        await self._until(lambda: self._answers > seen, "an answer to a sync_request")

    async def subscribe(self, groups: frozenset[str]) -> None:
        """Other groups from now on, and their rows."""
        seen = len(self._acks)
        if self.identity.follows:  # what is acknowledged is what memberships grant of it now
            self.groups = groups
        await self.send("update_subscription", {"syncGroups": sorted(groups)})
        await self._until(lambda: len(self._acks) > seen, "a subscription_ack")
        assert self._acks[-1]["success"] is True, self._acks[-1]
        assert self.identity.follows or frozenset(self._acks[-1]["syncGroups"]) == groups
        await self.bootstrap(in_stream=not groups)

    async def bootstrap(self, *, limit: int = 5000, in_stream: bool = False) -> None:
        """Loads all rows, over HTTP in pages or over the socket."""
        self._note(BootstrapAsked())
        if in_stream or not self.groups:  # over HTTP, to ask for no group is to ask for all
            seen = len(self._snapshots)
            answers = self._answers
            await self.send("bootstrap_request", {})
            await self._until(lambda: len(self._snapshots) > seen or self._answers > answers, "a bootstrap_response")
            return
        parameters = [("syncGroups", group) for group in sorted(self.groups)] + [("limit", str(limit))]
        pages: list[Any] = []
        told = self.told_to_bootstrap
        while True:
            if told != self.told_to_bootstrap:  # what has been loaded may be older than what it was told that for
                told = self.told_to_bootstrap
                pages.clear()
                self._note(BootstrapAsked())
            cursor = [("cursor", pages[-1]["nextCursor"])] if pages else []
            page = await self._get("/api/sync/bootstrap", parameters + cursor)
            assert page["type"] == "full"
            assert "failedModels" not in page, page["failedModels"]
            pages.append(page)
            if "nextCursor" not in page and told == self.told_to_bootstrap:
                break
        self._note(self._bootstrapped(pages, in_stream=False))

    def _bootstrapped(self, pages: Sequence[Any], *, in_stream: bool) -> Bootstrapped:
        rows: dict[RowKey, Any] = {}
        for page in pages:
            for typename, found in page["models"].items():
                rows |= {(typename, row["id"]): row for row in found}
        position = pages[-1]["lastSyncId"]
        return Bootstrapped(position, rows, self.groups, max(position, self._head()), in_stream, len(pages))

    async def claim(self, claim_id: str, asked: Mapping[str, Any]) -> None:
        """Asks for a claim and waits for what becomes of it."""
        self.claims[claim_id] = OwnClaim(asked)
        await self.send("claim_begin", asked)
        await self._until(lambda: self.claims[claim_id].told != "asked", f"an answer to claim_begin of {claim_id}")

    async def abandon(self, claim_id: str) -> None:
        """Gives a claim back."""
        self.claims[claim_id].told = "gone"
        self.claims[claim_id].given_back = True
        await self.send("claim_abandon", {"claimId": claim_id})

    async def catch_up(self) -> None:
        """A partial bootstrap from where it is; all rows when the gateway does not have that any more."""
        self._note(BootstrapAsked())
        after, told = self.replica.position, self.told_to_bootstrap
        parameters = [("syncGroups", group) for group in sorted(self.groups)]
        page = await self._get("/api/sync/bootstrap", [*parameters, ("lastSyncId", str(after))])
        if told != self.told_to_bootstrap:
            return  # `mend` loads all
        if page["type"] == "partial":
            assert page["deltaCount"] == len(page["deltas"])
            self._note(CaughtUp(tuple(map(Delta.from_json, page["deltas"])), page["lastSyncId"], after))
        elif "nextCursor" in page:
            await self.bootstrap()
        else:
            self._note(self._bootstrapped([page], in_stream=False))

    async def arrive(self) -> None:
        """What a client does after opening, until it has rows and the stream: bootstrap if it must, then sync."""
        if not self.replica.is_whole:
            await self.bootstrap()
        await self.sync()
        await self.mend()

    async def mend(self) -> None:
        """Bootstraps for as long as it is told to, and says where that has brought it."""
        while not self.replica.is_whole:
            await self.bootstrap()
            await self.sync()

    async def settle(self, position: int) -> None:
        """Reads on until it has everything up to `position`."""
        self.go_on()
        deadline = asyncio.get_running_loop().time() + LIMIT_SECONDS
        while True:
            await self.mend()
            await self.sync()
            if self.replica.is_whole and self.replica.position >= position:
                break
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError(f"{self.name} is at {self.replica.position}, not at {position}")
        self._note(Settled(self.replica.position))

    async def _get(self, path: str, parameters: list[tuple[str, str]]) -> Any:
        headers = {"Authorization": f"Bearer {self.key}"}
        async with (
            asyncio.timeout(LIMIT_SECONDS),
            self._session.get(self._url + path, params=parameters, headers=headers) as response,
        ):
            body = await response.read()
            if response.status >= 500:
                raise StreamEnded(f"{path}: {response.status}")
            assert response.status == 200, (path, parameters, response.status, body)
            return orjson.loads(body)
