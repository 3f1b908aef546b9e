"""Scope joins of one socket (contract 2.5): sync groups that it has for a while, beside those of its subscription."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pgsync import wire
from pgsync.errors import PgsyncError
from pgsync.gateway.authenticate import Authenticator, Credential
from pgsync.gateway.bootstrap import groups_of

MAX_JOINS: Final = 100


@dataclass(frozen=True, slots=True)
class Joined:
    """`ttl_seconds` is None for a join that lasts as long as the session."""

    groups: frozenset[str]
    ttl_seconds: int | None


@dataclass(frozen=True, slots=True)
class _Join:
    groups: frozenset[str]
    capability_id: str | None
    timer: asyncio.TimerHandle | None


class Scopes:
    """Groups come from the session's own credential or from another token of the same organization, and go with it.

    `on_change` is called when `groups` are others.
    """

    def __init__(self, credential: Credential, authenticator: Authenticator, on_change: Callable[[], None]) -> None:
        self._credential = credential
        self._authenticator = authenticator
        self._on_change = on_change
        self._joins: dict[str, _Join] = {}

    @property
    def groups(self) -> frozenset[str]:
        """All that is joined."""
        return frozenset[str]().union(*(join.groups for join in self._joins.values()))

    async def join(self, claim_id: str, payload: Mapping[str, Any]) -> Joined:
        """Adds groups.

        Raises malformed_claim, invalid_sync_group, and, with requiredCapability, capability_invalid for a token that
        is none and capability_scope_denied for a group that the credential does not have, and for a token that may not
        read all that the session may.
        """
        if not claim_id or len(claim_id) > wire.MAX_ID_LENGTH:
            wire.refuse("malformed_claim", "claimId is text of 1 to 255 characters", param="claimId")
        wanted, token, ttl = payload.get("syncGroups"), payload.get("capabilityToken"), payload.get("ttlSeconds")
        if not isinstance(wanted, list) or not all(isinstance(group, str) for group in wanted):
            wire.refuse("malformed_claim", "syncGroups is an array of sync groups", param="syncGroups")
        if len(wanted) > wire.MAX_SUBSCRIBED_GROUPS:
            limit = f"a claim has at most {wire.MAX_SUBSCRIBED_GROUPS} sync groups"
            wire.refuse("malformed_claim", limit, param="syncGroups")
        if ttl is not None and (isinstance(ttl, bool) or not isinstance(ttl, int | float) or not 0 < ttl <= 10**9):
            wire.refuse("malformed_claim", "ttlSeconds is a number above 0", param="ttlSeconds")
        if claim_id not in self._joins and len(self._joins) >= MAX_JOINS:
            wire.refuse("queue_too_deep", f"a socket has at most {MAX_JOINS} scope joins", param="claimId")
        for group in wanted:
            wire.check_sync_group(group)
        credential = self._credential if token is None else await self._credential_of(token, wanted)
        groups = groups_of(credential, wanted) if wanted else frozenset[str]()
        limits = [limit for limit in (ttl, credential.remaining_seconds()) if limit is not None]
        seconds = min(limits) if limits else None
        timer = None
        if seconds is not None:
            timer = asyncio.get_running_loop().call_later(seconds, self.release, claim_id)
        self._drop(claim_id)
        self._joins[claim_id] = _Join(groups, credential.capability_id, timer)
        self._on_change()
        return Joined(groups, None if seconds is None else math.ceil(seconds))

    async def _credential_of(self, token: object, wanted: list[str]) -> Credential:
        required = {"scope": wanted[0]} if wanted else None
        details = {} if required is None else {"requiredCapability": required}
        try:
            if not isinstance(token, str):
                wire.refuse("apikey_invalid", "capabilityToken is text")
            credential = await self._authenticator.credential(token)
        except PgsyncError as error:
            if error.status >= 500:
                raise
            raise PgsyncError("capability_invalid", error.message, param="capabilityToken", details=details) from error
        if credential.organization_id != self._credential.organization_id:
            other = "this token is of another organization"
            raise PgsyncError("capability_scope_denied", other, param="capabilityToken", details=details)
        # The session reads what it joins by its own grants: it must not read there what the token may not read.
        if credential.readable is not None:
            ours = self._credential.readable
            more = {"*"} if ours is None else ours - credential.readable
            if more or not credential.readable:
                scope = f"{min(more, default='*')}.read"
                raise PgsyncError(
                    "capability_scope_denied",
                    f"this token lacks {scope}, which the session has",
                    param="capabilityToken",
                    details={"requiredCapability": {"scope": scope}},
                )
        return credential

    def release(self, claim_id: str) -> bool:
        """Gives the groups of a join up; False: there is no such join."""
        if not self._drop(claim_id):
            return False
        self._on_change()
        return True

    def release_of(self, capability_id: str) -> None:
        """A credential was revoked or ends: what was joined with it goes."""
        for claim_id in [claim_id for claim_id, join in self._joins.items() if join.capability_id == capability_id]:
            self.release(claim_id)

    def close(self) -> None:
        """Forgets everything, without a word."""
        for claim_id in list(self._joins):
            self._drop(claim_id)

    def _drop(self, claim_id: str) -> bool:
        join = self._joins.pop(claim_id, None)
        if join is not None and join.timer is not None:
            join.timer.cancel()
        return join is not None
