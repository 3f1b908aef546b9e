"""Sync ids: the place of every change in commit order, the same on every gateway, without a lock among writers.

Whoever reads the log counts. What two readers must agree on is where to count from:

- A slot that has a *checkpoint* where it resumes, or after that, counts on from there. A position is acknowledged to a
  slot only after its checkpoint is stored, so every slot that was ever used has one.
- A *newcomer* (its slot is new) holds back what it reads and writes an anchor into the log. A running gateway that
  reads the anchor stores the checkpoint of that position; the newcomer counts forward and backward from it.
- When nobody runs, the newcomer *begins a line*: the anchor itself says from which number the count goes on. It is in
  the log, so a gateway that comes later with an old slot makes the same jump at the same place. The first line of a
  database begins at `FIRST`. A later one begins above any number that can have been given: no more than
  `MAX_IDS_PER_BYTE` are, for each byte of log.

Who runs holds a shared advisory lock; who looks for its place does so alone, under an exclusive one.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Any, Final, Self

from pgsync.stream.connect import parse_lsn
from pgsync.stream.group import Group
from pgsync.stream.transaction import RESERVED_SYNC_IDS, Transaction

FIRST: Final = 1  # so that a reader of what was there before the first change has a position other than "none"
# A transaction that changes a membership takes 64 bytes and more, and then ids are reserved; TRUNCATE of many tables
# logs 4 bytes for each, any other change far more.
MAX_IDS_PER_BYTE: Final = RESERVED_SYNC_IDS // 64 + 1
SLACK_BYTES: Final = 1 << 30  # log that may be written between the choice of a number and its anchor
HELD_BYTES: Final = 64 << 20  # what a newcomer keeps while it waits for its place
MARKS: Final = 1000  # anchors that a newcomer counts from; anybody may write some
_CHANGE_BYTES: Final = 500  # what Python needs for a change beside its bytes, about
_LINE: Final = re.compile(r"line:(\d{1,16}):[0-9a-f]{32}")


class NumberLineError(Exception):
    """Two counts disagree. Never continue: a sync id would mean two things."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All changes committed up to `lsn` are counted by `sync_id`; `snapshot` sees exactly those."""

    lsn: int
    sync_id: int
    snapshot: str | None
    schema_version: int

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """What `pgsync.checkpoint_at_v1` returns."""
        return cls(parse_lsn(data["lsn"]), data["syncId"], data["snapshot"], data["schemaVersion"])


def line_anchor(base: int, unique: str) -> str:
    """The id of the anchor that begins a number line: the next change after it gets `base + 1`."""
    return f"line:{base}:{unique}"


def base_of_line(anchor: str) -> int | None:
    """The number that this anchor begins a line with, None for any other anchor."""
    found = _LINE.fullmatch(anchor)
    return None if found is None else int(found[1])


def number_above(newest: Checkpoint | None, current_lsn: int) -> int:
    """A number that no change before the anchor to be written now can have."""
    if newest is None:
        return FIRST
    # A checkpoint beyond the log comes from another cluster, by dump and restore: then all of this log is unaccounted.
    written = current_lsn - newest.lsn if newest.lsn <= current_lsn else current_lsn
    return newest.sync_id + (written + SLACK_BYTES) * MAX_IDS_PER_BYTE


