"""Who is connected for long, by WebSocket or by server-sent events: how many may be, and how they are ended."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final, Protocol

from pgsync.errors import PgsyncError
from pgsync.gateway.authenticate import Credential

KINDS: Final = ("websocket", "events")

GOING_AWAY: Final = 1001
SCHEMA_CHANGED: Final = 1012
CREDENTIAL_EXPIRED: Final = 4001
CREDENTIAL_REVOKED: Final = 4003

DEFAULT_MOST: Final = 20_000
DEFAULT_MOST_PER_PARTICIPANT: Final = 2_000


class LiveConnection(Protocol):
    """One that stays open. The codes are those with which a WebSocket closes (contract 2.7)."""

    @property
    def kind(self) -> str:
        """One of KINDS."""

    @property
    def credential(self) -> Credential:
        """Whose it is."""

    def release_scopes_of(self, capability_id: str) -> None:
        """Lets go what it sees through another credential, which has ended."""

    def end(self, code: int, reason: str) -> bool:
        """Ends it soon; for callers that cannot wait for it. False: it was ending already."""

    async def close(self, code: int, reason: str) -> None:
        """Ends it."""


class Connections:
    """The connections of one gateway: at most `most`, and at most `most_per_participant` of one participant."""

    def __init__(self, *, most: int = DEFAULT_MOST, most_per_participant: int = DEFAULT_MOST_PER_PARTICIPANT) -> None:
        self._most = most
        self._most_per_participant = most_per_participant
        self._open: set[LiveConnection] = set()
        self._participants: Counter[tuple[str, str, str]] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    @property
    def most(self) -> int:
        """How many there may be."""
        return self._most

    def by_kind(self) -> dict[str, float]:
        """How many of each kind there are."""
        found = Counter(one.kind for one in self._open)
        return {kind: found[kind] for kind in KINDS}

    def check(self, credential: Credential) -> None:
        """Refuses one more with connection_limit_exceeded or instance_at_capacity."""
        if self._participants[_participant(credential)] >= self._most_per_participant:
            raise PgsyncError(
                "connection_limit_exceeded",
                f"this participant has {self._most_per_participant} live connections, which is all that it may have",
            )
        if len(self._open) >= self._most:
            raise PgsyncError("instance_at_capacity", "this gateway has all the live connections that it can serve")

    def add(self, connection: LiveConnection) -> None:
        """Counts a connection from here on."""
        self._open.add(connection)
        self._participants[_participant(connection.credential)] += 1

    def discard(self, connection: LiveConnection) -> None:
        """Counts it no longer."""
        if connection in self._open:
            self._open.discard(connection)
            participant = _participant(connection.credential)
            self._participants[participant] -= 1
            if not self._participants[participant]:
                del self._participants[participant]

    def close_sessions_of(self, capability_id: str, *, expired: bool = False) -> int:
        """Ends those of a revoked credential, or of one whose end was moved nearer; how many there were."""
        for connection in self._open:
            connection.release_scopes_of(capability_id)
        found = [one for one in self._open if one.credential.capability_id == capability_id]
        code, reason = (CREDENTIAL_EXPIRED, "credential_expired") if expired else (CREDENTIAL_REVOKED, "apikey_revoked")
        return sum(connection.end(code, reason) for connection in found)

    def end_outdated(self, edge_kinds: frozenset[str]) -> None:
        """Ends those that follow memberships by what an older version of the schema says of them: they come back."""
        for connection in list(self._open):
            end_if_outdated(connection, edge_kinds)

    @property
    def capability_ids(self) -> set[str]:
        """The credentials that are connected here."""
        return {found for one in self._open if (found := one.credential.capability_id) is not None}

    async def close(self) -> None:
        """Tells every client to connect elsewhere."""
        await asyncio.gather(*(one.close(GOING_AWAY, "the gateway stops") for one in list(self._open)))


def end_if_outdated(connection: LiveConnection, edge_kinds: frozenset[str]) -> None:
    """Ends it if memberships grant other kinds of groups by now than when its caller was looked up."""
    credential = connection.credential
    if credential.follows_edges and credential.edge_kinds != edge_kinds:
        connection.end(SCHEMA_CHANGED, "schema_changed")


def _participant(credential: Credential) -> tuple[str, str, str]:
    return credential.organization_id, credential.participant_kind, credential.participant_id
