"""Snapshots for live clients: all rows that a caller may see, with the sync id from which the stream continues them.

A page holds up to `limit` rows of every model that is not finished. All pages carry the position of the first one:
what later pages know beyond it arrives again as deltas, which changes nothing.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from pgsync import wire
from pgsync.errors import PgsyncError
from pgsync.gateway.active_schema import ServedSchema
from pgsync.gateway.authenticate import Credential
from pgsync.gateway.connection import Call
from pgsync.gateway.database import Database
from pgsync.gateway.query import ModelReader
from pgsync.gateway.snapshot import Reading, read
from pgsync.models import ActiveSchema, Model
from pgsync.stream.feed import Feed
from pgsync.stream.ring import DEFAULT_GROUP, Fallen
from pgsync.stream.timeline import Snapshot

DEFAULT_LIMIT: Final = 5000
MAX_LIMIT: Final = 20_000
MAX_FEW: Final = 5000
PARTIAL_BYTES: Final = 8 * 1024 * 1024
VISIBLE_SECONDS: Final = 1.0
WHOLE_SECONDS: Final = 20.0

_DELTA: Final = b'{"type":"delta","payload":'
_DELTAS: Final = _DELTA + b'{"deltas":['


def deltas_of(frame: bytes) -> bytes | None:
    """The deltas of a frame, separated by commas; b"" for one that only says where a transaction ends.

    None for one that tells the client to bootstrap.
    """
    if frame.startswith(_DELTAS):
        return frame[len(_DELTAS) : -3]
    if frame.startswith(_DELTA):
        return frame[len(_DELTA) : -1]
    return None if b'"requiresBootstrap":true' in frame else b""


def groups_of(credential: Credential, wanted: Iterable[str]) -> frozenset[str]:
    """Those of the credential's own sync groups that a caller asks for, all of them when it asks for none.

    Without those that memberships grant: who may have them, only the database knows. Raises as `asked_groups`.
    """
    groups = asked_groups(credential, wanted)
    return groups & (credential.sync_groups | {DEFAULT_GROUP}) if groups else credential.sync_groups


def asked_groups(credential: Credential, wanted: Iterable[str]) -> frozenset[str]:
    """The sync groups that a caller asks for by name, none for all.

    Raises invalid_sync_group, and capability_scope_denied for a group that the credential does not hold. One that a
    membership can grant may be asked for whether there is the membership now or not: it counts when there is.
    """
    groups = frozenset(wanted)
    for group in groups:
        wire.check_sync_group(group)
    missing = {g for g in groups - credential.sync_groups - {DEFAULT_GROUP} if not credential.may_gain(g)}
    if missing:
        raise PgsyncError(
            "capability_scope_denied",
            f"this credential does not hold the sync group {min(missing)}",
            param="syncGroups",
            details={"requiredCapability": {"scope": min(missing)}},
        )
    return groups


@dataclass(frozen=True, slots=True)
class Snapshotted:
    """A full snapshot's answer, and where it was taken."""

    body: bytes
    snapshot: Snapshot
    position: int


