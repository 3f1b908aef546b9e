"""The claim frames of one socket (contract 2.5, 2.6): the same claims as over HTTP, by the same functions in SQL."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import orjson
import psycopg

from pgsync import wire
from pgsync.errors import PgsyncError
from pgsync.gateway.active_schema import ServedSchema
from pgsync.gateway.claim_lines import ClaimLines, granted_frame
from pgsync.gateway.connection import Call, Statement
from pgsync.gateway.database import Database, DatabaseUnavailableError
from pgsync.gateway.member import Member
from pgsync.gateway.query import check_id
from pgsync.gateway.scopes import Scopes

MAX_WAITING: Final = 64
MAX_CLAIMS: Final = 1000
FINISH_SECONDS: Final = 3.0
MAX_TTL_MS: Final = 24 * 60 * 60 * 1000

_BEGIN = Statement(b"SELECT pgsync.begin_claim_v1($1::jsonb, $2::jsonb)", b"begin_claim_v1")
_RELEASE = Statement(b"SELECT pgsync.release_claim_v1($1::jsonb, $2::text)", b"release_claim_v1")
_OWN = Statement(b"SELECT pgsync.own_claim_v1($1::jsonb, $2::text, $3::text)", b"own_claim_v1")
_BEAT = Statement(
    b"SELECT pgsync.heartbeat_claim_v1($1::jsonb, $2::text, NULL, NULL, $3::jsonb)", b"heartbeat_claim_v1_frame"
)
_REORDER = Statement(b"SELECT pgsync.reorder_claims_v1($1::jsonb, $2::text, $3::text, $4::jsonb)", b"reorder_claims_v1")

_REASONS: Final[Mapping[str, str]] = {"entity_claimed": "conflict", "claim_lost": "expired"}
_REASONS_BY_STATUS: Final[Mapping[int, str]] = {403: "capability_denied", 400: "invalid_target", 404: "invalid_target"}
_BEATEN: Final = ("status", "expiresAt", "position", "queueDepth")

Payload = Mapping[str, Any]


class ClaimFrames:
    """Takes the claim frames of one client, one after another in the order in which they came.

    A frame that makes no sense is refused where the contract has words for it, else passed over; it never ends a
    socket.
    """

    def __init__(
        self, member: Member, *, database: Database, schema: ServedSchema, lines: ClaimLines, scopes: Scopes
    ) -> None:
        self._member = member
        self._database = database
        self._schema = schema
        self._lines = lines
        self._scopes = scopes
        self._waiting: asyncio.Queue[tuple[str, Payload]] = asyncio.Queue(MAX_WAITING)
        self._is_ending = False
        self._task: asyncio.Task[None] | None = None
        self._handlers: Mapping[str, Callable[[Payload], Awaitable[None]]] = {
            "claim_begin": self._begin,
            "claim_abandon": self._abandon,
            "claim_heartbeat": self._heartbeat,
            "claim_reorder": self._reorder,
            "claim": self._join,
            "release": self._leave,
        }

    def takes(self, kind: str) -> bool:
        """Whether frames of this type are for here."""
        return kind in self._handlers

    async def take(self, kind: str, payload: Payload) -> None:
        """A frame; waits while too many are under way, so that the client does."""
        await self._waiting.put((kind, payload))

    async def run(self) -> None:
        """Answers the frames until it is cancelled; `finish` must follow."""
        self._task = asyncio.create_task(self._take_each())
        await asyncio.shield(self._task)

    async def _take_each(self) -> None:
        while not (self._is_ending and self._waiting.empty()):
            kind, payload = await self._waiting.get()
            if kind == "claim_abandon" or not self._is_ending:
                await self._handlers[kind](payload)

    async def finish(self) -> None:
        """The client has gone: what it asked for last is done, and what it gave back before it went is given back."""
        self._is_ending = True
        if self._task is None:
            return
        if self._waiting.empty():
            self._waiting.put_nowait(("release", {}))  # for one that waits to take
        await asyncio.wait({self._task}, timeout=FINISH_SECONDS)
        self._task.cancel()
        await asyncio.wait({self._task})
        if not self._task.cancelled():
            self._task.exception()  # `run` has raised it, if it was still there

    # --- row claims ---------------------------------------------------------------------------------------------------

    async def _begin(self, payload: Payload) -> None:
        claim_id = _text(payload.get("claimId"))
        entity_type, entity_id = _text(payload.get("entityType")), _text(payload.get("entityId"))
        target = {"entityType": entity_type, "entityId": entity_id}
        target |= {key: payload[key] for key in ("field", "fields", "meta") if payload.get(key) is not None}
        if not claim_id or len(claim_id) > wire.MAX_ID_LENGTH:
            refused = PgsyncError("malformed_claim", "claimId is text of 1 to 255 characters")
            await self._reject(claim_id, target, refused)
            return
        own = self._lines.of_client(self._member, claim_id)
        is_new = own is None
        if own is None:
            if self._lines.own_count(self._member) >= MAX_CLAIMS:
                full = f"a socket has at most {MAX_CLAIMS} claims: give some back"
                await self._reject(claim_id, target, PgsyncError("queue_too_deep", full))
                return
            own = self._lines.expect(self._member, claim_id, entity_type)
        outcome: dict[str, Any] = {}
        try:
            raw = self._request(claim_id, entity_type, entity_id, payload)
            outcome = await self._call(_BEGIN, raw)
            if outcome["outcome"] == "refused":
                raise PgsyncError.of_refusal(outcome["error"])
        except PgsyncError as error:
            if is_new or error.code == "claim_lost":
                self._lines.forget(own)
            kind = outcome.get("heldByKind") if error.code == "entity_claimed" else None
            await self._reject(claim_id, target, error, held_by_kind=kind)
            return
        answer = outcome["answer"]
        model = self._schema.current.find(entity_type)
        place = (outcome["scope"], entity_type if model is None else model.name, entity_id)
        if answer["status"] == "active":
            shown = answer["claim"]["target"]
            target = {"entityType": entity_type, "entityId": entity_id}
            target |= {key: shown[key] for key in ("field", "fields", "meta") if key in shown}
            self._lines.granted(own, place, is_held=True)
            token = answer.get("fenceToken")

            async def acquired() -> bytes:
                read_at = await self._member.catch_up()
                return granted_frame(b"claim_acquired", claim_id, target, token, read_at)

            await self._member.outbox.post(acquired)
            return
        queued: dict[str, Any] = {"claimId": claim_id, "position": answer["position"], "target": target}
        queued |= _holder(answer, outcome.get("heldByKind"))
        sent = self._member.outbox.post(wire.frame(b"claim_queued", orjson.dumps(queued)))
        self._lines.granted(own, place, is_held=False)  # the news of its turn comes after it
        await sent

    def _request(self, claim_id: str, entity_type: str, entity_id: str, payload: Payload) -> bytes:
        """The request of `acquire_claim_v1`. Raises PgsyncError for what SQL could not be asked."""
        request: dict[str, Any] = {
            "claimId": claim_id,
            "model": entity_type,
            "id": entity_id,
            "queue": payload.get("queue") is True,
            "preempt": payload.get("preempt") is True,
            "target": {key: payload[key] for key in ("field", "fields", "meta") if payload.get(key) is not None},
        }
        if not entity_type or not entity_id:
            wire.refuse("malformed_claim", "entityType and entityId name the row", param="entityType")
        if payload.get("description") is not None:
            request["description"] = payload["description"]
        ttl = _ttl(payload.get("estimatedMs"))
        if ttl is not None:
            request["ttl"] = ttl
        model = self._schema.current.find(entity_type)
        if model is not None:
            check_id(model, entity_id)
        raw = orjson.dumps(request)
        wire.check_text(raw, request)
        return raw

    async def _abandon(self, payload: Payload) -> None:
        claim_id = _text(payload.get("claimId"))
        own = self._lines.of_client(self._member, claim_id)
        if own is not None:
            self._lines.forget(own)
        if claim_id and _is_plain(claim_id):
            try:
                await self._call(_RELEASE, claim_id.encode())
            except PgsyncError:
                return  # it ends by itself when nobody beats for it

    async def _heartbeat(self, payload: Payload) -> None:
        claim_id = _text(payload.get("claimId"))
        ack: dict[str, Any] = {"claimId": claim_id, "status": "lost"}
        try:
            if not claim_id:
                ack["claimId"] = claim_id = await self._own_claim(payload)
            if claim_id and _is_plain(claim_id):
                request: dict[str, Any] = {}
                ttl = _ttl(payload.get("ttlMs"))
                if ttl is not None:
                    request["ttl"] = ttl
                if isinstance(payload.get("details"), dict):
                    request["details"] = payload["details"]
                raw = orjson.dumps(request)
                wire.check_text(raw, request)
                outcome = await self._call(_BEAT, claim_id.encode(), raw)
                if outcome["outcome"] == "answered":
                    answer = outcome["answer"]
                    ack |= {key: answer[key] for key in _BEATEN if key in answer}
                elif outcome["error"]["code"] not in ("claim_lost", "claim_not_found"):
                    return  # nothing is known of the claim; the client asks again
        except PgsyncError:
            return
        await self._reply(b"claim_heartbeat_ack", ack)

    async def _own_claim(self, payload: Payload) -> str:
        entity_type, entity_id = _text(payload.get("entityType")), _text(payload.get("entityId"))
        if not entity_type or not entity_id or not _is_plain(entity_type + entity_id):
            return ""
        (result,) = await self._run(_OWN, entity_type.encode(), entity_id.encode())
        return (result or b"").decode()

    async def _reorder(self, payload: Payload) -> None:
        """Answered by the `claim_queue` that everybody gets; who may not is not answered."""
        entity_type, entity_id = _text(payload.get("entityType")), _text(payload.get("entityId"))
        if not isinstance(payload.get("order"), list) or not _is_plain(entity_type + entity_id):
            return
        request = {"order": [entry for entry in payload["order"] if isinstance(entry, dict)][:MAX_CLAIMS]}
        try:
            raw = orjson.dumps(request)
            wire.check_text(raw, request)
            await self._call(_REORDER, entity_type.encode(), entity_id.encode(), raw)
        except PgsyncError:
            return

    # --- scope joins --------------------------------------------------------------------------------------------------

    async def _join(self, payload: Payload) -> None:
        claim_id = _text(payload.get("claimId"))
        try:
            joined = await self._scopes.join(claim_id, payload)
        except PgsyncError as error:
            shown: dict[str, Any] = {"code": error.code, "message": error.message}
            required = error.details.get("requiredCapability")
            if required is not None:
                shown["requiredCapability"] = required
            await self._reply(b"claim_ack", {"claimId": claim_id, "success": False, "error": shown})
            return
        answer: dict[str, Any] = {"claimId": claim_id, "success": True, "syncGroups": sorted(joined.groups)}
        if joined.ttl_seconds is not None:
            answer["ttlSeconds"] = joined.ttl_seconds
        await self._reply(b"claim_ack", answer)

    async def _leave(self, payload: Payload) -> None:
        claim_id = _text(payload.get("claimId"))
        if self._scopes.release(claim_id):
            await self._reply(b"claim_ack", {"claimId": claim_id, "success": True, "syncGroups": []})

    # --- answers ------------------------------------------------------------------------------------------------------

    async def _call(self, statement: Statement, *parameters: bytes) -> dict[str, Any]:
        (text,) = await self._run(statement, *parameters)
        outcome: dict[str, Any] = orjson.loads(text or b"null")
        return outcome

    async def _run(self, statement: Statement, *parameters: bytes) -> tuple[bytes | None]:
        credential = self._member.credential
        call = Call(statement, (credential.identity_json, *parameters))
        try:
            (result,) = await self._database.run([call], organization=credential.organization_id)
        except DatabaseUnavailableError as error:
            raise PgsyncError("connected_database_unreachable", str(error)) from error
        except psycopg.Error as error:
            raise PgsyncError.of_database(error) from error
        return (result.get_value(0, 0),)

    async def _reply(self, kind: bytes, payload: Payload) -> None:
        await self._member.outbox.post(wire.frame(kind, orjson.dumps(payload)))

    async def _reject(
        self, claim_id: str, target: Payload, error: PgsyncError, *, held_by_kind: str | None = None
    ) -> None:
        reason = _REASONS.get(error.code) or _REASONS_BY_STATUS.get(error.status, "coordination_unavailable")
        if error.code == "claim_lost" and error.details.get("reason") == "preempted":
            reason = "preempted"
        rejected: dict[str, Any] = {"claimId": claim_id, "reason": reason, "message": error.message}
        if target.get("entityType") and target.get("entityId") and _is_target(target):
            rejected["target"] = target
        await self._reply(b"claim_rejected", rejected | _holder(error.details, held_by_kind))


def _holder(said: Payload, kind: str | None) -> dict[str, Any]:
    """Who is in the way, as far as it may be told."""
    holder: dict[str, Any] = {}
    if said.get("heldBy") is not None:
        holder["heldBy"] = said["heldBy"]
        if kind is not None:
            holder["heldByKind"] = kind
    claim = said.get("heldByClaim")
    if claim is not None:
        holder |= {"heldByClaim": claim, "heldByExpiresAt": claim["expiresAt"]}
    return holder


def _ttl(milliseconds: object) -> str | None:
    """A length of time as claims take it; None for none, and for what is none: then the default holds."""
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, int | float) or not milliseconds > 0:
        return None
    return f"{max(1, round(min(milliseconds, MAX_TTL_MS)))}ms"


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _is_plain(text: str) -> bool:
    return "\0" not in text and len(text) <= 4 * wire.MAX_ID_LENGTH


def _is_target(target: Payload) -> bool:
    """Whether what a client sent can be repeated to it as a target."""
    fields = target.get("fields", [])
    return (
        isinstance(target.get("field", ""), str)
        and isinstance(fields, list)
        and all(isinstance(field, str) for field in fields)
        and isinstance(target.get("meta", {}), dict)
    )
