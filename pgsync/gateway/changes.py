"""`GET /v1/changes`: the stream as server-sent events, for curl and scripts and whoever has no WebSocket.

The same authorisation, order and deltas as over a WebSocket. A reader holds a place in the ring and no queue: one that
reads slowly is held back by its own connection, and one that falls off the ring is told to bootstrap.

    : comments keep the connection alive
    event: snapshot   what follows replaces what the reader has (only with snapshot=1)
    event: row        one row of the snapshot
    event: live       everything up to here has been sent
    event: change     a delta; the last of its transaction carries the cursor as `id`
    event: bootstrap  changes were missed: load the rows anew (with snapshot=1 they follow at once)
    event: end        why the server ends the stream
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import orjson
import psycopg
from aiohttp import web

from pgsync import wire
from pgsync.errors import PgsyncError
from pgsync.gateway import condition
from pgsync.gateway.active_schema import ServedSchema
from pgsync.gateway.authenticate import Credential
from pgsync.gateway.bootstrap import asked_groups, groups_of
from pgsync.gateway.connection import Call, Exchange, Statement
from pgsync.gateway.connections import CREDENTIAL_EXPIRED, CREDENTIAL_REVOKED, Connections, end_if_outdated
from pgsync.gateway.cors import Cors
from pgsync.gateway.database import Database, DatabaseUnavailableError
from pgsync.gateway.handler import REQUEST_ID, Handler, Segments
from pgsync.gateway.matching import condition_of
from pgsync.gateway.memberships import Looked, Memberships, edges_of, looked
from pgsync.gateway.query import ModelReader
from pgsync.gateway.snapshot import BEGIN_READ, COMMIT, identify, read, snapshot_of
from pgsync.gateway.spool import Spool
from pgsync.log import Event, emit
from pgsync.models import Model
from pgsync.stream.cursor import cursor_decode
from pgsync.stream.events import Condition, Reload, Selection, UnknownColumnError, Unread, event, place
from pgsync.stream.feed import Feed
from pgsync.stream.ring import Fallen
from pgsync.stream.session import Session
from pgsync.stream.timeline import Snapshot

PATH: Final = "/api/v1/changes"
KEEPALIVE_SECONDS: Final = 15.0
# Nothing at all was taken for so long: the reader is gone or stands still, and can go on from its cursor later.
STALLED_SECONDS: Final = 120.0
CLOSE_SECONDS: Final = 3.0
SETTLE_SECONDS: Final = 1.0
VISIBLE_SECONDS: Final = 0.005
BATCH_BYTES: Final = 64 * 1024
PAGE_BYTES: Final = 256 * 1024
FIRST_PAGE_ROWS: Final = 100
MOST_PAGE_ROWS: Final = 5000
RETRY_MILLISECONDS: Final = 1000

_HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",  # nginx would hold events back
    "Ablo-Version": wire.API_VERSION,
}
_PARAMETERS: Final = ("models", "groups", "where", "cursor", "snapshot", "follow")
_CURSOR: Final = "rows"
_CLOSE: Final = Call(Statement(b"CLOSE rows"))
_KEEPALIVE: Final = b": keep-alive\n"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request asks for. `models` are the keys of those that were named, empty for all; `terms` the conditions on
    them by key.

    `cursor`: where to go on, "" for nowhere. `asked` are the groups that were named, of which `groups` are those that
    the credential itself holds.
    """

    asked: frozenset[str]
    groups: frozenset[str]
    models: tuple[str, ...]
    selection: Selection
    terms: Mapping[str, Sequence[condition.Term]]
    cursor: str
    snapshot: bool
    follow: bool