class Bootstrap:
    """Answers `GET /sync/bootstrap` and `bootstrap_request` frames (contract 2.2)."""

    def __init__(self, database: Database, schema: ServedSchema, feed: Feed) -> None:
        self._database = database
        self._schema = schema
        self._feed = feed

    async def answer(self, credential: Credential, parameters: Sequence[tuple[str, str]]) -> bytes:
        """A partial answer when the deltas since `lastSyncId` are at hand, else rows."""
        asked = asked_groups(credential, _split(parameters, "syncGroups"))
        single = dict(parameters)
        limit = _integer(single.get("limit") or str(DEFAULT_LIMIT), "limit", least=1, most=MAX_LIMIT)
        last_sync_id = _integer(single.get("lastSyncId") or "0", "lastSyncId", least=0, most=2**53)
        models = _split(parameters, "models")
        cursor = single.get("cursor")
        # What somebody gained or lost by a membership since then is no delta: rows say it.
        if last_sync_id and not cursor and not credential.edge_kinds:
            partial = self._partial(credential, groups_of(credential, asked), last_sync_id)
            if partial is not None:
                return partial
        return (await self.full(credential.subscribed(asked), models=models, limit=limit, cursor=cursor)).body

    def _partial(self, credential: Credential, groups: frozenset[str], last_sync_id: int) -> bytes | None:
        router = self._feed.router
        session = router.open(
            credential.organization_id, groups, readable=credential.readable, reader=credential.reader
        )
        try:
            session.start_after(last_sync_id)
            frames = session.take(PARTIAL_BYTES)
            if session.is_behind:
                return None  # so much has happened that the rows are less
            position = session.position
        except Fallen:
            return None
        finally:
            router.close(session)
        parts = [deltas_of(frame) for frame in frames]
        if None in parts:
            return None
        deltas = b"[" + b",".join(part for part in parts if part) + b"]"
        try:
            count = len(orjson.loads(deltas))
        except orjson.JSONDecodeError:
            return None  # Postgres takes documents for JSON that we cannot read: numbers beyond a double, any depth
        return b"".join(
            (
                b'{"type":"partial","lastSyncId":%d,"models":{},"deltas":' % position,
                deltas,
                b',"deltaCount":%d' % count,
                self._ending(),
            )
        )

    async def full(
        self,
        credential: Credential,
        *,
        models: Sequence[str] = (),
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
    ) -> Snapshotted:
        """Rows of the models named by typename, of all that load at once when none is named, in all its groups."""
        place = self._place(cursor) if cursor else None
        while True:
            schema = self._schema.current
            taken = await self._full(credential, schema, models=models, limit=limit, place=place)
            if taken is not None:
                return taken

    async def _full(
        self,
        credential: Credential,
        schema: ActiveSchema,
        *,
        models: Sequence[str],
        limit: int,
        place: tuple[int, dict[str, str]] | None,
    ) -> Snapshotted | None:
        """None when the rows turn out to be of another version than the schema: a field would be missing in them."""
        if not models:
            wanted = [model for model in schema.models if model.load == "instant"]
        else:
            wanted = [found for name in models if (found := schema.find(name)) is not None]
        # A table that somebody has changed by hand must not keep everybody from the others.
        broken = {each.model for each in self._feed.problems if each.is_broken}
        readers = {model.typename: self._schema.reader_of(model) for model in wanted if model.key not in broken}
        if place is not None:
            readers = {name: readers[name] for name in place[1] if name in readers}
        after = {} if place is None else place[1]
        reading, position = await self._read(credential, readers, after, limit)
        version, *results = reading.results
        if await self._schema.keep_up(version) or self._schema.current is not schema:
            return None
        if place is not None:
            position = min(position, place[0])

        parts: list[bytes] = []
        unfinished: dict[str, str] = {}
        for (typename, reader), result in zip(readers.items(), results, strict=True):
            few = self._few(reader.model) if place is None else None
            count = min(result.ntuples, limit if few is None else few[0])
            rows = b",".join([reader.row_bytes(result, index) for index in range(count)])
            parts.append(orjson.dumps(typename) + b":[" + rows + b"]")
            if few is None and result.ntuples > count:
                unfinished[typename] = reader.row_id(result, count - 1)
        failed = [name for name in models if schema.find(name) is None]
        failed += [model.typename for model in wanted if model.key in broken]
        body = b"".join(
            (
                b'{"type":"full","lastSyncId":%d,"models":{' % position,
                b",".join(parts),
                b"}",
                b',"failedModels":' + orjson.dumps(failed) if failed else b"",
                b',"nextCursor":' + orjson.dumps(self._cursor(position, unfinished)) if unfinished else b"",
                self._ending(),
            )
        )
        return Snapshotted(body, reading.snapshot, position)

    async def _read(
        self,
        credential: Credential,
        readers: dict[str, ModelReader],
        after: dict[str, str],
        limit: int,
    ) -> tuple[Reading, int]:
        """Rows and their position, which does not lie before what had been streamed when the caller asked.

        So a client that is live already and then bootstraps has not been sent anything that the snapshot lacks. Where
        commits become visible late (synchronous replication), the next sync_request makes up for it.
        """
        calls = [self._schema.ask_version()]
        calls += [self._page(reader, limit, after.get(typename)) for typename, reader in readers.items()]
        await self._until_a_reader_can_go_on()
        head, deadline = self._feed.head, time.monotonic() + VISIBLE_SECONDS
        while True:
            reading = await read(self._database, credential, calls)
            position = self._feed.timeline.position_at(reading.snapshot)
            if position >= head or time.monotonic() >= deadline:
                return reading, position
            await asyncio.sleep(0.005)

    def _page(self, reader: ModelReader, limit: int, after: str | None) -> Call:
        few = self._few(reader.model) if after is None else None
        return reader.page_by_id(limit + 1, after) if few is None else reader.first(*few)

    def _few(self, model: Model) -> tuple[int, str] | None:
        """How many rows of a model a snapshot has, and the first in which order, where its schema says so."""
        declared = self._schema.current.document.get("models", {}).get(model.key, {})
        limit, order = declared.get("bootstrapLimit"), declared.get("bootstrapOrderBy")
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
            return None
        match order:
            case {"field": str(name), **rest} if set(rest) <= {"direction", "order"}:
                descending = "desc" in rest.values()
            case dict() if len(order) == 1:
                ((name, direction),) = order.items()
                descending = direction == "desc"
            case str():
                name, _, direction = order.removeprefix("-").partition(" ")
                descending = order.startswith("-") or direction.strip().lower() == "desc"
            case _:
                name, descending = "", False
        if model.field(name) is None:
            name = ""  # a schema from elsewhere may say what is not a field
        return min(limit, MAX_FEW), ("-" if descending else "") + name

    async def _until_a_reader_can_go_on(self) -> None:
        """While a transaction comes that is larger than the ring, whoever has read rows would fall off at once."""
        deadline = time.monotonic() + WHOLE_SECONDS
        while not self._feed.ring.holds_head and time.monotonic() < deadline:  # noqa: ASYNC110 - rare, and soon over
            await asyncio.sleep(0.05)

    def _ending(self) -> bytes:
        return b',"timestamp":%d,"schemaHash":%b}' % (
            time.time_ns() // 1_000_000,
            orjson.dumps(self._schema.current.hash),
        )

    def _cursor(self, position: int, unfinished: dict[str, str]) -> str:
        packed = orjson.dumps([self._feed.epoch, position, unfinished])
        return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()

    def _place(self, cursor: str) -> tuple[int, dict[str, str]]:
        try:
            packed: Any = orjson.loads(base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)))
        except (binascii.Error, UnicodeEncodeError, orjson.JSONDecodeError):
            packed = None
        match packed:
            case [self._feed.epoch, int(position), dict(unfinished)] if all(
                isinstance(row_id, str) and "\0" not in row_id for row_id in unfinished.values()
            ):
                return position, unfinished
        raise PgsyncError("invalid_request", "not a cursor of this bootstrap: begin it again", param="cursor")


def _split(parameters: Sequence[tuple[str, str]], name: str) -> list[str]:
    """The values of a parameter that may be repeated or hold several, separated by commas."""
    return [part for key, value in parameters if key == name for part in value.split(",") if part]


def _integer(text: str, name: str, *, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 16 and least <= int(text) <= most):
        raise PgsyncError("invalid_request", f"{name} is a number from {least} to {most}", param=name)
    return int(text)
