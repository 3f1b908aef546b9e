"""Who asks: from the bearer key of a request to the identity that every SQL call carries.

The database knows only the sha-256 of a key; what it said is kept a few seconds, and forgotten at once when it
notifies of a revocation.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, NoReturn

import orjson

from pgsync import keys, wire
from pgsync.errors import PgsyncError
from pgsync.expression import Reader
from pgsync.gateway.connection import Call, Statement
from pgsync.gateway.database import Database
from pgsync.gateway.jwt import JwtVerifier, looks_like_jwt
from pgsync.models import Model

CACHE_SECONDS: Final = 5.0
CACHE_ENTRIES: Final = 20_000

_AUTHENTICATE = Statement(b"SELECT pgsync.authenticate_v1($1)", b"authenticate_v1")
_EDGES = Statement(b"SELECT pgsync.edges_v1($1::jsonb)", b"edges_v1")
_IDENTITY_KEYS: Final = (
    "organizationId",
    "participantKind",
    "participantId",
    "syncGroups",
    "edges",
    "operations",
    "capabilityId",
    "onBehalfOf",
    "controlPlaneOnly",
    "mayPreempt",
)


@dataclass(frozen=True, slots=True)
class Credential:
    """An authenticated caller, with the JSON that each of its requests needs made once.

    `identity_json` goes to SQL, `authority_json` into receipts, `answer` is that of `GET /auth/identity`.
    `expires_at` is in seconds since 1970, None for a key without end. `readable` are the lower-cased typenames of the
    models whose changes it may follow, None for all; the database decides what it may read. `capability_id` is None
    for who came with a token of another issuer.

    `sync_groups` are the credential's own. Memberships may add groups of the kinds `edge_kinds`: which ones, each
    transaction asks anew; `edge_groups` are those that there were when the caller was looked up, to show only. With
    `follows_edges` a later push may make others.
    """

    capability_id: str | None
    key_kind: str
    organization_id: str
    participant_kind: str
    participant_id: str
    sync_groups: frozenset[str]
    edge_groups: frozenset[str]
    edge_kinds: frozenset[str]
    follows_edges: bool
    readable: frozenset[str] | None
    expires_at: float | None
    identity_json: bytes
    authority_json: bytes
    answer: bytes

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Credential:
        """From the object that `pgsync.authenticate_v1` returns."""
        expires_at = data["expiresAt"]
        return cls(
            capability_id=data.get("capabilityId"),
            key_kind=data["keyKind"],
            organization_id=data["organizationId"],
            participant_kind=data["participantKind"],
            participant_id=data["participantId"],
            sync_groups=frozenset(data["syncGroups"]),
            edge_groups=frozenset(data.get("edgeGroups") or ()),
            edge_kinds=frozenset(data.get("edgeKinds") or ()),
            follows_edges=data.get("edges") is True,
            readable=_readable(data),
            expires_at=None if expires_at is None else datetime.fromisoformat(expires_at).timestamp(),
            identity_json=orjson.dumps(
                {key: data[key] for key in _IDENTITY_KEYS if data.get(key) not in (None, False)}
            ),
            authority_json=orjson.dumps(wire.authority(data)),
            answer=wire.identity(data),
        )

    def with_groups(self, groups: frozenset[str]) -> Credential:
        """The same caller, shown only rows of these groups, as far as it has them; for read rules it has all."""
        narrowed = orjson.loads(self.identity_json) | {"subscribed": sorted(groups)}
        return replace(self, identity_json=orjson.dumps(narrowed))

    def subscribed(self, groups: frozenset[str]) -> Credential:
        """The same caller with the groups that it asked for.

        Who asked for none by name, or for all that the credential itself holds, has narrowed nothing, and may not know
        yet what a membership has granted since: it gets all of that.
        """
        return self if not groups or groups >= self.sync_groups else self.with_groups(groups)

    def with_own(self, groups: frozenset[str]) -> Credential:
        """The same caller with other groups of its own, beside those that memberships grant."""
        identity = orjson.loads(self.identity_json) | {"syncGroups": sorted(groups)}
        return replace(self, sync_groups=groups, identity_json=orjson.dumps(identity))

    def with_only(self, groups: frozenset[str]) -> Credential:
        """The same caller with these groups and no others, whether it holds them or not: for what it was shown."""
        identity = orjson.loads(self.identity_json) | {"syncGroups": sorted(groups)}
        identity.pop("edges", None)
        identity.pop("subscribed", None)
        return replace(self, sync_groups=groups, edge_groups=frozenset(), identity_json=orjson.dumps(identity))

    def may_read(self, model: Model) -> bool:
        """Whether it may follow changes of the model."""
        return self.readable is None or model.typename.lower() in self.readable

    def may_gain(self, group: str) -> bool:
        """Whether a membership can grant this group."""
        return group.partition(":")[0] in self.edge_kinds

    @property
    def member(self) -> str | None:
        """The participant whose memberships live sessions follow, None when they can add nothing."""
        return self.participant_id if self.edge_kinds else None

    def wants(self, asked: frozenset[str] | None, edges: frozenset[str]) -> frozenset[str]:
        """Those of the groups that memberships grant that go with what was asked for, None for all."""
        return edges & asked if asked is not None and self.is_narrowed_by(asked) else edges

    def is_narrowed_by(self, asked: frozenset[str]) -> bool:
        """Whether who asks for these groups wants fewer than it has; see `subscribed`."""
        return not asked or not asked >= self.sync_groups

    @property
    def reader(self) -> Reader:
        """Whom read rules are judged for on the stream, as row security judges them for reads; without memberships."""
        return Reader(self.participant_id, self.participant_kind, self.organization_id, self.sync_groups)

    def remaining_seconds(self) -> float | None:
        """Until the key expires; None for one without end."""
        return None if self.expires_at is None else max(self.expires_at - time.time(), 0.0)


def _readable(data: dict[str, Any]) -> frozenset[str] | None:
    operations: list[str] = data["operations"]
    if data.get("controlPlaneOnly"):
        return frozenset()
    if not operations or "*.read" in operations:
        return None
    return frozenset(operation.removesuffix(".read") for operation in operations if operation.endswith(".read"))


class Authenticator:
    """Resolves keys, with a small cache in front of the database.

    Concurrent requests with one key ask once. Unknown keys are not remembered: a key that was just made works at once.
    """

    def __init__(
        self, database: Database, *, jwt: JwtVerifier | None = None, cache_seconds: float = CACHE_SECONDS
    ) -> None:
        self._database = database
        self._jwt = jwt
        self._cache_seconds = cache_seconds
        self._known: OrderedDict[bytes, tuple[Credential, float]] = OrderedDict()
        self._asking: dict[bytes, asyncio.Future[Credential]] = {}
        self._forgotten = 0

    async def authorize(self, header: str | None) -> Credential:
        """The caller behind an Authorization header. Raises api_key_required and the apikey codes."""
        if not header:
            wire.refuse("api_key_required", "send your key as: Authorization: Bearer <key>", param="Authorization")
        scheme, _, token = header.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            wire.refuse("api_key_required", "the Authorization header is not: Bearer <key>", param="Authorization")
        return await self.credential(token)

    async def credential(self, token: str) -> Credential:
        """The caller behind a key, or behind a token of the operator's identity provider.

        Raises apikey_invalid, apikey_expired, apikey_revoked, and the jwt codes.
        """
        digest = keys.digest(token)
        known = self._known.get(digest)
        if known is not None and time.time() < known[1]:
            return known[0]
        if self._jwt is not None and looks_like_jwt(token):
            return await self._verify(self._jwt, digest, token)
        if not keys.is_wellformed(token):  # mistyped: the checksum says so without a question to the database
            _refuse_unknown()
        asking = self._asking.get(digest)
        if asking is None:
            asking = self._asking[digest] = asyncio.ensure_future(self._ask(digest))
            asking.add_done_callback(lambda _: self._asking.pop(digest, None))
        return await asyncio.shield(asking)

    async def _verify(self, jwt: JwtVerifier, digest: bytes, token: str) -> Credential:
        asked_at = time.time()
        data = await jwt.identity(token)
        (result,) = await self._database.run([Call(_EDGES, (Credential.from_json(data).identity_json,))])
        found = orjson.loads(result.get_value(0, 0) or b"{}")
        groups = sorted({edge["group"] for edge in found["edges"]})
        credential = Credential.from_json(data | {"edgeGroups": groups, "edgeKinds": found["kinds"]})
        assert credential.expires_at is not None
        self._keep(digest, credential, min(asked_at + self._cache_seconds, credential.expires_at))
        return credential

    async def _ask(self, digest: bytes) -> Credential:
        asked_at, forgotten = time.time(), self._forgotten
        (result,) = await self._database.run([Call(_AUTHENTICATE, (b"\\x" + digest.hex().encode(),))])
        text = result.get_value(0, 0)
        if text is None:
            self._known.pop(digest, None)
            _refuse_unknown()
        data = orjson.loads(text)
        if data["status"] != "active":
            self._known.pop(digest, None)
            refused = "apikey_expired" if data["status"] == "expired" else "apikey_revoked"
            raise PgsyncError(refused, f"this key is {data['status']}", param="Authorization")
        credential = Credential.from_json(data)
        until = asked_at + self._cache_seconds
        if credential.expires_at is not None:
            until = min(until, credential.expires_at)
        if forgotten != self._forgotten:
            return (
                credential  # a revocation came while the answer was under way: it may be this one's, so do not keep it
            )
        self._keep(digest, credential, until)
        return credential

    def _keep(self, digest: bytes, credential: Credential, until: float) -> None:
        self._known[digest] = (credential, until)
        self._known.move_to_end(digest)
        while len(self._known) > CACHE_ENTRIES:
            self._known.popitem(last=False)

    def forget(self, capability_id: str) -> None:
        """Drops what is known of a credential: the database has said that it was revoked."""
        self._forgotten += 1
        for digest in [d for d, (c, _) in self._known.items() if c.capability_id == capability_id]:
            del self._known[digest]

    def forget_all(self) -> None:
        """Drops everything: notifications may have been missed."""
        self._forgotten += 1
        self._known.clear()


def seconds_until(moment: str) -> float:
    """Until an ISO time in UTC, 0 when it is past or no time."""
    try:
        return max(datetime.fromisoformat(moment).timestamp() - time.time(), 0.0)
    except ValueError:
        return 0.0


def _refuse_unknown() -> NoReturn:
    wire.refuse("apikey_invalid", "this server does not know the key", param="Authorization")
