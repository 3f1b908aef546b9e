"""Translates premises between clients and SQL: sync ids on one side; snapshots, transactions and texts on the other.

The database judges; here is only looked up what its words mean.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson

from pgsync.gateway.active_schema import ServedSchema
from pgsync.gateway.connection import Call, Statement
from pgsync.gateway.database import Database
from pgsync.stream.feed import Feed
from pgsync.stream.ring import Fallen
from pgsync.values import encoder

STREAM_SECONDS: Final = 0.5
_LOOK_SECONDS: Final = 0.005
_SYNC_ID = Statement(b"SELECT pgsync.sync_id_of_v1($1::xid8, $2::integer)", b"sync_id_of_v1")


class Premises:
    """Evidence for what a caller says to have read, and the sync ids and values of what he is told."""

    def __init__(self, database: Database, schema: ServedSchema, feed: Feed) -> None:
        self._database = database
        self._schema = schema
        self._feed = feed

    def evidence(self, read_ats: Iterable[int]) -> dict[str, Any]:
        """What was visible at each sync id, in the form that `pgsync.commit_v1` takes."""
        return {str(read_at): self._evidence_at(read_at) for read_at in read_ats}

    def _evidence_at(self, read_at: int) -> dict[str, Any]:
        evidence = self._feed.timeline.evidence(read_at).to_json()
        commits = self._commits_before(read_at)
        if commits:
            evidence["seenCommits"] = commits
        return evidence

    def _commits_before(self, read_at: int) -> list[str]:
        """Those commits up to a sync id that share their transaction with later ones.

        The transaction as a whole is not covered by that sync id, but a caller who was told the last sync id of his
        commit has seen just that commit.
        """
        ring = self._feed.ring
        if not ring.tail <= read_at < ring.head:
            return []
        try:
            transaction = ring.get(ring.locate(read_at)).transaction
        except Fallen:
            return []
        if not transaction.first_sync_id <= read_at:
            return []
        return [server_tx_id for server_tx_id, last in transaction.commits if last <= read_at]

    async def settle_refusal(self, error: Mapping[str, Any]) -> Mapping[str, Any]:
        """The refusal with sync ids in place of transaction ids."""
        conflicts = error.get("conflicts")
        if not conflicts:
            return error
        deadline = asyncio.get_running_loop().time() + STREAM_SECONDS
        return {**error, "conflicts": [await self._settle(conflict, deadline) for conflict in conflicts]}

    async def settle_notifications(
        self,
        notifications: Sequence[Mapping[str, Any]] | None,
        *,
        unknown: int | None,
        wait_seconds: float = STREAM_SECONDS,
    ) -> list[Any] | None:
        """The notifications with sync ids in place of transaction ids, and values in place of texts.

        `unknown` is the sync id of the commit they came with: what moved before it, nobody knows when, has that. What
        is still on its way through the log is waited for, for `wait_seconds` in all.
        """
        if not notifications:
            return None
        deadline = asyncio.get_running_loop().time() + wait_seconds
        return [await self._settle(told, deadline, unknown) for told in notifications]

    async def _settle(self, told: Mapping[str, Any], deadline: float, unknown: int | None = None) -> dict[str, Any]:
        settled = dict(told)
        xid = settled.pop("observedXid", None)
        commit = settled.pop("observedCommit", None)
        # Without a transaction it is not known what moved: somewhere before now, something did.
        if xid is None:
            settled["observedSyncId"] = self._feed.head if unknown is None else unknown
        else:
            settled["observedSyncId"] = await self._sync_id_of(int(xid), commit, deadline)
        read_xid = settled.pop("readXid", None)
        if read_xid is not None:
            settled["readAt"] = min(await self._began(int(read_xid)), settled["observedSyncId"])
        texts = settled.pop("currentTexts", None)
        if texts is not None:
            settled["currentValues"] = self._values(settled["target"]["model"], texts)
        return settled

    def _values(self, model_name: str, texts: Mapping[str, str | None]) -> dict[str, Any]:
        model = self._schema.current.find(model_name)
        values: dict[str, Any] = {}
        for name, text in texts.items():
            field = model.field(name) if model is not None else None
            if text is None or field is None:
                values[name] = None if text is None else text
            else:
                values[name] = orjson.Fragment(encoder(field.kind, field.array)(text.encode()))
        return values

    async def _sync_id_of(self, xid: int, commit: str | None, deadline: float) -> int:
        """The last sync id of a transaction, or of one commit in it, which may be on its way through the log."""
        loop, timeline = asyncio.get_running_loop(), self._feed.timeline
        while True:
            if commit is None:
                found = timeline.last_sync_id_of(xid)
            else:
                found = await self._feed.confirmed(commit, 0)
            if found is None:
                found = await self._stored_sync_id_of(xid, commit)
            if found is not None:
                return found
            if loop.time() >= deadline:
                return timeline.last_sync_id_of(xid) or self._feed.head
            await asyncio.sleep(_LOOK_SECONDS)

    async def _began(self, xid: int) -> int:
        """Where a transaction of the past stands, also when it changed nothing; 0 when that is forgotten."""
        found = self._feed.timeline.last_sync_id_of(xid)
        if found is None:
            found = await self._feed.confirmed(f"{xid}-0", 0)
        if found is None:
            found = await self._stored_sync_id_of(xid, None)
        return found or 0

    async def _stored_sync_id_of(self, xid: int, commit: str | None) -> int | None:
        ordinal = None if commit is None else commit.partition("-")[2].encode()
        (result,) = await self._database.run([Call(_SYNC_ID, (str(xid).encode(), ordinal))])
        value = result.get_value(0, 0)
        return None if value is None else int(value)
