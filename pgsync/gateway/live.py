"""WebSockets, from the handshake to the end."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import hdrs, web

from pgsync import wire
from pgsync.gateway.authenticate import Authenticator, Credential
from pgsync.gateway.bootstrap import Bootstrap, asked_groups
from pgsync.gateway.commits import Committer
from pgsync.gateway.connections import CREDENTIAL_EXPIRED, Connections, end_if_outdated
from pgsync.gateway.coordination import Coordination
from pgsync.gateway.cors import Cors
from pgsync.gateway.memberships import Memberships
from pgsync.gateway.socket import Socket
from pgsync.log import Event, emit
from pgsync.stream.feed import Feed

PROTOCOL: Final = "ablo.sync.v1"
BEARER: Final = "ablo.bearer."
CLOSE_HANDSHAKE_SECONDS: Final = 2.0


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
        memberships: Memberships,
        connections: Connections,
        cors: Cors,
        frame_limit_bytes: int,
    ) -> None:
        self._feed = feed
        self._authenticator = authenticator
        self._bootstrap = bootstrap
        self._committer = committer
        self._coordination = coordination
        self._memberships = memberships
        self._frame_limit_bytes = frame_limit_bytes
        self._connections = connections
        self._cors = cors

    async def serve(self, request: web.BaseRequest, request_id: str) -> web.StreamResponse:
        """One socket from its handshake to its end. Raises PgsyncError for a handshake that is refused."""
        if request.headers.get(hdrs.UPGRADE, "").lower() != "websocket":
            wire.refuse("invalid_request", "this is a WebSocket: open it as one", param="Upgrade")
        self._cors.check_socket(request)
        credential = await self._authenticate(request)
        self._connections.check(credential)
        query = request.rel_url.query
        asked = asked_groups(credential, query.getall("syncGroups", []))
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
            memberships=self._memberships,
            asked=asked,
            cursor=query.get("cursor", ""),
            request_id=request_id,
        )
        # In the index before the client is told that it is connected: what is committed meanwhile waits for it.
        self._connections.add(socket)
        emit(
            Event.SESSION_OPENED,
            session=request_id,
            organization_id=credential.organization_id,
            participant_kind=credential.participant_kind,
            capability_id=credential.capability_id,
        )
        try:
            await response.prepare(request)
            end_if_outdated(socket, self._coordination.schema.edge_kinds)
            await self._run(socket, credential, request_id)
        finally:
            self._connections.discard(socket)
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
