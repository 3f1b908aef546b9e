"""From a request to what answers it: routing, authentication, the error envelope and the request id.

A low-level aiohttp server, because the router and middlewares of an application cost more than everything that
happens here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote_to_bytes

import orjson
import psycopg
from aiohttp import web
from aiohttp.http import HttpVersion11, RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler, RequestPayloadError

from pgsync import errors, wire
from pgsync.errors import PgsyncError
from pgsync.gateway.active_schema import ServedSchema
from pgsync.gateway.authenticate import Authenticator, Credential
from pgsync.gateway.bootstrap import Bootstrap
from pgsync.gateway.commits import Committer
from pgsync.gateway.cors import Cors
from pgsync.gateway.database import DatabaseUnavailableError
from pgsync.gateway.handler import REQUEST_ID, Answer, Handler, HasRoutes, Segments
from pgsync.gateway.health import health
from pgsync.gateway.live import Live
from pgsync.gateway.metrics import CONTENT_TYPE, Metrics
from pgsync.gateway.metrics import PATH as METRICS_PATH
from pgsync.gateway.models import Models
from pgsync.gateway.openapi import DOCS_PATH, docs_page
from pgsync.gateway.schema import MAX_SCHEMA_BYTES, Schema
from pgsync.log import Event, emit
from pgsync.stream.feed import Feed

# The page runs its own script only, and talks to this server only.
_DOCS_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline';"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
_ANY: Final = ""  # no path has an empty segment where a route has a name
LINE_BYTES: Final = 64 << 10  # a handshake names up to 200 groups in its address
FIELD_BYTES: Final = 32 << 10  # tokens of identity providers that list what somebody is in


class Routes:
    """Answers every request."""

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        models: Models,
        committer: Committer,
        schema_routes: Schema,
        bootstrap: Bootstrap,
        live: Live,
        schema: ServedSchema,
        feed: Feed,
        cors: Cors,
        metrics: Metrics,
        body_limit_bytes: int,
        worker: int | None = None,
        others: Iterable[HasRoutes] = (),
    ) -> None:
        self._authenticator = authenticator
        self._models = models
        self._committer = committer
        self._schema_routes = schema_routes
        self._bootstraps = bootstrap
        self._live = live
        self._schema = schema
        self._feed = feed
        self._cors = cors
        self._metrics = metrics
        self._body_limit_bytes = body_limit_bytes
        self._worker = worker
        self._routes: dict[int, list[tuple[Segments, dict[str, Handler]]]] = {}
        self._route("/api/v1/models//", GET=self._get, PATCH=self._update, DELETE=self._delete)
        self._route("/api/v1/models/", GET=self._list, POST=self._create)
        self._route("/api/v1/commits", POST=self._commit)
        self._route("/api/auth/identity", GET=self._identity)
        self._route("/api/auth/check", HEAD=self._check, GET=self._check)
        self._route("/api/schema", GET=self._get_schema, POST=self._push_schema)
        self._route("/api/v1/schema", GET=self._get_schema)
        self._route("/api/sync/bootstrap", GET=self._bootstrap)
        for other in others:
            for path, handlers in other.routes():
                self._route(path, **handlers)

    def server(self) -> web.Server:
        """The aiohttp server that answers with these routes."""
        return web.Server(
            self._serve,
            request_factory=self._make_request,
            access_log=None,
            max_line_size=LINE_BYTES,
            max_field_size=FIELD_BYTES,
        )

    def _make_request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: RequestHandler,
        writer: object,
        task: object,
    ) -> web.BaseRequest:
        return web.BaseRequest(
            message,
            payload,
            protocol,
            writer,  # type: ignore[arg-type]
            task,  # type: ignore[arg-type]
            protocol._loop,
            client_max_size=self._body_limit_bytes,
        )

    def _route(self, path: str, **handlers: Handler) -> None:
        segments = tuple(path.split("/")[1:])
        known = self._routes.setdefault(len(segments), [])
        for pattern, others in known:
            if pattern == segments:
                others.update(handlers)
                return
        known.append((segments, handlers))

    # --- one request ------------------------------------------------------------------------------------------------

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        preflight = self._cors.preflight(request)
        if preflight is not None:
            return preflight
        request_id = "req_" + os.urandom(8).hex()
        REQUEST_ID.set(request_id)
        response = await self._respond(request, request_id)
        if not response.prepared:
            response.headers.update(self._cors.headers(request))
            response.headers["Ablo-Version"] = wire.API_VERSION
        return response

    async def _respond(self, request: web.BaseRequest, request_id: str) -> web.StreamResponse:
        path = request.rel_url.raw_path
        started = time.perf_counter()
        try:
            if path in ("/api/sync/ws", "/api/api/sync/ws") and request.method == "GET":
                return await self._live.serve(request, request_id)
            answer = await self._answer(request, path, request_id)
        except PgsyncError as error:
            return self._refuse(request, request_id, error)
        except web.HTTPRequestEntityTooLarge as error:
            limit = self._body_limit_bytes
            too_large = PgsyncError(
                "request_too_large", f"the body has more than the {limit} bytes that this server takes"
            )
            too_large.__cause__ = error
            return self._refuse(request, request_id, too_large)
        except RequestPayloadError as error:
            unreadable = PgsyncError("invalid_body", "the body is not what its Content-Encoding and length say")
            unreadable.__cause__ = error
            response = self._refuse(request, request_id, unreadable)
            response.force_close()  # nobody knows where the next request begins
            return response
        except psycopg.Error as error:
            return self._refuse(request, request_id, PgsyncError.of_database(error), cause=error)
        except DatabaseUnavailableError as error:
            refused = PgsyncError("connected_database_unreachable", str(error))
            return self._refuse(request, request_id, refused, cause=error)
        except web.HTTPException:
            raise
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001  # the last door: whatever it is, the caller gets the envelope
            refused = PgsyncError("internal_error", f"something went wrong here; the log has it under {request_id}")
            return self._refuse(request, request_id, refused, cause=error)
        if isinstance(answer, web.StreamResponse):  # has been sent
            return answer
        emit(
            Event.REQUEST_SERVED,
            request_id=request_id,
            method=request.method,
            route=_route(path),
            status=answer.status if isinstance(answer, Answer) else 200,
            seconds=round(time.perf_counter() - started, 6),
        )
        if isinstance(answer, bytes):
            return web.Response(body=answer, headers={"Content-Type": "application/json", "x-request-id": request_id})
        headers = {"x-request-id": request_id, **answer.headers}
        if answer.status != 204:
            headers.setdefault("Content-Type", "application/json")
        return web.Response(body=answer.body, status=answer.status, headers=headers)

    async def _answer(
        self, request: web.BaseRequest, path: str, request_id: str
    ) -> bytes | Answer | web.StreamResponse:
        segments = tuple(path.split("/")[1:])
        if path == "/api/health" and request.method in ("GET", "HEAD"):
            status, body = health(self._schema, self._feed, self._worker)
            return Answer(body, status)
        if path == DOCS_PATH and request.method in ("GET", "HEAD"):
            return Answer(docs_page(), headers={"Content-Type": "text/html; charset=utf-8", **_DOCS_HEADERS})
        if path == METRICS_PATH and request.method in ("GET", "HEAD") and self._metrics.may_see(request):
            return Answer(await self._metrics.answer(), headers={"Content-Type": CONTENT_TYPE})
        handlers = next((h for pattern, h in self._routes.get(len(segments), ()) if _matches(pattern, segments)), None)
        if handlers is None:
            return _plain_error(404, "not_found", f"no route {path[:200]}", request_id)
        handler = handlers.get(request.method)
        if handler is None:
            allowed = ", ".join(sorted(handlers))
            answer = _plain_error(405, "method_not_allowed", f"{path[:200]} takes {allowed}", request_id)
            answer.headers["Allow"] = allowed
            return answer
        wire.check_protocol_version(request.headers.get("Ablo-Protocol-Version"))
        try:
            credential = await self._authenticator.authorize(request.headers.get("Authorization"))
        except PgsyncError as error:
            if handler == self._check:
                return Answer(b"", error.status, {"X-Auth-Failure": error.code})
            raise
        if request.version >= HttpVersion11 and request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")  # who asks sends the body only then
            request.writer.output_size = 0  # the answer begins with what follows
        return await handler(request, credential, segments)

    def _refuse(
        self, request: web.BaseRequest, request_id: str, error: PgsyncError, *, cause: BaseException | None = None
    ) -> web.Response:
        fields = {"request_id": request_id, "method": request.method, "status": error.status, "code": error.code}
        route = _route(request.rel_url.raw_path)
        if error.status >= 500:
            emit(Event.REQUEST_FAILED, **fields, route=route, error=cause or error.__cause__ or error)
        else:
            cause = cause or error.__cause__
            sqlstate = cause.sqlstate if isinstance(cause, psycopg.Error) else None
            emit(Event.REQUEST_REFUSED, **fields, route=route, **({"sqlstate": sqlstate} if sqlstate else {}))
        headers = {"Content-Type": "application/json", "x-request-id": request_id}
        if error.retryable and error.status in (429, 503):
            headers["Retry-After"] = "1"
        if error.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        body = orjson.dumps(errors.envelope(error, request_id=request_id), default=str)
        return web.Response(body=body, status=error.status, headers=headers)

    # --- routes -----------------------------------------------------------------------------------------------------

    async def _get(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> Answer:
        body, stamp = await self._models.get(credential, _decode(segments[3]), _decode(segments[4]))
        return Answer(body, headers={"ETag": wire.etag(stamp)})

    async def _list(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> bytes:
        return await self._models.list(credential, _decode(segments[3]), list(request.rel_url.query.items()))

    async def _create(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> bytes | Answer:
        receipt, made_id = await self._committer.write_row(
            credential,
            action="create",
            model=_decode(segments[3]),
            row_id=None,
            raw=await request.read(),
            key_header=request.headers.get("Idempotency-Key"),
        )
        if made_id is None:
            return receipt
        return Answer(receipt, headers={"Location": f"/api/v1/models/{segments[3]}/{made_id}"})

    async def _update(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> bytes:
        return await self._write(request, credential, segments, "update")

    async def _delete(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> bytes:
        return await self._write(request, credential, segments, "delete")

    async def _write(self, request: web.BaseRequest, credential: Credential, segments: Segments, action: str) -> bytes:
        receipt, _ = await self._committer.write_row(
            credential,
            action=action,
            model=_decode(segments[3]),
            row_id=wire.check_row_id(_decode(segments[4])),
            raw=await request.read(),
            key_header=request.headers.get("Idempotency-Key"),
            if_match=request.headers.get("If-Match"),
        )
        return receipt

    async def _commit(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> bytes:
        return await self._committer.commit(
            credential, raw=await request.read(), key_header=request.headers.get("Idempotency-Key")
        )

    async def _identity(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> bytes:
        return credential.answer

    async def _check(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> Answer:
        return Answer(b"", 204)

    async def _get_schema(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> bytes:
        return await self._schema_routes.get()

    async def _push_schema(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> bytes:
        try:
            raw = await request.read()
        except web.HTTPRequestEntityTooLarge as error:
            limit = f"a schema has at most {MAX_SCHEMA_BYTES} bytes"
            raise PgsyncError("schema_too_large", limit) from error
        return await self._schema_routes.push(credential, raw)

    async def _bootstrap(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> bytes:
        return await self._bootstraps.answer(credential, list(request.rel_url.query.items()))


def _matches(pattern: Segments, segments: Segments) -> bool:
    return all(want == have or (want == _ANY and have) for want, have in zip(pattern, segments, strict=True))


def _route(path: str) -> str:
    """The path without ids, which are data."""
    return "/".join(path.split("/", 4)[:4])


def _plain_error(status: int, code: str, message: str, request_id: str) -> Answer:
    """Of HTTP, not of the contract: its registry has no codes for a wrong path or method."""
    body = {"type": "AbloError", "code": code, "message": message, "request_id": request_id}
    return Answer(orjson.dumps(body), status)


def _decode(segment: str) -> str:
    if "%" not in segment:
        return segment
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError as error:
        raise PgsyncError("invalid_id", "the path is not UTF-8", param="id") from error
