"""The routes that mint, rotate, revoke and show credentials (contract 1.12).

A key is made here and told to its caller once; what reaches the database is its sha-256, and every rule is there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import unquote

import orjson
from aiohttp import web

from pgsync import keys, wire
from pgsync.errors import PgsyncError
from pgsync.gateway.authenticate import Authenticator, Credential
from pgsync.gateway.connection import Call, Statement
from pgsync.gateway.database import Database
from pgsync.gateway.handler import Answer, Handler, Segments

MAX_LIST: Final = 1000
MAX_USER_META_BYTES: Final = 16 * 1024
REMEMBERED_ENDINGS: Final = 1000

_MINT = Statement(b"SELECT pgsync.mint_credential_v1($1::jsonb, $2::jsonb)", b"mint_credential_v1")
_ROTATE = Statement(b"SELECT pgsync.rotate_credential_v1($1::jsonb, $2::jsonb)", b"rotate_credential_v1")
_END = Statement(b"SELECT pgsync.end_credential_v1($1::jsonb, $2::text)", b"end_credential_v1")
_ENDED = Statement(b"SELECT pgsync.ended_credentials_v1($1::jsonb)", b"ended_credentials_v1")
_SHOW = Statement(b"SELECT pgsync.credential_v1($1::jsonb, $2::text)", b"credential_v1")

_COMMON: Final = {"ttlSeconds", "syncGroups", "label", "organizationId", "onBehalfOf"}
_PREEMPT: Final = "claim.preempt"  # kept apart from what a session may do to rows
_AGENT_KEYS: Final = _COMMON | {"participantKind", "participantId", "operations", "userMeta", "wideScope"}
_USER_KEYS: Final = _COMMON | {
    "user",
    "operations",
    "activeSchemaOperations",
    "controlPlaneOnly",
    "schemaProjectId",
    "schemaOwnerOrgId",
}
_ROTATE_KEYS: Final = {"graceSeconds", "ttlSeconds"}
_VERBS: Final = frozenset({"read", "create", "update", "delete"})


class SessionEnder:
    """Ends what is live of a credential, and remembers how much that was.

    Whoever revoked it and the database's own announcement both come here, in either order; each is told the whole
    number.
    """

    def __init__(self, authenticator: Authenticator, close: Callable[[str], int]) -> None:
        self._authenticator = authenticator
        self._close = close
        self._closed: OrderedDict[str, int] = OrderedDict()

    def end(self, capability_id: str) -> int:
        """How many sessions of this gateway have ended with the credential."""
        self._authenticator.forget(capability_id)
        closed = self._closed.pop(capability_id, 0) + self._close(capability_id)
        self._closed[capability_id] = closed
        while len(self._closed) > REMEMBERED_ENDINGS:
            self._closed.popitem(last=False)
        return closed


async def ended_credentials(database: Database, capability_ids: Iterable[str]) -> list[tuple[str, str, str | None]]:
    """Those of the credentials that ended, or were given an end, while nobody listened: id, status, when it ends."""
    (result,) = await database.run([Call(_ENDED, (orjson.dumps(sorted(capability_ids)),))])
    found: list[dict[str, Any]] = orjson.loads(result.get_value(0, 0) or b"[]")
    return [(ended["capabilityId"], ended["status"], ended["expiresAt"]) for ended in found]


class Credentials:
    """Sessions of agents (rk) and users (ek), minted by secret keys.

    `end_sessions` ends what is live of a credential on this gateway and says how much that was; other gateways hear
    of it from the database.
    """

    def __init__(self, database: Database, *, end_sessions: Callable[[str], int]) -> None:
        self._database = database
        self._end_sessions = end_sessions

    def routes(self) -> Iterable[tuple[str, Mapping[str, Handler]]]:
        """`/v1/capabilities` and `/v1/ephemeral_keys`."""
        yield "/api/v1/capabilities", {"POST": self._mint_agent}
        yield "/api/v1/ephemeral_keys", {"POST": self._mint_user}
        yield "/api/v1/capabilities/", {"GET": self._show, "DELETE": self._revoke}
        yield "/api/v1/capabilities//rotate", {"POST": self._rotate}

    async def _mint_agent(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> Answer:
        body = _body(await request.read(), _AGENT_KEYS)
        minted, token = await self._mint(credential, "rk", body)
        return Answer(
            orjson.dumps(
                {
                    "capabilityId": minted["capabilityId"],
                    "token": token,
                    "expiresAt": minted["expiresAt"],
                    "organizationId": minted["organizationId"],
                    "branchRoot": minted["branchRoot"],
                    "scope": wire.authority(minted),
                    "userMeta": minted["userMeta"],
                }
            ),
            201,
        )

    async def _mint_user(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> Answer:
        body = _body(await request.read(), _USER_KEYS)
        user = body.pop("user", None)
        if not isinstance(user, dict) or not isinstance(user.get("id"), str) or user.keys() - {"id", "teamIds"}:
            wire.refuse("invalid_body", "user is an object with an id, and teamIds if it is in teams", param="user")
        body |= {"participantKind": "user", "participantId": user["id"]}
        if user.get("teamIds") is not None:
            body["teamIds"] = _texts(user["teamIds"], "user.teamIds")
        _check_place(credential, body)
        minted, token = await self._mint(credential, "ek", body)
        return Answer(
            orjson.dumps(
                {
                    "object": "ephemeral_key",
                    "id": minted["capabilityId"],
                    "token": token,
                    "expiresAt": minted["expiresAt"],
                    "organizationId": minted["organizationId"],
                    "participantId": minted["participantId"],
                    "projectId": minted["projectId"],
                    "branchId": minted["branchId"],
                    "branchRoot": minted["branchRoot"],
                    "syncGroups": wire.sync_groups(minted),
                    "deliveryPartition": None,
                    "operations": minted["operations"],
                }
            ),
            201,
        )

    async def _mint(self, credential: Credential, kind: keys.KeyKind, body: dict[str, Any]) -> tuple[Any, str]:
        token = keys.generate(kind)
        body |= {"keyKind": kind, "keyHash": keys.digest(token).hex()}
        answer = await self._run(Call(_MINT, (credential.identity_json, orjson.dumps(body))))
        minted = answer["credential"]
        if body.get("operations"):
            # In the words of whoever asked, who may compare them; the session's identity has them by typename.
            minted["operations"] = [asked for asked in body["operations"] if asked != _PREEMPT]
        return minted, token

    async def _rotate(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> Answer:
        capability_id = _id(segments)
        raw = await request.read()
        body = _body(raw, _ROTATE_KEYS) if raw.strip() else {}
        # The kind of the new key is the old one's, which only the database knows for sure: ask before a key is made.
        (result,) = await self._database.run([Call(_SHOW, (credential.identity_json, capability_id.encode()))])
        shown = orjson.loads(result.get_value(0, 0) or b"null")
        token = keys.generate(shown["keyKind"] if shown is not None else "rk")
        body |= {"id": capability_id, "keyHash": keys.digest(token).hex()}
        answer = await self._run(Call(_ROTATE, (credential.identity_json, orjson.dumps(body))))
        new, old = answer["credential"], answer["rotatedFrom"]
        return Answer(
            orjson.dumps(
                {
                    "capabilityId": new["capabilityId"],
                    "token": token,
                    "expiresAt": new["expiresAt"],
                    "organizationId": new["organizationId"],
                    "branchRoot": new["branchRoot"],
                    "scope": wire.authority(new),
                    "rotatedFrom": old,
                }
            ),
            201,
        )

    async def _revoke(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> bytes:
        capability_id = _id(segments)
        answer = await self._run(Call(_END, (credential.identity_json, capability_id.encode())))
        closed = sum(self._end_sessions(ended) for ended in answer["ended"])
        return orjson.dumps({"id": capability_id, "deleted": True, "activeSessionsClosed": closed})

    async def _show(self, request: web.BaseRequest, credential: Credential, segments: Segments) -> bytes:
        (result,) = await self._database.run([Call(_SHOW, (credential.identity_json, _id(segments).encode()))])
        shown = orjson.loads(result.get_value(0, 0) or b"null")
        if shown is None:
            wire.refuse("capability_not_found", "no capability with this id", param="id")
        return orjson.dumps(
            {
                "object": "capability",
                "capabilityId": shown["capabilityId"],
                "keyKind": shown["keyKind"],
                "status": shown["status"],
                "createdAt": shown["createdAt"],
                "expiresAt": shown["expiresAt"],
                "organizationId": shown["organizationId"],
                "branchRoot": shown["branchRoot"],
                "scope": wire.authority(shown),
                "userMeta": shown["userMeta"],
                "label": shown["label"],
                "onBehalfOf": shown["onBehalfOf"],
                "mayPreempt": shown["mayPreempt"],
                "mintedBy": shown["mintedBy"],
                "rotatedTo": shown["rotatedTo"],
            }
        )

    async def _run(self, call: Call) -> Any:
        (result,) = await self._database.run([call])
        answer = orjson.loads(result.get_value(0, 0) or b"null")
        if answer["outcome"] == "refused":
            raise PgsyncError.of_refusal(answer["error"])
        return answer


def _id(segments: Segments) -> str:
    capability_id = unquote(segments[3], errors="replace")
    if not capability_id.isprintable() or len(capability_id) > 255:
        wire.refuse("capability_not_found", "no capability with this id", param="id")
    return capability_id


def _body(raw: bytes, allowed: Iterable[str]) -> dict[str, Any]:
    """A body with keys of these, each of its type; null is as good as absent."""
    body = wire.parse_json(raw)
    if not isinstance(body, dict):
        wire.refuse("invalid_body", "the body is a JSON object")
    given = {name: value for name, value in body.items() if value is not None}
    for name, value in given.items():
        if name not in allowed:
            wire.refuse("invalid_body", f"unknown key {name!r}", param=name)
        match name:
            case (
                "participantKind"
                | "participantId"
                | "label"
                | "organizationId"
                | "schemaProjectId"
                | "schemaOwnerOrgId"
            ):
                if not isinstance(value, str) or len(value) > 255:
                    wire.refuse("invalid_body", f"{name} is text of at most 255 characters", param=name)
            case "ttlSeconds" | "graceSeconds":
                if isinstance(value, bool) or not isinstance(value, int):
                    wire.refuse("invalid_body", f"{name} is a whole number", param=name)
            case "wideScope" | "controlPlaneOnly":
                if not isinstance(value, bool):
                    wire.refuse("invalid_body", f"{name} is true or false", param=name)
            case "operations" | "syncGroups":
                _texts(value, name)
            case "activeSchemaOperations":
                if not _VERBS.issuperset(_texts(value, name)):
                    wire.refuse("invalid_body", f"{name} holds read, create, update and delete", param=name)
            case "userMeta" | "onBehalfOf":
                if not isinstance(value, dict) or len(orjson.dumps(value)) > MAX_USER_META_BYTES:
                    wire.refuse(
                        "invalid_body", f"{name} is an object of at most {MAX_USER_META_BYTES} bytes", param=name
                    )
                if name == "onBehalfOf" and not all(isinstance(part, str) for part in value.values()):
                    wire.refuse("invalid_body", "onBehalfOf has a kind and an id", param=name)
    if given.get("controlPlaneOnly") is False:
        del given["controlPlaneOnly"]  # the same as not saying it
    return given


def _texts(value: Any, name: str) -> list[str]:
    if not isinstance(value, list) or len(value) > MAX_LIST or not all(isinstance(text, str) for text in value):
        wire.refuse("invalid_body", f"{name} is an array of at most {MAX_LIST} texts", param=name)
    return value


def _check_place(credential: Credential, body: dict[str, Any]) -> None:
    """Whose schema activeSchemaOperations mean: there is one, the organization's own."""
    project, owner = body.pop("schemaProjectId", None), body.pop("schemaOwnerOrgId", None)
    if project not in (None, "default"):
        wire.refuse("project_scope_denied", "this server has one project, default", param="schemaProjectId")
    if owner not in (None, credential.organization_id):
        wire.refuse("organization_mismatch", "the schema belongs to the key's organization", param="schemaOwnerOrgId")
