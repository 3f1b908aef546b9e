"""What connected clients know of each other: claims and presence, across all gateways of a database."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

from pgsync.gateway.active_schema import ServedSchema
from pgsync.gateway.authenticate import Authenticator
from pgsync.gateway.claim_lines import ClaimLines
from pgsync.gateway.database import Database
from pgsync.gateway.member import Member, Members
from pgsync.gateway.presence import Presence
from pgsync.log import Event, emit
from pgsync.stream.feed import Feed
from pgsync.stream.transaction import Notice
from pgsync.tasks import TaskGroup

RETRY_SECONDS: Final = 1.0

_CLAIM: Final = "k"


class Coordination:
    """Holds the two together and hands them what happens."""

    def __init__(
        self,
        *,
        reads: Database,
        writes: Database,
        schema: ServedSchema,
        feed: Feed,
        authenticator: Authenticator,
    ) -> None:
        self.database = writes
        self.schema = schema
        self.authenticator = authenticator
        self._members = Members()
        self.lines = ClaimLines(reads, writes, schema, self._members)
        self.presence = Presence(writes, self._members, self.lines, is_listening=lambda: feed.is_connected)
        feed.on_notice(self._notice)
        feed.on_restarted(self._restarted)

    def _notice(self, notice: Notice) -> None:
        if notice.kind == _CLAIM:
            self.lines.notice(notice)
        else:
            self.presence.notice(notice)

    def _restarted(self) -> None:
        """The stream has begun anew: what was said meanwhile is not known."""
        self.lines.reload()
        self.presence.ask()

    def join(self, member: Member) -> None:
        """A client has connected."""
        is_first = self._members.add(member)
        self.lines.joined(member, is_first=is_first)
        self.presence.joined(member)

    def leave(self, member: Member) -> None:
        """A client has gone."""
        is_last = self._members.remove(member)
        self.lines.left(member, is_last=is_last)
        self.presence.left(member, is_last=is_last)

    def regroup(self, member: Member, groups: frozenset[str], held: frozenset[str]) -> None:
        """A client follows other groups from now on; `held` are all that it has."""
        before = member.groups
        if groups == before and held == member.reader.groups:
            return
        member.groups = groups
        member.reader = replace(member.reader, groups=held)
        self.lines.regrouped(member, before)
        self.presence.regrouped(member, before)

    async def run(self) -> None:
        """Until it is cancelled; says goodbye to the other gateways then."""
        try:
            while True:
                try:
                    async with TaskGroup() as tasks:
                        tasks.create_task(self.lines.run())
                        tasks.create_task(self.presence.run())
                except* Exception as group:  # noqa: BLE001  # a fault in here must not end what else the gateway does
                    emit(Event.COORDINATION_FAILED, error=group.exceptions[0])
                    self._restarted()
                await asyncio.sleep(RETRY_SECONDS)
        finally:
            await self.presence.close()