class Changes:
    """Answers `GET /v1/changes`."""

    def __init__(
        self,
        *,
        feed: Feed,
        database: Database,
        schema: ServedSchema,
        connections: Connections,
        memberships: Memberships,
        cors: Cors,
        snapshots: int,
    ) -> None:
        self._feed = feed
        self._database = database
        self._schema = schema
        self._connections = connections
        self._memberships = memberships
        self._cors = cors
        # Each takes a connection of the reads' pool for as long as the database needs; the others have to read, too.
        self._snapshots = asyncio.Semaphore(snapshots)

    def routes(self) -> Iterable[tuple[str, Mapping[str, Handler]]]:
        """The one route."""
        yield PATH, {"GET": self._get}

    async def _get(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> web.StreamResponse:
        wanted = await self._wanted(request, credential)
        self._connections.check(credential)
        request_id = REQUEST_ID.get()
        response = web.StreamResponse(headers={**_HEADERS, **self._cors.headers(request), "x-request-id": request_id})
        stream = Stream(
            response,
            transport=request.transport,
            credential=credential.subscribed(wanted.asked),
            wanted=wanted,
            memberships=self._memberships,
            feed=self._feed,
            database=self._database,
            schema=self._schema,
            snapshots=self._snapshots,
        )
        # In the index before the client hears that it is connected: what is committed meanwhile waits for it.
        self._connections.add(stream)
        end_if_outdated(stream, self._schema.edge_kinds)
        emit(
            Event.SESSION_OPENED,
            session=request_id,
            organization_id=credential.organization_id,
            participant_kind=credential.participant_kind,
            capability_id=credential.capability_id,
        )
        try:
            await response.prepare(request)
            await stream.run(request_id)
        finally:
            self._connections.discard(stream)
            stream.release()
            emit(Event.SESSION_CLOSED, session=request_id, close_code=0, reason=stream.reason)
        return response

    async def _wanted(self, request: web.BaseRequest, credential: Credential) -> Wanted:
        """Raises invalid_request, unknown_model, capability_scope_denied and the codes of groups and of `where`."""
        query = request.rel_url.query
        for name in query:
            if name not in _PARAMETERS:
                wire.refuse("invalid_request", f"the parameters are {', '.join(_PARAMETERS)}", param=name[:100])
        asked = asked_groups(credential, _split(query.getall("groups", [])))
        names = _split(query.getall("models", []))
        models = [(await self._schema.reader(name)).model for name in names]
        schema = self._schema.current
        if not names:
            models = [model for model in schema.models if credential.may_read(model)]
        for model in models:
            if not credential.may_read(model):
                scope = f"{model.typename.lower()}.read"
                raise PgsyncError(
                    "capability_scope_denied",
                    f"this credential may not read {model.key}",
                    param="models",
                    details={"requiredCapability": {"scope": scope}},
                )
        terms = _conditions(models, query.get("where"), whole=len(models) == 1)
        conditions: dict[str, Condition] = {
            key: condition_of(tuples, f"{schema.version}:{query.get('where')}") for key, tuples in terms.items()
        }
        selection = Selection(
            frozenset(model.key for model in models) if names else None, frozenset(conditions.items())
        )
        return Wanted(
            asked,
            groups_of(credential, asked),
            tuple(model.key for model in models) if names else (),
            selection,
            terms,
            request.headers.get("Last-Event-ID") or query.get("cursor") or "",
            _flag(query.get("snapshot"), "snapshot", default=False),
            _flag(query.get("follow"), "follow", default=True),
        )


class Stream:
    """One reader. Its session exists from the start, before the reader hears that it is connected."""

    def __init__(
        self,
        response: web.StreamResponse,
        *,
        transport: asyncio.Transport | None,
        credential: Credential,
        wanted: Wanted,
        memberships: Memberships,
        feed: Feed,
        database: Database,
        schema: ServedSchema,
        snapshots: asyncio.Semaphore,
    ) -> None:
        self.credential = credential
        self.reason = ""
        self._response = response
        self._transport = transport
        self._wanted = wanted
        self._memberships = memberships
        self._feed = feed
        self._database = database
        self._schema = schema
        self._snapshots = snapshots
        self._router = feed.router
        self._session: Session = self._open()
        self._ending: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        self._done = asyncio.Event()

    @property
    def kind(self) -> str:
        """Server-sent events."""
        return "events"

    def release_scopes_of(self, capability_id: str) -> None:
        """Nothing is seen here through another credential."""

    def end(self, code: int, reason: str) -> bool:
        """Ends soon with a last event. False: it was ending already."""
        if self._ending.done():
            return False
        self._ending.set_result((code, reason))
        return True

    async def close(self, code: int, reason: str) -> None:
        """Ends with a last event, and waits until it has been sent."""
        self.end(code, reason)
        await self._done.wait()

    def release(self) -> None:
        """Gives up the place in the stream."""
        self._router.close(self._session)
        self._done.set()

    async def run(self, request_id: str) -> None:
        """Serves until either side ends it."""
        last: dict[str, str] | None = None
        serving = asyncio.ensure_future(self._serve())
        try:
            remaining = self.credential.remaining_seconds()
            either: set[asyncio.Future[Any]] = {serving, self._ending}
            await asyncio.wait(either, timeout=remaining, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                await serving
            else:
                code, self.reason = (
                    self._ending.result() if self._ending.done() else (CREDENTIAL_EXPIRED, "credential_expired")
                )
                last = _ENDINGS.get(code, {"message": self.reason})
        except ConnectionError:
            return  # the reader went without a word
        except TimeoutError:
            self.reason = "the reader stands still"
            self._abort()
            return
        except PgsyncError as error:
            last = {"code": error.code, "message": error.message}
        except psycopg.Error as error:
            refused = PgsyncError.of_database(error)
            last = {"code": refused.code, "message": refused.message}
        except DatabaseUnavailableError as error:
            last = {"code": "connected_database_unreachable", "message": str(error)}
        except (UnknownColumnError, ValueError):
            message = "the schema has changed under a condition of `where`: connect again"
            last = {"code": "query_invalid_identifier", "message": message}
        except Exception as error:  # noqa: BLE001  # one reader's end must not be the server's
            emit(Event.SESSION_FAILED, session=request_id, error=error)
            last = {
                "code": "internal_error",
                "message": f"something went wrong here; the log has it under {request_id}",
            }
        finally:
            serving.cancel()
            with contextlib.suppress(BaseException):
                await serving
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                if last is not None:
                    await self._response.write(event(b"end", orjson.dumps(last)))
                await self._response.write_eof()
        except TimeoutError:
            self._abort()
        except ConnectionError:
            pass

    def _abort(self) -> None:
        """Cuts the connection: who does not read cannot be told anything."""
        if self._transport is not None:
            self._transport.abort()

    # --- what is sent -------------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        await self._write(b": pgsync\nretry: %d\n\n" % RETRY_MILLISECONDS)
        missed = self._resume() if self._wanted.cursor else None
        if missed is not None:
            await self._bootstrap(missed)
        elif self._wanted.snapshot and not self._wanted.cursor:
            await self._send_snapshot()
        is_live = False
        while True:
            try:
                frames = self._session.take(BATCH_BYTES)
                if not frames and self._session.turn is not None:
                    is_live = await self._regroup() and is_live
                    continue
                if not frames and not self._session.is_behind:
                    if not is_live:
                        if not await self._settle():
                            continue
                        is_live = True
                        await self._write(event(b"live", self._position(), self._cursor()))
                    if not self._wanted.follow:
                        return
                    frames = await self._next()
                is_live = await self._send(frames) and is_live
            except Fallen:
                await self._bootstrap("restarted" if self._router.is_retired else "too_slow")
                is_live = False
            await self._feed.turns.between_frames()

    async def _regroup(self) -> bool:
        """Learns what memberships grant where the session begins; a reader whose memberships change bootstraps.

        Whether the events go on without a break.
        """
        session, turn = self._session, self._session.turn
        found = await self._patiently(self._memberships.look_up(session, self.credential))
        if found is None or turn is None or not session.waits_at(turn):
            return True
        if turn.transaction is not None:
            session.start_from_snapshot(found.snapshot)
        self._know(found)
        if turn.transaction is not None:
            await self._bootstrap("groups_changed", starts_at_head=False)
        return turn.transaction is None

    def _know(self, found: Looked) -> None:
        edges = self.credential.wants(self._wanted.asked or None, found.groups)
        held = self.credential.sync_groups | found.groups
        self._session.know(self._wanted.groups | edges, found.snapshot, held)

    async def _settle(self) -> bool:
        """Waits until the cursor can be said, if that is soon; whether nothing has happened meanwhile."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + SETTLE_SECONDS
        while not self._session.is_settled and loop.time() < deadline:
            if self._session.is_behind:
                return False
            await asyncio.sleep(SETTLE_SECONDS / 50)
        return not self._session.is_behind

    async def _next(self) -> list[bytes]:
        """The next events, or none when it is time to show that the connection lives."""
        try:
            async with asyncio.timeout(KEEPALIVE_SECONDS):
                return await self._session.next_batch(BATCH_BYTES)
        except TimeoutError:
            cursor = self._cursor()
            await self._write(_KEEPALIVE + (b"\n" if cursor is None else place(cursor)))
            return []

    async def _send(self, frames: list[bytes]) -> bool:
        """Sends events; whether they go on without a break."""
        for frame in frames:
            if isinstance(frame, Unread):
                await self._write(await self._patiently(self._reread(frame)))
            elif isinstance(frame, Reload):
                await self._write(frame)
                if self._wanted.snapshot:
                    await self._send_snapshot()
                    return False
            else:
                await self._write(frame)
        return True

    async def _write(self, data: bytes) -> None:
        async with asyncio.timeout(STALLED_SECONDS):
            await self._response.write(data)

    async def _patiently(self, awaitable: Awaitable[T]) -> T:
        """Waits for it, and shows meanwhile that the connection lives."""
        waiting = asyncio.ensure_future(awaitable)
        try:
            while not (await asyncio.wait({waiting}, timeout=KEEPALIVE_SECONDS))[0]:
                await self._write(_KEEPALIVE + b"\n")
            return await waiting
        finally:
            waiting.cancel()

    def _position(self) -> bytes:
        return b'{"lastSyncId":%d}' % self._session.position

    def _cursor(self) -> str | None:
        """Where a reader that has everything so far can go on; None while that cannot be said exactly."""
        return self._session.cursor() if self._session.is_settled else None

    # --- where it begins ----------------------------------------------------------------------------------------------

    def _open(self) -> Session:
        return self._router.open(
            self.credential.organization_id,
            self._wanted.groups,
            readable=self.credential.readable,
            reader=self.credential.reader,
            view=self._wanted.selection,
            member=self.credential.member,
            is_newer=self._schema.current.version > self._feed.schema.version,
        )

    def _resume(self) -> str | None:
        """Goes on where the reader says that it was; why that cannot be, if it cannot."""
        sync_id = cursor_decode(self._wanted.cursor, self._router.epoch)
        if sync_id is None:
            return "unknown_cursor"
        try:
            self._session.start_after(sync_id)
        except Fallen:
            return "too_old"
        return None

    async def _bootstrap(self, reason: str, *, starts_at_head: bool = True) -> None:
        """Tells the reader that it has missed changes, and goes on from here."""
        if starts_at_head:
            self._start_at_head()
        said = orjson.dumps({"reason": reason, "lastSyncId": self._session.position})
        if self._wanted.snapshot:
            await self._write(event(b"bootstrap", said))
            await self._send_snapshot()
        else:
            await self._write(event(b"bootstrap", said, self._cursor()))

    def _start_at_head(self) -> None:
        if self._router.is_retired:
            self._router.close(self._session)
            self._router = self._feed.router
            self._session = self._open()
        else:
            self._session.start_at_head()

    # --- rows ---------------------------------------------------------------------------------------------------------

    async def _send_snapshot(self) -> None:
        """All rows of one moment; the session then goes on exactly from there."""
        with Spool() as spool:
            reading = asyncio.ensure_future(self._read_rows(spool))
            try:
                while data := await self._patiently(spool.read(BATCH_BYTES)):
                    await self._write(data)
                await reading
            finally:
                reading.cancel()
                await asyncio.wait({reading})

    async def _read_rows(self, spool: Spool) -> None:
        """Reads as fast as the database can, so that no transaction waits for a slow reader."""
        try:
            async with self._snapshots, self._database.hold() as connection:
                await self._copy_rows(connection, spool)
        finally:
            spool.complete()

    async def _copy_rows(self, connection: Exchange, spool: Spool) -> None:
        follows = self.credential.member is not None
        edges = [edges_of(self.credential)] if follows else []
        results = await connection.run([BEGIN_READ, identify(self.credential), self._schema.ask_version(), *edges])
        await self._schema.keep_up(results[2])  # or a field that was pushed a moment ago would be missing in the rows
        snapshot = snapshot_of(results[1])
        position = self._go_on_from(snapshot)
        if follows:
            self._know(looked(results[3]))
        self._feed.sample_soon()  # so that it will be known soon when all that it shows has been streamed
        schema = self._schema.current
        if self._wanted.models:
            models = [found for key in self._wanted.models if (found := schema.find(key)) is not None]
        else:  # also those that were pushed since the reader came: their changes arrive, too
            models = [model for model in schema.models if self.credential.may_read(model)]
        said = {
            "lastSyncId": position,
            "models": [model.typename for model in models],
            "schemaHash": schema.hash,
        }
        spool.write(event(b"snapshot", orjson.dumps(said)))
        for model in models:
            reader = self._schema.reader_of(model)
            await connection.run([reader.scan(_CURSOR, self._wanted.terms.get(model.key, ()))])
            await self._copy_model(connection, reader, spool)
            await connection.run([_CLOSE])
        await connection.run([COMMIT])

    async def _copy_model(self, connection: Exchange, reader: ModelReader, spool: Spool) -> None:
        head = b'{"actionType":"I","modelName":%b,"modelId":' % orjson.dumps(reader.model.typename)
        count = FIRST_PAGE_ROWS
        while True:
            (result,) = await connection.run([Call(Statement(b"FETCH %d FROM rows" % count))])
            data = b"".join(
                event(b"row", head + orjson.dumps(reader.row_id(result, index)) + b',"data":%b}' % row)
                for index in range(result.ntuples)
                for row in (reader.row_bytes(result, index),)
            )
            if data:
                spool.write(data)
            if result.ntuples < count:
                return
            count = min(max(PAGE_BYTES * count // len(data), 1), MOST_PAGE_ROWS)
            await asyncio.sleep(0)

    def _go_on_from(self, snapshot: Snapshot) -> int:
        """Has the session give what this snapshot does not show, and nothing that it shows; its sync id."""
        if self._router.is_retired:
            self._start_at_head()
        try:
            self._session.start_from_snapshot(snapshot)
        except Fallen:
            self._session.start_at_head()
            raise PgsyncError("instance_at_capacity", "the stream has begun anew: connect again") from None
        return self._session.position

    async def _reread(self, unread: Unread) -> bytes:
        """The row as it is now, for what the log does not tell: it may be ahead of its place, and never behind."""
        change = unread.change
        model = self._schema.current.find(change.model.key)
        if model is None:
            return unread
        reader = self._schema.reader_of(model)
        while True:
            reading = await read(self._database, self.credential, [reader.one(change.row_id)])
            if reading.snapshot.sees(unread.xid):
                break
            await asyncio.sleep(VISIBLE_SECONDS)  # it is in the log a moment before others see it
        (result,) = reading.results
        condition = self._wanted.selection.condition(model)
        if not result.ntuples or (condition is not None and not condition.holds(reader.texts(result, 0))):
            return unread
        return unread.with_row(reader.row_bytes(result, 0))


_ENDINGS: Final[Mapping[int, dict[str, str]]] = {
    CREDENTIAL_EXPIRED: {"code": "apikey_expired", "message": "this key has expired"},
    CREDENTIAL_REVOKED: {"code": "apikey_revoked", "message": "this key was revoked"},
}


def _conditions(models: Sequence[Model], text: str | None, *, whole: bool) -> dict[str, list[condition.Term]]:
    """The tuples of `where` by model: those of the one model that was asked for, or of each that an object names."""
    if text is None or text == "":
        return {}
    parsed: Any = condition.parse(text)
    if not isinstance(parsed, dict):
        if not whole:
            wire.refuse(
                "invalid_request",
                'where is an array for one model of `models`, for several an object such as {"tasks": [..]}',
                param="where",
            )
        return {models[0].key: condition.terms_of(models[0], parsed)}
    found: dict[str, list[condition.Term]] = {}
    for name, tuples in parsed.items():
        lowered = name.lower()
        model = next((m for m in models if lowered in (m.key.lower(), m.typename.lower(), m.table.lower())), None)
        if model is None:
            wire.refuse("unknown_model", f"where names {name[:100]!r}, which is not among the models", param="where")
        found[model.key] = condition.terms_of(model, tuples, f"where.{name}")
    return found


def _split(values: Iterable[str]) -> list[str]:
    return [part for value in values for part in value.split(",") if part]


def _flag(value: str | None, name: str, *, default: bool) -> bool:
    if value is None:
        return default
    if value not in ("0", "1", "true", "false"):
        wire.refuse("invalid_request", f"{name} is 0 or 1", param=name)
    return value in ("1", "true")