class Numberer:
    """Gives transactions their place in the line, once it is known where the line is.

    `start_lsn` is where the slot starts; `head` the last sync id before it, None for a newcomer. `own_line` is the
    anchor of the line that this newcomer itself begins.
    """

    def __init__(self, *, start_lsn: int, head: int | None) -> None:
        self.start_lsn = start_lsn
        self.own_line: str | None = None
        self._head = head
        self._held: deque[Transaction] = deque()
        self._held_bytes = 0
        # All changes that a newcomer has seen, and how many of them came before each anchor: what it does not keep
        # counts all the same.
        self._counted = 0
        self._marks: OrderedDict[int, int] = OrderedDict()
        self._is_torn = False

    @property
    def is_placed(self) -> bool:
        """Whether sync ids can be given."""
        return self._head is not None

    @property
    def is_torn(self) -> bool:
        """Whether a newcomer is inside a transaction whose beginning it has not kept: it cannot begin with the rest."""
        return self._is_torn

    @property
    def head(self) -> int:
        """The last sync id of the last whole transaction; 0 before the place is known."""
        return self._head or 0

    def line_of(self, group: Group) -> int | None:
        """The number from which this transaction begins a line for us, None for nearly all of them.

        Anybody can write an anchor, so only one that can be true counts: a newcomer's own, or a jump that is no wider
        than the log is long.
        """
        for anchor in group.anchors:
            base = base_of_line(anchor)
            if base is None:
                continue
            if self._head is None:
                if anchor == self.own_line:
                    return base
            elif 0 <= base - self._head <= (group.transaction.end_lsn + SLACK_BYTES) * MAX_IDS_PER_BYTE:
                return base
        return None

    def add(self, group: Group) -> list[Transaction]:
        """What now has its sync ids, in order: this transaction or part, or nothing while the place is unknown."""
        transaction = group.transaction
        base = self.line_of(group) if group.anchors else None
        if base is not None:
            self._head = base
            self._let_go(transaction.end_lsn)
        if self._head is not None:
            self._place(transaction)
            return [transaction]
        if any(base_of_line(anchor) is not None for anchor in group.anchors):
            self._let_go(transaction.end_lsn)  # nobody counts back over the beginning of a line
            return []
        self._counted += transaction.count
        if group.anchors:
            self._marks[transaction.end_lsn] = self._counted
            if len(self._marks) > MARKS:
                self._marks.popitem(last=False)
        self._hold(transaction)
        return []

    def _hold(self, transaction: Transaction) -> None:
        """Keeps what fits. Nobody reads from a newcomer yet: the rest is taken as from before its start."""
        if self._is_torn:
            if transaction.is_last:
                self._is_torn = False
                self.start_lsn = transaction.end_lsn
            return
        held = self._held
        held.append(transaction)
        self._held_bytes += _size_bytes(transaction)
        while self._held_bytes > HELD_BYTES and len(held) > 1:
            while True:  # no transaction stays without its beginning
                dropped = held.popleft()
                self._held_bytes -= _size_bytes(dropped)
                if dropped.is_last:
                    self.start_lsn = dropped.end_lsn
                    break
                if not held:
                    self._is_torn = True
                    return

    def _let_go(self, lsn: int) -> None:
        self._held.clear()
        self._held_bytes = 0
        self._is_torn = False
        self._marks.clear()
        self.start_lsn = lsn

    def anchor(self, lsn: int, sync_id: int) -> list[Transaction]:
        """A running gateway says: all changes up to `lsn` are counted by `sync_id`. Returns everything held back.

        `lsn` must be `start_lsn`, or the end of a transaction that was added and has an anchor or is held. Not to be
        called while `is_torn`. Raises NumberLineError when more were counted before `lsn` than there are numbers.
        """
        assert not self._is_torn, "a transaction without its beginning cannot be numbered"
        if self._head is not None:
            return []
        held = sum(transaction.count for transaction in self._held)
        after = self._counted - self._marks[lsn] if lsn in self._marks else held - self._held_until(lsn)
        head = sync_id + after - held
        if head < 0:
            raise NumberLineError(f"{sync_id} changes are counted up to a position that {sync_id - head} precede")
        self._head = head
        ready = list(self._held)
        self._held.clear()
        self._held_bytes = 0
        self._marks.clear()
        for transaction in ready:
            self._place(transaction)
        return ready

    def _held_until(self, lsn: int) -> int:
        """How many of the held changes are counted at `lsn`."""
        counted = until = 0
        for transaction in self._held:
            counted += transaction.count
            if transaction.is_last and transaction.end_lsn <= lsn:
                until = counted
        return until

    def _place(self, transaction: Transaction) -> None:
        head = self._head
        assert head is not None
        if head:
            for change in transaction.changes:
                change.sync_id += head
            transaction.commits = [(server_tx_id, head + last) for server_tx_id, last in transaction.commits]
        transaction.first_sync_id = head + transaction.before + 1
        transaction.last_sync_id = head + transaction.before + transaction.count
        if transaction.is_last:
            self._head = transaction.last_sync_id


def _size_bytes(transaction: Transaction) -> int:
    return transaction.size_bytes + _CHANGE_BYTES * (1 + len(transaction.changes))
