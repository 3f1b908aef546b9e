"""Tokens of the operator's own identity provider: from a signed JWT to the identity that every SQL call carries.

What a token may say is decided here, by signature, issuer, audience and time; what its bearer may do is decided in SQL,
as for a key.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn

import aiohttp
import jwt
import orjson

from pgsync import wire
from pgsync.config import GatewayConfig
from pgsync.errors import PgsyncError

REFRESH_SECONDS: Final = 600.0
RETRY_SECONDS: Final = 10.0
FETCH_SECONDS: Final = 5.0
LEEWAY_SECONDS: Final = 5.0
MAX_JWKS_BYTES: Final = 1024 * 1024

PREEMPT: Final = "claim.preempt"
_LAST_SECOND: Final = 253402300799  # of the year 9999
_OPERATION = re.compile(r"[^.\sA-Z]+\.(?:read|create|update|delete)\Z")
_KINDS: Final = frozenset({"user", "agent", "system"})
# By the type of a published key. Never HS256 there: whoever knows a public key could sign with it.
_ALGORITHMS: Final[Mapping[str, tuple[str, ...]]] = {
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "EC": ("ES256", "ES384", "ES512", "ES256K"),
    "OKP": ("EdDSA",),
}


def looks_like_jwt(token: str) -> bool:
    """Whether a bearer is a JWT rather than a key: three parts, the first of which is a JSON object in base64."""
    return token.startswith("ey") and token.count(".") == 2


class JwtVerifier:
    """Checks tokens by the settings `jwt_*`. Without any, every token is of an issuer that nobody trusts."""

    def __init__(self, config: GatewayConfig) -> None:
        self._config = config
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._fetched_at = float("-inf")
        self._fetching = asyncio.Lock()

    async def identity(self, token: str) -> dict[str, Any]:
        """The identity as `pgsync.authenticate_v1` gives it for a key, with no capability. Raises the jwt codes."""
        config = self._config
        if not (config.jwt_secret or config.jwt_jwks):
            _refuse("jwt_issuer_untrusted", "this gateway trusts no issuer of tokens: set PGSYNC_JWT_ISSUER")
        try:
            header = jwt.get_unverified_header(token)
            unverified = jwt.decode(token, options={"verify_signature": False})
        except jwt.PyJWTError as error:
            raise PgsyncError("jwt_malformed", "the token is not a JWT", param="Authorization") from error
        if not unverified.get("iss"):
            _refuse("jwt_missing_issuer", "the token has no iss claim")
        if unverified["iss"] != config.jwt_issuer:
            _refuse("jwt_issuer_untrusted", "the token's issuer is not the one that this gateway trusts")
        key, algorithms = await self._key(header)
        return self._identity(self._verify(token, key, algorithms))

    def _verify(self, token: str, key: Any, algorithms: tuple[str, ...]) -> dict[str, Any]:
        config = self._config
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=list(algorithms),
                issuer=config.jwt_issuer,
                audience=config.jwt_audience or None,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss"], "verify_aud": bool(config.jwt_audience), "verify_sub": False},
            )
        except jwt.ExpiredSignatureError as error:
            raise _error("jwt_expired", "the token has expired") from error
        except (jwt.InvalidAudienceError, jwt.MissingRequiredClaimError) as error:
            if isinstance(error, jwt.MissingRequiredClaimError) and error.claim != "aud":
                raise _error("jwt_invalid", f"the token has no {error.claim} claim") from error
            raise _error("jwt_audience_mismatch", "the token is for another audience") from error
        except jwt.InvalidIssuerError as error:
            raise _error("jwt_issuer_untrusted", "the token's issuer is not trusted") from error
        except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError, jwt.InvalidKeyError) as error:
            raise _error("jwt_signature_invalid", "the token's signature does not verify") from error
        except jwt.PyJWTError as error:
            raise _error("jwt_invalid", "the token is not valid (now)") from error
        return claims

    def _identity(self, claims: dict[str, Any]) -> dict[str, Any]:
        config = self._config
        participant = _text(claims.get(config.jwt_participant_claim))
        if participant is None:
            _refuse("jwt_missing_subject", f"the token has no {config.jwt_participant_claim} claim")
        organization = config.jwt_organization or _text(claims.get(config.jwt_organization_claim))
        if organization is None:
            _refuse("jwt_missing_organization", f"the token has no {config.jwt_organization_claim} claim")
        kind = "user"
        if config.jwt_kind_claim and claims.get(config.jwt_kind_claim) is not None:
            kind = claims[config.jwt_kind_claim]
            if kind not in _KINDS:
                _refuse("jwt_invalid", f"{config.jwt_kind_claim} is none of user, agent and system")
        groups = dict.fromkeys((f"org:{organization}", f"{kind}:{participant}"))
        for group in _texts(claims, config.jwt_groups_claim):
            if group.startswith("org:"):
                _refuse("jwt_invalid", f"{config.jwt_groups_claim} names an organization's own group")
            try:
                wire.check_sync_group(group)
            except PgsyncError as error:
                raise _error("jwt_invalid", f"{config.jwt_groups_claim} holds what is no sync group") from error
            groups[group] = None
        # Such a claim may hold the provider's own scopes, too (openid, profile): those grant nothing here.
        granted = _texts(claims, config.jwt_operations_claim)
        operations = [text for text in granted if _OPERATION.match(text)]
        if config.jwt_operations_claim and not operations:
            _refuse("jwt_invalid", f"the token grants nothing: {config.jwt_operations_claim} is missing or empty")
        return {
            "capabilityId": None,
            "keyKind": "jwt",
            "organizationId": organization,
            "projectId": "default",
            "branchId": "main",
            "branchRoot": True,
            "participantKind": kind,
            "participantId": participant,
            "syncGroups": list(groups),
            "edges": True,  # what a token names, it adds to what its participant holds
            "operations": operations,
            "userMeta": {},
            "onBehalfOf": None,
            "controlPlaneOnly": False,
            "mayPreempt": PREEMPT in granted,
            "expiresAt": datetime.fromtimestamp(min(int(claims["exp"]), _LAST_SECOND), UTC).isoformat(),
            "status": "active",
        }

    # --- keys -------------------------------------------------------------------------------------------------------

    async def _key(self, header: Mapping[str, Any]) -> tuple[Any, tuple[str, ...]]:
        algorithm = header.get("alg")
        if self._config.jwt_secret:
            if algorithm != "HS256":
                _refuse("jwt_signature_invalid", "the token is not signed with HS256")
            return self._config.jwt_secret, ("HS256",)
        kid = header.get("kid")
        found = self._find(kid)
        age = time.monotonic() - self._fetched_at
        if age > REFRESH_SECONDS or (found is None and age > RETRY_SECONDS):
            await self._fetch(self._fetched_at)
            found = self._find(kid)
        if found is None:
            _refuse("jwt_signature_invalid", "the token is signed with a key that the issuer does not publish")
        algorithms = _ALGORITHMS.get(found.key_type or "", ())
        if algorithm not in algorithms:
            _refuse("jwt_signature_invalid", "the token's algorithm does not fit the key that it names")
        return found.key, (str(algorithm),)

    def _find(self, kid: Any) -> jwt.PyJWK | None:
        """The key by its id; a token without one means the only key there is."""
        if isinstance(kid, str):
            return self._keys.get(kid)
        return next(iter(self._keys.values())) if len(self._keys) == 1 else None

    async def _fetch(self, seen: float) -> None:
        async with self._fetching:
            if self._fetched_at != seen:
                return  # somebody else has just done it
            try:
                raw = await self._read()
                published = orjson.loads(raw)["keys"]
                keys: dict[str | None, jwt.PyJWK] = {}
                for entry in published:
                    if entry.get("use", "sig") == "sig" and entry.get("kty") in _ALGORITHMS:
                        try:
                            keys[entry.get("kid")] = jwt.PyJWK(entry)
                        except jwt.PyJWTError:
                            continue  # of a kind that we cannot use; the others may do
            except (
                OSError,
                aiohttp.ClientError,
                TimeoutError,
                ValueError,
                KeyError,
                TypeError,
                AttributeError,
            ) as error:
                if self._keys:
                    self._fetched_at = time.monotonic() - REFRESH_SECONDS + RETRY_SECONDS
                    return  # what was published before is as good as ever; ask again soon
                raise PgsyncError("session_check_failed", "the issuer's keys cannot be read now: try again") from error
            self._keys = keys
            self._fetched_at = time.monotonic()

    async def _read(self) -> bytes:
        place = self._config.jwt_jwks
        if "://" not in place:
            return await asyncio.to_thread(Path(place).read_bytes)
        timeout = aiohttp.ClientTimeout(total=FETCH_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(place) as response:
            response.raise_for_status()
            return await response.content.read(MAX_JWKS_BYTES)


def _text(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return value if isinstance(value, str) and 0 < len(value) <= 255 and value.isprintable() else None


def _texts(claims: Mapping[str, Any], name: str) -> list[str]:
    """A claim that is an array of texts, or one text with spaces between, as `scope` is."""
    value = claims.get(name) if name else None
    if value is None:
        return []
    texts = value.split() if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        _refuse("jwt_invalid", f"{name} is not an array of texts")
    return texts


def _error(code: str, message: str) -> PgsyncError:
    return PgsyncError(code, message, param="Authorization")


def _refuse(code: str, message: str) -> NoReturn:
    raise _error(code, message)
