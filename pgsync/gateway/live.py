"""WebSockets: who is connected, and how they end."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import hdrs, web

from pgsync import wire
from pgsync.gateway.authenticate import Authenticator, Credential
from pgsync.gateway.bootstrap import Bootstrap, groups_of
from pgsync.gateway.commits import Committer
from pgsync.gateway.coordination import Coordination
from pgsync.gateway.socket import Socket
from pgsync.log import Event, emit
from pgsync.stream.feed import Feed

PROTOCOL: Final = "ablo.sync.v1"
BEARER: Final = "ablo.bearer."
CLOSE_HANDSHAKE_SECONDS: Final = 2.0

GOING_AWAY: Final = 1001
CREDENTIAL_EXPIRED: Final = 4001
CREDENTIAL_REVOKED: Final = 4003


class Live:
    """Opens and ends sockets (contract 2.3, 2.7)."""

    def __init__(
        self,
        *,
        feed: Feed,
        authenticator: Authenticator,
        bootstrap: Bootstrap,
        committer: Committer,
        coordination: Coordination,
        frame_limit_bytes: int,
    ) -> None:
        self._feed = feed
        self._authenticator = authenticator
        self._bootstrap = bootstrap
        self._committer = committer
        self._coordination = coordination
        self._frame_limit_bytes = frame_limit_bytes
        self._sockets: set[Socket] = set()

    @property
    def count(self) -> int:
        """How many sockets are open."""
        return len(self._sockets)

    async def serve(self, request: web.BaseRequest, request_id: str) -> web.StreamResponse:
        """One socket from its handshake to its end. Raises PgsyncError for a handshake that is refused."""
        if request.headers.get(hdrs.UPGRADE, "").lower() != "websocket":
            wire.refuse("invalid_request", "this is a WebSocket: open it as one", param="Upgrade")
        credential = await self._authenticate(request)
        query = request.rel_url.query
        groups = groups_of(credential, query.getall("syncGroups", []))
        response = web.WebSocketResponse(
            protocols=(PROTOCOL,),
            max_msg_size=self._frame_limit_bytes,
            compress=False,  # the same bytes go to many sockets; compressing them for each costs more than it saves
            timeout=CLOSE_HANDSHAKE_SECONDS,
        )
        socket = Socket(
            response,
            credential=credential,
            feed=self._feed,
            bootstrap=self._bootstrap,
            committer=self._committer,
            coordination=self._coordination,
            groups=groups,
            cursor=query.get("cursor", ""),
        )
        # In the index before the client is told that it is connected: what is committed meanwhile waits for it.
        self._sockets.add(socket)
        emit(
            Event.SESSION_OPENED,
            session=request_id,
            organization_id=credential.organization_id,
            participant_kind=credential.participant_kind,
            capability_id=credential.capability_id,
        )
        try:
            await response.prepare(request)
            await self._run(socket, credential, request_id)
        finally:
            self._sockets.discard(socket)
            socket.release()
            emit(Event.SESSION_CLOSED, session=request_id, close_code=response.close_code or 0, reason=socket.reason)
        return response

    async def _run(self, socket: Socket, credential: Credential, request_id: str) -> None:
        remaining = credential.remaining_seconds()
        try:
            async with asyncio.timeout(remaining) as limit:
                await socket.run()
        except TimeoutError:
            if not limit.expired():
                raise
            await socket.close(CREDENTIAL_EXPIRED, "credential_expired")
        except ConnectionError:
            pass  # the client went without a word
        except Exception as error:  # noqa: BLE001  # one socket's end must not be the server's
            emit(Event.SESSION_FAILED, session=request_id, error=error)
            await socket.close(1011, "internal_error")

    async def _authenticate(self, request: web.BaseRequest) -> Credential:
        """By subprotocol, as browsers must; scripts may send a header instead."""
        offered = [part.strip() for part in request.headers.get(hdrs.SEC_WEBSOCKET_PROTOCOL, "").split(",")]
        token = next((part.removeprefix(BEARER) for part in offered if part.startswith(BEARER)), None)
        if token is not None:
            return await self._authenticator.credential(token)
        return await self._authenticator.authorize(request.headers.get(hdrs.AUTHORIZATION))

    def close_sessions_of(self, capability_id: str, *, expired: bool = False) -> int:
        """Ends the sockets of a revoked credential, or of one whose end was moved nearer; how many there were."""
        for socket in self._sockets:
            socket.release_scopes_of(capability_id)
        found = [socket for socket in self._sockets if socket.capability_id == capability_id]
        code, reason = (CREDENTIAL_EXPIRED, "credential_expired") if expired else (CREDENTIAL_REVOKED, "apikey_revoked")
        return sum(socket.end(code, reason) for socket in found)

    @property
    def capability_ids(self) -> set[str]:
        """The credentials that have sockets here."""
        return {found for socket in self._sockets if (found := socket.capability_id) is not None}

    async def close(self) -> None:
        """Tells every client to connect elsewhere."""
        await asyncio.gather(*(socket.close(GOING_AWAY, "the gateway stops") for socket in list(self._sockets)))
