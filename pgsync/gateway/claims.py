"""The routes of claims (contract 1.14): one function call each, and the sweep that ends what nobody calls about.

Who holds, who waits and whose time is over is decided in the database, on its clock.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import orjson
import psycopg
from aiohttp import web

from pgsync import wire
from pgsync.errors import PgsyncError
from pgsync.gateway.active_schema import ServedSchema
from pgsync.gateway.authenticate import Credential
from pgsync.gateway.connection import Call, Statement
from pgsync.gateway.database import Database, DatabaseUnavailableError
from pgsync.gateway.handler import Answer, Handler, Segments
from pgsync.gateway.query import check_id
from pgsync.log import Event, emit

SWEEP_SECONDS: Final = 1.0
SWEEP_LIMIT: Final = 100
FILTERS: Final = (
    "model",
    "id",
    "field",
    "actorId",
    "actorKind",
    "onBehalfOfId",
    "capabilityId",
    "limit",
    "starting_after",
)

_ACQUIRE = Statement(b"SELECT pgsync.acquire_claim_v1($1::jsonb, $2::jsonb, $3::text)", b"acquire_claim_v1")
_ACQUIRE_ROW = Statement(
    b"SELECT pgsync.acquire_claim_v1("
    b"$1::jsonb, $2::jsonb || pg_catalog.jsonb_build_object('model', $4::text, 'id', $5::text), $3::text)",
    b"acquire_claim_v1_row",
)
_HEARTBEAT = Statement(
    b"SELECT pgsync.heartbeat_claim_v1($1::jsonb, $2::text, $3::text, $4::text, $5::jsonb)", b"heartbeat_claim_v1"
)
_HEARTBEAT_ALL = Statement(b"SELECT pgsync.heartbeat_claims_v1($1::jsonb, $2::jsonb)", b"heartbeat_claims_v1")
_RELEASE = Statement(b"SELECT pgsync.release_claim_v1($1::jsonb, $2::text)", b"release_claim_v1")
_RELEASE_ROW = Statement(
    b"SELECT pgsync.release_row_claims_v1($1::jsonb, $2::text, $3::text)", b"release_row_claims_v1"
)
_REORDER = Statement(b"SELECT pgsync.reorder_claims_v1($1::jsonb, $2::text, $3::text, $4::jsonb)", b"reorder_claims_v1")
_LIST = Statement(b"SELECT pgsync.claims_v1($1::jsonb, $2::jsonb)", b"claims_v1")
_ONE = Statement(b"SELECT pgsync.claim_v1($1::jsonb, $2::text)", b"claim_v1")
_SWEEP = Statement(b"SELECT pgsync.sweep_claims_v1($1::integer)", b"sweep_claims_v1")


class Claims:
    """Leases on rows: taking, keeping, giving back, and who has them."""

    def __init__(self, database: Database, schema: ServedSchema) -> None:
        self._database = database
        self._schema = schema

    def routes(self) -> Iterable[tuple[str, Mapping[str, Handler]]]:
        """`/v1/models/{model}/{id}/claim` and `/v1/claims`."""
        yield "/api/v1/models///claim", {"POST": self._acquire_row, "DELETE": self._release_row}
        yield "/api/v1/models///claim/heartbeat", {"POST": self._heartbeat_row}
        yield "/api/v1/models///claim/reorder", {"POST": self._reorder}
        yield "/api/v1/claims", {"GET": self._list, "POST": self._acquire}
        yield "/api/v1/claims/heartbeat", {"POST": self._heartbeat_all}  # before the route of a claim with any id
        yield "/api/v1/claims/", {"GET": self._get, "DELETE": self._release}
        yield "/api/v1/claims//heartbeat", {"POST": self._heartbeat}

    async def sweep(self) -> None:
        """Ends what is over time where nobody calls, until it is cancelled.

        Every gateway may run this: the database lets one at a time.
        """
        while True:
            settled = 0
            try:
                (result,) = await self._database.run([Call(_SWEEP, (b"%d" % SWEEP_LIMIT,))])
                settled = int(result.get_value(0, 0) or b"0")
            except (DatabaseUnavailableError, psycopg.Error) as error:
                emit(Event.DATABASE_UNAVAILABLE, error=error)
            if settled < SWEEP_LIMIT:
                await asyncio.sleep(SWEEP_SECONDS)

    async def _acquire_row(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> Answer:
        model, row_id = self._target(segments)
        raw, _ = _body(await request.read())
        return await self._run(_ACQUIRE_ROW, credential, raw, _new_id(), model, row_id)

    async def _acquire(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> Answer:
        raw, body = _body(await request.read())
        target = body.get("target")
        if isinstance(target, dict):
            self._check_row(target.get("model"), target.get("id"))
        return await self._run(_ACQUIRE, credential, raw, _new_id())

    async def _heartbeat_row(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> Answer:
        model, row_id = self._target(segments)
        raw, body = _body(await request.read())
        claim_id = body.get("claimId")
        if not isinstance(claim_id, str | None):
            wire.refuse("malformed_claim", "claimId is text", param="claimId")
        claim = None if claim_id is None else claim_id.encode()
        return await self._run(_HEARTBEAT, credential, claim, model, row_id, raw)

    async def _heartbeat(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> Answer:
        raw, _ = _body(await request.read())
        return await self._run(_HEARTBEAT, credential, _claim_id(segments), None, None, raw)

    async def _heartbeat_all(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> Answer:
        raw, _ = _body(await request.read())
        return await self._run(_HEARTBEAT_ALL, credential, raw)

    async def _release_row(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> Answer:
        return await self._run(_RELEASE_ROW, credential, *self._target(segments))

    async def _release(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> Answer:
        return await self._run(_RELEASE, credential, _claim_id(segments))

    async def _reorder(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> Answer:
        model, row_id = self._target(segments)
        raw, _ = _body(await request.read())
        return await self._run(_REORDER, credential, model, row_id, raw)

    async def _list(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> Answer:
        given = {name: value for name, value in request.rel_url.query.items() if value and name in FILTERS}
        for name, value in given.items():
            if "\0" in value or not wire.is_text(value):
                wire.refuse("invalid_request", f"{name} is text", param=name)
        return await self._run(_LIST, credential, orjson.dumps(given))

    async def _get(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> Answer:
        return await self._run(_ONE, credential, _claim_id(segments))

    async def _run(self, statement: Statement, credential: Credential, *parameters: bytes | None) -> Answer:
        call = Call(statement, (credential.identity_json, *parameters))
        (result,) = await self._database.run([call], organization=credential.organization_id)
        outcome = orjson.loads(result.get_value(0, 0) or b"null")
        if outcome["outcome"] == "refused":
            raise PgsyncError.of_refusal(outcome["error"])
        return Answer(orjson.dumps(outcome["answer"]), outcome["status"])

    def _target(self, segments: Segments) -> tuple[bytes, bytes]:
        model, row_id = _text(segments[3], "model"), _text(segments[4], "id")
        self._check_row(model, row_id)
        return model.encode(), row_id.encode()

    def _check_row(self, model: Any, row_id: Any) -> None:
        """Refuses an id that rows of the model cannot have; a model unknown here may be known to the database."""
        known = self._schema.current.find(model) if isinstance(model, str) else None
        if known is not None and isinstance(row_id, str):
            check_id(known, row_id)


def _new_id() -> bytes:
    # Chosen here, so that a call that is repeated after a lost connection finds what the first one made.
    return b"clm_" + os.urandom(12).hex().encode()


def _body(raw: bytes) -> tuple[bytes, dict[str, Any]]:
    raw = raw.strip() or b"{}"
    body = wire.parse_json(raw)
    if not isinstance(body, dict):
        wire.refuse("invalid_body", "the body is a JSON object")
    return raw, body


def _claim_id(segments: Segments) -> bytes:
    claim_id = _text(segments[3], "claimId")
    if len(claim_id) > wire.MAX_ID_LENGTH:
        wire.refuse("claim_not_found", "there is no such claim", claimId=claim_id)
    return claim_id.encode()


def _text(segment: str, param: str) -> str:
    try:
        text = unquote_to_bytes(segment).decode()
    except UnicodeDecodeError as error:
        raise PgsyncError("invalid_id", "the path is not UTF-8", param=param) from error
    if "\0" in text:
        wire.refuse("invalid_id", "text may not hold the character U+0000", param=param)
    return text
