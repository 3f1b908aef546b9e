"""One WebSocket: frames of the client in, deltas and answers out, each in its order.

Deltas are not queued here: the session holds a place in the ring, so a client that reads slowly costs nothing, and
one that is too slow is told to bootstrap.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import orjson
import psycopg
from aiohttp import WSMsgType, web

from pgsync import wire
from pgsync.errors import PgsyncError
from pgsync.gateway.authenticate import Credential
from pgsync.gateway.bootstrap import Bootstrap, asked_groups, deltas_of, groups_of
from pgsync.gateway.commits import Committer
from pgsync.gateway.coordination import Coordination
from pgsync.gateway.database import DatabaseUnavailableError
from pgsync.gateway.live_claims import ClaimFrames
from pgsync.gateway.member import Member
from pgsync.gateway.memberships import Memberships
from pgsync.gateway.scopes import Scopes
from pgsync.stream.cursor import cursor_decode, cursor_encode
from pgsync.stream.feed import Feed
from pgsync.stream.passage import Turn
from pgsync.stream.ring import Fallen
from pgsync.stream.session import Session
from pgsync.tasks import TaskGroup

LEASE_SECONDS: Final = 90.0
OPENING_SECONDS: Final = 1.0
MAX_PENDING_COMMITS: Final = 64
RESPONSE_BYTES: Final = 1024 * 1024
CLOSE_SECONDS: Final = 3.0
CATCH_UP_BATCHES: Final = 16
CATCH_UP_BYTES: Final = 256 * 1024
SETTLE_SECONDS: Final = 1.0

UNSUPPORTED_DATA: Final = 1003
TRY_AGAIN: Final = 1013
SILENT: Final = 4000
PROTOCOL_MISMATCH: Final = 4010

_PONG: Final = b'{"type":"pong","payload":{}}'


class Socket:
    """Serves one client of one credential. The session exists from the start, before the client hears that it is
    open.
    """

    def __init__(
        self,
        response: web.WebSocketResponse,
        *,
        credential: Credential,
        feed: Feed,
        bootstrap: Bootstrap,
        committer: Committer,
        coordination: Coordination,
        memberships: Memberships,
        asked: frozenset[str],
        cursor: str,
        request_id: str,
    ) -> None:
        self.reason = ""
        self._request_id = request_id
        self._response = response
        self._credential = credential
        self._feed = feed
        self._bootstrap = bootstrap
        self._committer = committer
        self._memberships = memberships
        self._coordination = coordination
        # What the client has asked for, None for all; of that the credential's own, and what memberships grant.
        self._asked = asked or None
        self._subscribed = groups = groups_of(credential, asked)
        self._edges = frozenset[str]()
        self._router = feed.router
        self._session: Session = self._open(groups)
        # Everything after this sync id has been or will be sent in order.
        self._origin = self._session.starts_after
        self._must_bootstrap = False
        self._opened = asyncio.Event()
        self._sending = asyncio.Lock()
        self._commits: asyncio.Queue[tuple[bytes, Any]] = asyncio.Queue(MAX_PENDING_COMMITS)
        self._ending: tuple[int, str] | None = None
        self._lease: asyncio.Timeout | None = None  # while a frame is waited for
        self._closing: asyncio.Task[None] | None = None
        self._member = Member(
            credential, groups, on_overflow=partial(self.end, TRY_AGAIN, "too_slow"), catch_up=self._catch_up
        )
        self._scopes = Scopes(credential, coordination.authenticator, self._regroup)
        self._claims = ClaimFrames(
            self._member,
            database=coordination.database,
            schema=coordination.schema,
            lines=coordination.lines,
            scopes=self._scopes,
        )
        self._handlers: dict[str, Callable[[Any], Awaitable[None]]] = {
            "sync_request": self._on_sync_request,
            "update_subscription": self._on_update_subscription,
            "ack": self._on_ack,
            "ping": self._on_ping,
            "bootstrap_request": self._on_bootstrap_request,
            "presence_update": self._on_presence_update,
        }
        if cursor:
            self._resume(cursor)

    @property
    def kind(self) -> str:
        """A WebSocket."""
        return "websocket"

    @property
    def credential(self) -> Credential:
        """Whose it is."""
        return self._credential

    async def run(self) -> None:
        """Serves until either side closes. Raises ConnectionError when the client is gone."""
        self._coordination.join(self._member)
        try:
            async with TaskGroup() as tasks:
                running = (
                    self._send_deltas(),
                    self._run_commits(),
                    self._member.outbox.run(self._send),
                    self._claims.run(),
                )
                others = [tasks.create_task(one) for one in running]
                closing = await self._receive()
                for task in others:
                    task.cancel()
            if closing is not None:
                await self.close(*closing)
        except BaseExceptionGroup as group:
            raise _first(group) from None
        finally:
            self._member.outbox.close()
            await self._claims.finish()
            self._scopes.close()
            self._coordination.leave(self._member)

    def end(self, code: int, reason: str) -> bool:
        """Closes soon; for callers that cannot wait for it. False: it was ending already."""
        if self._ending is not None:
            return False
        self._ending = code, reason
        loop = asyncio.get_running_loop()
        if self._lease is not None:
            # By whoever receives: closed from elsewhere, aiohttp drops the connection before the client has answered.
            if not self._lease.expired():
                self._lease.reschedule(loop.time())
        else:
            self._closing = loop.create_task(self.close(code, reason))
        return True

    async def close(self, code: int, reason: str) -> None:
        """Closes with a code of contract 2.7."""
        self.reason = reason
        with contextlib.suppress(TimeoutError):  # the client does not answer: the connection is dropped
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._response.close(code=code, message=reason.encode())

    def release_scopes_of(self, capability_id: str) -> None:
        """A credential ends: the groups that were joined with it go."""
        self._scopes.release_of(capability_id)

    def release(self) -> None:
        """Gives up the place in the stream."""
        self._router.close(self._session)

    # --- out ----------------------------------------------------------------------------------------------------------

    async def _send(self, frame: bytes) -> None:
        await self._response.send_frame(frame, WSMsgType.TEXT)

    async def _send_deltas(self) -> None:
        # A client says what it has in its first sync_request. Deltas that overtook the answer would be out of order.
        try:
            async with asyncio.timeout(OPENING_SECONDS):
                await self._opened.wait()
        except TimeoutError:
            self._opened.set()
        while True:
            session = self._session
            if not await session.ready():
                if session is self._session:
                    return
                continue  # another has taken its place
            async with self._sending:  # before it is taken: whoever sends besides must not be in between
                try:
                    frames = self._session.take()
                    for frame in frames:
                        await self._send(frame)
                    await self._settle()
                except Fallen:
                    await self._send_fallen()
            if self._session.is_behind:
                await self._feed.turns.between_frames()

    async def _settle(self, *, patience_seconds: float | None = None) -> None:
        """What a session's turn needs: its groups where it begins; a client whose memberships change bootstraps."""
        session, turn = self._session, self._session.turn
        if turn is None:
            return
        found = await self._memberships.look_up(session, self._credential, patience_seconds=patience_seconds)
        if found is None or not session.waits_at(turn):
            return
        if turn.is_exact and await self._pass(session, turn):
            return
        if not session.waits_at(turn):
            return
        self._edges = found.groups
        if turn.transaction is not None:
            session.start_from_snapshot(found.snapshot)
            self._origin = session.starts_after
        session.know(self._groups, found.snapshot, self._held)
        self._coordination.regroup(self._member, self._groups, self._held)
        if turn.transaction is not None:
            await self._send(self._sync_response([], must_bootstrap=True))

    async def _pass(self, session: Session, turn: Turn) -> bool:
        """Tells the rows that come and go by a change of memberships; False when the client has to bootstrap for it."""
        asked, held = self._asked, self._subscribed | self._scopes.groups
        told = await self._memberships.tell(
            session,
            self._credential,
            held=held,
            wants=partial(self._credential.wants, asked),
            before=self._credential.wants(asked, self._edges),
        )
        transaction = turn.transaction
        is_as_before = session.waits_at(turn) and (self._asked, self._subscribed | self._scopes.groups) == (asked, held)
        if told is None or transaction is None or not is_as_before:
            return False
        self._edges = told.edges
        frames = session.pass_turn(self._groups, told.snapshot, told.lost, told.rows, self._held)
        self._coordination.regroup(self._member, self._groups, self._held)
        for frame in (*frames, *told.frames):
            await self._send(frame)
        if told.frames:
            position = transaction.last_sync_id
            said = {"deltas": [], "currentSyncId": position, "cursor": cursor_encode(self._router.epoch, position)}
            await self._send(wire.frame(b"sync_response", orjson.dumps(said)))
        return True

    async def _catch_up(self) -> int | None:
        """Sends the deltas that wait; the sync id up to which the client has everything then, None if it is behind."""
        if not self._opened.is_set():
            return None
        async with self._sending:
            try:
                for _ in range(CATCH_UP_BATCHES):
                    if not self._session.is_behind:
                        break
                    for frame in self._session.take(CATCH_UP_BYTES):
                        await self._send(frame)
                    await self._feed.turns.between_frames()
            except Fallen:
                return None  # it will be told to bootstrap
            return self._session.position

    async def _send_fallen(self) -> None:
        """The client was too slow, or the stream has begun anew: it has to bootstrap, and goes on from here."""
        self._start_at_head()
        await self._send(self._sync_response([], must_bootstrap=True))

    def _start_at_head(self) -> None:
        if self._router.is_retired:
            groups = self._session.groups
            self._router.close(self._session)
            self._router = self._feed.router
            self._session = self._open(groups)
            self._session.update_groups(groups, self._held)
        else:
            self._session.start_at_head()
        self._origin = self._session.starts_after

    def _open(self, groups: frozenset[str]) -> Session:
        credential = self._credential
        return self._router.open(
            credential.organization_id,
            groups,
            readable=credential.readable,
            reader=credential.reader,
            member=credential.member,
            is_newer=self._coordination.schema.current.version > self._feed.schema.version,
        )

    def _sync_response(self, frames: list[bytes], *, must_bootstrap: bool = False) -> bytes:
        parts = [deltas_of(frame) for frame in frames]
        if None in parts:  # a table was truncated: no delta says so
            parts, must_bootstrap = [], True
        position = self._session.position
        return b"".join(
            (
                b'{"type":"sync_response","payload":{"deltas":[',
                b",".join(part for part in parts if part),
                b'],"currentSyncId":%d,"cursor":' % position,
                orjson.dumps(cursor_encode(self._router.epoch, position)),
                b',"requiresBootstrap":true}}' if must_bootstrap else b"}}",
            )
        )

    # --- in -----------------------------------------------------------------------------------------------------------

    async def _receive(self) -> tuple[int, str] | None:
        """Takes frames until the socket closes, or is to be closed with the code and reason that are returned."""
        while True:
            try:
                async with asyncio.timeout(LEASE_SECONDS) as self._lease:
                    message = await self._response.receive()
            except TimeoutError:
                return self._ending or (SILENT, "no frame for too long")
            finally:
                self._lease = None
            if self._ending is not None and self._closing is None:
                return self._ending
            if message.type is WSMsgType.TEXT:
                await self._take(message.data)
            elif message.type is WSMsgType.BINARY:
                return UNSUPPORTED_DATA, "frames are JSON text"
            else:  # the socket closes
                return None
            if self._response.closed:
                return None

    async def _take(self, text: str) -> None:
        raw = text.encode("utf-8", "surrogatepass")
        try:
            frame = orjson.loads(raw)
        except orjson.JSONDecodeError:
            frame = None
        try:
            if frame is not None:
                wire.check_depth(raw, frame)
                wire.check_numbers(raw)
        except PgsyncError as error:
            await self.close(UNSUPPORTED_DATA, error.message)
            return
        if not isinstance(frame, dict):
            await self.close(UNSUPPORTED_DATA, "a frame is a JSON object")
            return
        kind, payload = frame.get("type"), frame.get("payload")
        if kind == "commit":
            await self._commits.put((raw, payload))
            return
        if isinstance(kind, str) and self._claims.takes(kind):
            await self._claims.take(kind, payload if isinstance(payload, dict) else {})
            return
        handler = self._handlers.get(kind) if isinstance(kind, str) else None
        if handler is not None:  # what a newer client may say besides is not answered
            await handler(payload if isinstance(payload, dict) else {})

    def _resume(self, cursor: str) -> None:
        """Starts where the client says in its URL that it was."""
        sync_id = cursor_decode(cursor, self._router.epoch)
        if sync_id is None:
            self._must_bootstrap = True
            return
        try:
            self._session.start_after(sync_id)
        except Fallen:
            self._start_at_head()
            self._must_bootstrap = True
        else:
            self._origin = sync_id
            self._opened.set()

    async def _on_sync_request(self, payload: dict[str, Any]) -> None:
        if payload.get("protocolVersion") not in (None, 1):
            await self.close(PROTOCOL_MISMATCH, "protocol_version_unsupported")
            return
        async with self._sending:
            frames: list[bytes] = []
            must_bootstrap = self._must_bootstrap
            try:
                position = self._position_of(payload)
                if position is None:
                    must_bootstrap = True
                elif not must_bootstrap:
                    if position < self._origin:
                        self._session.start_after(position)
                        self._origin = position
                    if self._session.begins:
                        await self._settle(patience_seconds=SETTLE_SECONDS)
                    frames = self._session.take(RESPONSE_BYTES)
            except Fallen:
                must_bootstrap = True
            if must_bootstrap:
                self._start_at_head()
            self._must_bootstrap = False  # it has been told
            await self._send(self._sync_response(frames, must_bootstrap=must_bootstrap))
            self._opened.set()

    def _position_of(self, payload: dict[str, Any]) -> int | None:
        """The sync id that the client has everything up to; None when that is of another number line.

        The cursor names the line and was right when it was given; the client's own count has gone on since.
        """
        cursor, last_sync_id = payload.get("cursor"), payload.get("lastSyncId")
        position = last_sync_id if isinstance(last_sync_id, int) and last_sync_id >= 0 else 0
        if isinstance(cursor, str) and cursor:
            decoded = cursor_decode(cursor, self._router.epoch)
            return None if decoded is None else max(decoded, position)
        return position

    async def _on_update_subscription(self, payload: dict[str, Any]) -> None:
        wanted = payload.get("syncGroups")
        try:
            if not isinstance(wanted, list) or not all(isinstance(group, str) for group in wanted):
                wire.refuse("malformed_subscription", "syncGroups is an array of sync groups", param="syncGroups")
            if len(wanted) > wire.MAX_SUBSCRIBED_GROUPS:
                limit = f"a subscription has at most {wire.MAX_SUBSCRIBED_GROUPS} sync groups"
                wire.refuse("malformed_subscription", limit, param="syncGroups")
            asked = asked_groups(self._credential, wanted)
        except PgsyncError as error:
            refusal = {"code": error.code, "message": error.message, "request_id": self._request_id}
            answer: dict[str, Any] = {"success": False, "error": refusal}
        else:
            self._asked = asked
            self._subscribed = groups_of(self._credential, asked) if asked else asked
            self._regroup()
            answer = {"success": True}
        groups = self._groups - self._scopes.groups | self._subscribed
        await self._send(wire.frame(b"subscription_ack", orjson.dumps(answer | {"syncGroups": sorted(groups)})))

    @property
    def _groups(self) -> frozenset[str]:
        """Those of the subscription, which memberships may grant, and those of scope joins."""
        edges = self._credential.wants(self._asked, self._edges)
        return self._subscribed | edges | self._scopes.groups

    @property
    def _held(self) -> frozenset[str]:
        """All that the client has, whether it asked for it or not: what read rules know of it."""
        return self._credential.sync_groups | self._edges | self._scopes.groups

    def _regroup(self) -> None:
        groups, held = self._groups, self._held
        self._session.update_groups(groups, held)
        self._coordination.regroup(self._member, groups, held)

    async def _on_presence_update(self, payload: dict[str, Any]) -> None:
        self._coordination.presence.said(self._member, payload)

    async def _on_ack(self, payload: dict[str, Any]) -> None:
        last_sync_id = payload.get("lastSyncId")
        if isinstance(last_sync_id, int):
            self._session.acknowledged = last_sync_id

    async def _on_ping(self, payload: dict[str, Any]) -> None:
        await self._send(_PONG)

    async def _on_bootstrap_request(self, payload: dict[str, Any]) -> None:
        async with self._sending:
            try:
                taken = await self._bootstrap.full(self._reader())
            except (PgsyncError, psycopg.Error, DatabaseUnavailableError):
                await self._send(self._sync_response([], must_bootstrap=True))  # over HTTP it will learn why
                return
            try:
                self._session.start_from_snapshot(taken.snapshot)
                self._origin = taken.position
            except Fallen:
                self._start_at_head()
            await self._send(wire.frame(b"bootstrap_response", taken.body))
            self._must_bootstrap = False
            self._opened.set()

    def _reader(self) -> Credential:
        """The caller as a read sees it that begins this session."""
        credential, scopes = self._credential, self._scopes.groups
        held = credential.with_own(credential.sync_groups | scopes)
        if self._asked is not None and credential.is_narrowed_by(self._asked):
            return held.with_groups(self._asked | scopes)
        return held

    # --- commits ------------------------------------------------------------------------------------------------------

    async def _run_commits(self) -> None:
        """One after another, in the order they came: an update may rely on the create before it."""
        while True:
            raw, payload = await self._commits.get()
            await self._send(await self._commit(raw, payload))

    async def _commit(self, raw: bytes, payload: Any) -> bytes:
        try:
            wire.check_text(raw, payload)
            body = wire.parse_commit_frame(raw, payload)
            return wire.frame(
                b"mutation_result", await self._committer.commit_frame(self._credential, raw=raw, body=body)
            )
        except PgsyncError as error:
            refused = error
        except psycopg.Error as error:
            refused = PgsyncError.of_database(error)
        except DatabaseUnavailableError as error:
            refused = PgsyncError("connected_database_unreachable", str(error))
        key, operations = (
            (payload.get("clientTxId"), payload.get("operations")) if isinstance(payload, dict) else (None, None)
        )
        return wire.rejection_frame(
            client_tx_id=key if isinstance(key, str) and key else "unknown",
            authority_json=self._credential.authority_json,
            error=wire.frame_error(refused, self._request_id),
            ops=len(operations) if isinstance(operations, list) else None,
        )


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
