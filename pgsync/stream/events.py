"""The stream as server-sent events: the deltas of a WebSocket, chosen by model and by the values of their rows.

One event for a change, in commit order. Only where a transaction ends an event has an `id`, the cursor from which a
reader can go on: so nobody resumes inside one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

import orjson

from pgsync.expression import Reader
from pgsync.models import Model
from pgsync.stream.cursor import cursor_encode
from pgsync.stream.decode import Delete, Insert, Update, decode_message
from pgsync.stream.delta import RELOADS, encode_delta, seen_as
from pgsync.stream.frames import Collector, delta_of
from pgsync.stream.ring import Held, Key
from pgsync.stream.transaction import Change, Columns, RuleRow, Transaction
from pgsync.values import UNCHANGED, Value

if TYPE_CHECKING:
    from pgsync.stream.route import Router

Row: TypeAlias = Sequence[Value]

CHANGE: Final = b"change"
# What looking at a change that turns out not to be wanted counts for, so that one turn of a reader ends.
EXAMINED_BYTES: Final = 16


class UnknownColumnError(Exception):
    """A condition names a column that the table no longer has; the message is its name."""


def event(name: bytes, data: bytes, cursor: str | None = None) -> bytes:
    """One event of the stream. JSON may hold line feeds between its tokens, an event's line may not."""
    if b"\n" in data or b"\r" in data:
        data = data.replace(b"\r", b" ").replace(b"\n", b" ")
    if cursor is None:
        return b"event: %b\ndata: %b\n\n" % (name, data)
    return b"event: %b\nid: %b\ndata: %b\n\n" % (name, cursor.encode(), data)


def place(cursor: str) -> bytes:
    """Moves the reader's cursor without an event."""
    return b"id: %b\n\n" % cursor.encode()


class Unread(bytes):
    """An event for a row of which the log has not all that it takes: to be sent once the row has been read.

    As bytes it says that the row is gone. `xid` is the transaction that a read has to see.
    """

    change: Change
    xid: int
    _groups: tuple[str, ...]
    _committed_at: str

    @classmethod
    def of(cls, change: Change, groups: tuple[str, ...], transaction: Transaction) -> Unread:
        """The event of this change."""
        made = cls(event(CHANGE, encode_delta(change, "D", groups, transaction.committed_at)))
        made.change, made.xid = change, transaction.xid
        made._groups, made._committed_at = groups, transaction.committed_at
        return made

    def with_row(self, data: bytes) -> bytes:
        """The event that brings the row."""
        return event(CHANGE, encode_delta(self.change, "I", self._groups, self._committed_at, data))


class Reload(bytes):
    """The event that tells a reader to load the rows of a model anew: its table was truncated, or a push came."""

    @classmethod
    def of(cls, change: Change, position: int) -> Reload:
        """The event of this change; `position` is the sync id before its transaction."""
        said = {"reason": "truncated", "modelName": change.model.typename, "lastSyncId": position}
        return cls(event(b"bootstrap", orjson.dumps(said)))


@dataclass(frozen=True, slots=True)
class Condition:
    """What a row has to fulfil. `columns` are those that it looks at, `text` is what it was made of: its identity."""

    text: str
    columns: tuple[str, ...] = field(compare=False)
    holds: Callable[[RuleRow], bool] = field(compare=False)

    def of_row(self, columns: Columns | None, row: Row | None) -> bool | None:
        """Whether a row of the log fulfils it; None when the log does not have all that it looks at.

        Raises UnknownColumnError.
        """
        if row is None or columns is None:
            return None
        found: dict[str, str | None] = {}
        for column in self.columns:
            index = columns.places.get(column)
            if index is None:
                raise UnknownColumnError(column)
            value = row[index]
            if value is UNCHANGED:
                return None
            found[column] = value.decode() if isinstance(value, bytes) else None
        return self.holds(found)


def rows(change: Change) -> tuple[Row | None, Row | None]:
    """The row before and after a change, as far as the log has them: what the new one leaves out is of the old one."""
    old, new = _decoded(change.previous_row), _decoded(change.row)
    if old is not None and new is not None and UNCHANGED in new:
        new = tuple(o if n is UNCHANGED else n for n, o in zip(new, old, strict=True))
    return old, new


def _decoded(row: object) -> Row | None:
    if isinstance(row, bytes):
        message = decode_message(row)
        if isinstance(message, Delete):
            return message.old
        assert isinstance(message, Insert | Update)
        return message.new
    return row if isinstance(row, Sequence) else None


