"""Reads the audit trail: of a row, of a key, of a person. The queries are in `sql/audit`, this only pages through them.

Reads as the connection's role, which needs SELECT on the audit tables (`sql/audit/auditor.sql`), and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Final, Self

import psycopg
from psycopg.rows import class_row

from pgsync import sqlfiles

PAGE: Final = 500

_BEGINNING: Final = datetime(1, 1, 1, tzinfo=UTC)
_END: Final = datetime(9999, 12, 31, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a trail; what comes after it is older. `rank`: 0 a change, 1 a claim event of the same transaction."""

    xid: int
    rank: int
    seq: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """What `str` gives; raises ValueError for anything else."""
        xid, rank, seq = (int(part) for part in text.split("."))
        if not (0 <= xid < 2**64 and rank in (0, 1) and 0 <= seq < 2**63):
            raise ValueError(f"not a cursor: {text}")
        return cls(xid, rank, seq)

    def __str__(self) -> str:
        return f"{self.xid}.{self.rank}.{self.seq}"


_NEWEST: Final = Cursor(2**64 - 1, 1, 2**63 - 1)


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of `sql/audit/described.sql`: a change or a claim event.

    `at` is when it was done, within its transaction. `door` is http, websocket, function (a commit without a gateway),
    sql or claim; `role` the database role of direct SQL, which has no participant and no key. `id` is None for what
    happened to all rows of the model. `fields` are names, never values; None where all or none are concerned.
    `sync_id` is where the whole commit, or transaction, is in the number line, None while no gateway has counted it.
    """

    at: datetime
    door: str
    participant_kind: str | None
    participant_id: str | None
    key_id: str | None
    on_behalf_of_kind: str | None
    on_behalf_of_id: str | None
    role: str | None
    organization_id: str | None
    model: str
    id: str | None
    action: str
    fields: list[str] | None
    commit_key: str | None
    commit_id: str | None
    sync_id: int | None
    claim_id: str | None
    cursor: str


COLUMNS: Final = tuple(field.name for field in fields(Entry))


@dataclass(frozen=True, slots=True)
class Selection:
    """Which entries are wanted: of one organization or of any, from `since` to before `until`, older than `after`."""

    organization: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    after: Cursor | None = None

    def _parameters(self, after: Cursor | None, limit: int) -> dict[str, Any]:
        cursor = after or self.after or _NEWEST
        return {
            "organization": self.organization,
            "since": self.since or _BEGINNING,
            "until": self.until or _END,
            "cursor_xid": str(cursor.xid),
            "cursor_rank": cursor.rank,
            "cursor_seq": cursor.seq,
            "limit": limit,
        }


def of_row(
    connection: psycopg.Connection[Any], model: str, id: str, *, selection: Selection, limit: int | None
) -> Iterator[Entry]:
    """What happened to a row, newest first; a model by any of its names, or as the change log has it."""
    found = connection.execute(sqlfiles.read("audit/model.sql"), {"model": model}).fetchone()
    subject = {"model": model if found is None else found[0], "id": id}
    return _pages(connection, "audit/row.sql", subject, selection, limit)


def of_key(
    connection: psycopg.Connection[Any], key_id: str, *, selection: Selection, limit: int | None
) -> Iterator[Entry]:
    """What was done with a key, newest first."""
    return _pages(connection, "audit/actor.sql", {"keys": [key_id], "kind": None, "id": None}, selection, limit)


def of_participant(
    connection: psycopg.Connection[Any], kind: str, id: str, *, selection: Selection, limit: int | None
) -> Iterator[Entry]:
    """What a participant did, what was done on her behalf, and with keys that were minted with hers, newest first."""
    subject = {"kind": kind, "id": id}
    parameters = {**subject, "organization": selection.organization}
    keys = [key for (key,) in connection.execute(sqlfiles.read("audit/keys_of.sql"), parameters)]
    return _pages(connection, "audit/actor.sql", {**subject, "keys": keys}, selection, limit)


def _pages(
    connection: psycopg.Connection[Any],
    path: str,
    subject: Mapping[str, Any],
    selection: Selection,
    limit: int | None,
) -> Iterator[Entry]:
    statement = sqlfiles.render("audit/described.sql", entries=path)
    after: Cursor | None = None
    while limit is None or limit > 0:
        size = PAGE if limit is None else min(limit, PAGE)
        parameters = {**subject, **selection._parameters(after, size)}
        with connection.cursor(row_factory=class_row(Entry)) as cursor:
            page = cursor.execute(statement, parameters).fetchall()
        yield from page
        if len(page) < size:
            return
        if limit is not None:
            limit -= size
        after = Cursor.parse(page[-1].cursor)
