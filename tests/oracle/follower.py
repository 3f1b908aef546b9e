"""A reader of server-sent events, which tells its record in the same words as a client with a socket."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from typing import Any

import aiohttp
import orjson

from tests.oracle.check import LARGE_BYTES
from tests.oracle.replica import Answered, Asked, Bootstrapped, Delta, Frame, Opened, RowKey, Settled
from tests.oracle.subscriber import LIMIT_SECONDS, StreamEnded, Subscriber

PATH = "/api/v1/changes"


class Follower(Subscriber):
    """Reads `GET /v1/changes` with `snapshot=1`; what it was told last brings it back to where it was."""

    writes = False
    _response: aiohttp.ClientResponse | None = None
    _place = ""
    _live_at = -1
    _pending: list[Delta]
    _rows: dict[RowKey, Any] | None = None
    _rows_at = 0

    @property
    def is_open(self) -> bool:
        return self._response is not None and self._reading is not None and not self._reading.done()

    async def open(self, url: str, *, with_cursor: bool = False) -> None:
        """Connects, where it was when it has rows; it always says so, whatever is asked for."""
        assert not self.is_open
        self._pending, self._rows, self._live_at = [], None, -1
        self.groups = self.groups or self.identity.groups  # to ask for none is to ask for all
        resumes = bool(self._place) and self.replica.is_whole
        headers = {"Authorization": f"Bearer {self.key}"} | ({"Last-Event-ID": self._place} if resumes else {})
        query = [("snapshot", "1"), *(("groups", group) for group in sorted(self.groups))]
        self._may_read.set()
        response = await asyncio.wait_for(
            self._session.get(url + PATH, params=query, headers=headers, timeout=aiohttp.ClientTimeout(total=None)),
            LIMIT_SECONDS,
        )
        if response.status >= 500:
            response.close()
            raise StreamEnded(f"{PATH}: {response.status}")
        assert response.status == 200, await response.text()
        self._url, self._response = url, response
        after = _position_of(self._place) if resumes else None
        self._note(Opened(self.groups, after, not resumes))
        if after is not None:
            self._note(Asked(after))
            self._note(Answered((), after, False, 0))
        self._reading = asyncio.create_task(self._read_events(response), name=f"reading {self.name}")

    async def close(self, *, rudely: bool = False) -> None:
        """Goes; there is no other way than rudely."""
        response, self._response = self._response, None
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
            await asyncio.wait({reading})
        if response is not None:
            response.close()

    async def _read_events(self, response: aiohttp.ClientResponse) -> None:
        fields: dict[str, str] = {}
        try:
            while True:
                await self._may_read.wait()
                line = await response.content.readline()
                if not line:
                    break
                text = line.decode().rstrip("\n")
                if text:
                    name, _, value = text.partition(":")
                    fields[name] = value.removeprefix(" ")
                    continue
                if "data" in fields:
                    self._hear_event(fields["event"], orjson.loads(fields["data"]), fields.get("id"))
                self._place = fields.get("id", self._place)
                fields = {}
                async with self._heard:
                    self._heard.notify_all()
        except (aiohttp.ClientError, ConnectionError):
            pass
        async with self._heard:
            self._heard.notify_all()

    def _hear_event(self, name: str, said: Any, cursor: str | None) -> None:
        if name == "end":
            self._rows = None  # not all of them have come
        elif name != "row" and self._rows is not None:
            rows, self._rows = self._rows, None
            settled = max(self._rows_at, self._head())
            self._note(Bootstrapped(self._rows_at, rows, self.groups, settled, in_stream=True))
        match name:
            case "snapshot":
                self._rows, self._rows_at = {}, said["lastSyncId"]
            case "row":
                assert self._rows is not None
                self._rows[said["modelName"], said["modelId"]] = said["data"]
            case "change":
                self._pending.append(Delta.from_json(said))
                if cursor is not None:
                    assert _position_of(cursor) >= said["id"]
                    self._flush(0)
            case "live":
                assert not self._pending
                self._live_at = said["lastSyncId"]
                self._note(Answered((), said["lastSyncId"], False, 0))
            case "bootstrap":
                self._flush(LARGE_BYTES)  # what was sent of a transaction that it has fallen off in
                self.told_to_bootstrap += 1
                self._note(Answered((), said["lastSyncId"], True, 0))
            case _:
                assert name == "end", name

    def _flush(self, size_bytes: int) -> None:
        if self._pending:
            self._note(Frame(tuple(self._pending), size_bytes))
            self._pending = []

    # --- what a client with a socket asks for -------------------------------------------------------------------------

    async def arrive(self) -> None:
        """Waits until it has everything."""
        await self._until(lambda: self._live_at >= 0, "an event `live`")

    async def sync(self) -> None:
        """It is told without asking."""

    async def catch_up(self) -> None:
        """It has come back where it was."""

    async def mend(self) -> None:
        """Rows come by themselves."""
        await self._until(lambda: self.replica.is_whole, "rows")

    async def send(self, kind: str, payload: Any) -> None:
        """Nothing can be said here."""

    async def subscribe(self, groups: frozenset[str]) -> None:
        """Other groups are another stream."""
        url = self._url
        await self.close()
        self.groups, self._place = groups, ""
        await self.open(url)
        await self.arrive()

    async def bootstrap(self, *, limit: int = 5000, in_stream: bool = False) -> None:
        """Begins anew."""
        await self.subscribe(self.groups)

    async def settle(self, position: int) -> None:
        """A stream says where it is when it begins to be live."""
        self.go_on()
        deadline = asyncio.get_running_loop().time() + LIMIT_SECONDS
        while self._live_at < position:
            with contextlib.suppress(AssertionError):
                await asyncio.wait_for(self.arrive(), LIMIT_SECONDS)
            if self._live_at >= position:
                break
            url = self._url
            await self.close()
            await self.open(url)
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError(f"{self.name} is at {self._live_at}, not at {position}")
            await self.arrive()
        self._note(Settled(max(self._live_at, self.replica.position)))


def _position_of(cursor: str) -> int:
    """A cursor is for the server alone; the judge looks inside."""
    return int(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().split(":")[1])