@dataclass(frozen=True, slots=True)
class Selection:
    """What a reader wants of what it may see: models by key (None: all), and a condition for some of them."""

    models: frozenset[str] | None = None
    conditions: frozenset[tuple[str, Condition]] = frozenset()
    _by_model: Mapping[str, Condition] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_model", dict(self.conditions))

    def condition(self, model: Model) -> Condition | None:
        """What rows of the model have to fulfil, None when nothing."""
        return self._by_model.get(model.key)

    def collector(self, router: Router, reader: Reader | None, *, is_inside: bool, exact: bool) -> Collector:
        """Collects one batch of events; without ids while a cursor would not say it all."""
        return _Events(self, router, reader, is_inside=is_inside, exact=exact)

    def seen_as(
        self, change: Change, keys: frozenset[Key], reader: Reader | None
    ) -> tuple[str, tuple[str, ...]] | None:
        """As for a session without conditions, where one that does not hold hides the row.

        The action is R when only the row itself, read anew, can tell. Where the log does not have the old row, it
        counts as seen for what must go and as unseen for what must come.
        """
        seen = seen_as(change, keys, reader)
        if seen is None:
            return None
        condition = self._by_model.get(change.model.key)
        if condition is None:
            return seen
        action, groups = seen
        if action in RELOADS:
            return seen
        old, new = rows(change)
        before = condition.of_row(change.columns, old)
        if action == "D":
            return None if before is False else seen
        after = condition.of_row(change.columns, new)
        if after is None:
            return "R", groups
        if not after:
            return None if action == "I" or before is False else ("D", groups)
        if action == "I" or before:
            return seen
        return ("R" if new is not None and UNCHANGED in new else "I"), groups


class _Events:
    """Collects events; those of small transactions share a frame."""

    def __init__(
        self, selection: Selection, router: Router, reader: Reader | None, *, is_inside: bool, exact: bool
    ) -> None:
        self.frames: list[bytes] = []
        self.ends: list[int | None] = []
        self.size_bytes = 0
        self.is_personal = False
        self.is_inside = is_inside
        self._selection = selection
        self._router = router
        self._reader = reader
        self._exact = exact
        self._parts: list[bytes] = []
        self._parts_bytes = 0
        self._end: int | None = None
        self._examined = 0

    @property
    def total_bytes(self) -> int:
        return self.size_bytes + self._parts_bytes + self._examined * EXAMINED_BYTES

    def add(self, held: Held, indices: Iterable[int], keys: frozenset[Key], limit_bytes: int) -> int | None:
        transaction = held.transaction
        models = self._selection.models
        last: bytes | None = None  # waits for what follows: the last of a transaction has the cursor
        for index in indices:
            if self.total_bytes >= limit_bytes:
                self._put(last)
                return index
            self._examined += 1
            change = transaction.changes[index]
            if models is not None and change.model.key not in models:
                continue
            if change.judged is not None:
                self.is_personal = True
            seen = self._selection.seen_as(change, keys, self._reader)
            if seen is None:
                continue
            self._put(last)
            self.is_inside = True
            last = None
            if seen[0] in ("T", "F"):
                self._put_alone(Reload.of(change, transaction.begins_after))
            elif seen[0] == "R":
                self._put_alone(Unread.of(change, seen[1], transaction))
            else:
                last = self._delta(held, index, *seen)
        if not transaction.is_last:
            self._put(last)
        elif self.is_inside:
            self._put(last, transaction.last_sync_id)
            self.is_inside = False
        return None

    def flush(self) -> None:
        if self._parts:
            frame = b"".join(self._parts)
            self._parts = []
            self._parts_bytes = 0
            self._add_frame(frame, self._end)

    def _delta(self, held: Held, index: int, action: str, groups: tuple[str, ...]) -> bytes:
        change = held.transaction.changes[index]
        if action != "I" or change.action != "U" or change.previous_row is None or change.columns is None:
            return delta_of(self._router, held, index, action, groups)
        delta = held.deltas.get((index, action))
        if delta is None:  # who begins to see a row gets all of it
            _, row = rows(change)
            data = None if row is None else change.columns.encode(row)
            delta = encode_delta(change, action, groups, held.transaction.committed_at, data)
            self._router.ring.keep(held, index, action, delta)
        return delta

    def _put(self, delta: bytes | None, end: int | None = None) -> None:
        """Adds the event of a delta, and where the transaction ends there, the cursor."""
        self._end = end
        cursor = None if end is None or not self._exact else cursor_encode(self._router.epoch, end)
        if delta is not None:
            part = event(CHANGE, delta, cursor)
        elif cursor is not None:
            part = place(cursor)
        else:
            return
        self._parts.append(part)
        self._parts_bytes += len(part)

    def _put_alone(self, frame: bytes) -> None:
        self.flush()
        self._add_frame(frame, None)

    def _add_frame(self, frame: bytes, end: int | None) -> None:
        self.frames.append(frame)
        self.ends.append(end)
        self.size_bytes += len(frame)
