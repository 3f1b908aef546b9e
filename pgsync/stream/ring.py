"""The recent transactions, whole and in commit order, with an index by who may see them.

Bounded by bytes and by seconds, whichever is less. Readers hold a position in it and have no queue of their own: one
that is slower than the bound finds that its position is gone and has to bootstrap.
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import merge
from typing import Final

from pgsync.stream.transaction import Change, Membership, Transaction

DEFAULT_MAX_BYTES: Final = 256 * 1024 * 1024
DEFAULT_MAX_SECONDS: Final = 60.0

# What Python needs beside the bytes that a transaction itself reports: measured on CPython 3.11.
TRANSACTION_OVERHEAD_BYTES: Final = 1100
CHANGE_OVERHEAD_BYTES: Final = 400
DELTA_OVERHEAD_BYTES: Final = 200

# A transaction in parts that more than so many keys find wakes everyone at its end.
MAX_UNFINISHED_KEYS: Final = 10_000

# Who may see a change: (organization, sync group). The organization is None for a model that all organizations share.
Key = tuple[str | None, str]

DEFAULT_GROUP: Final = "default"
EVERYONE: Final[Key] = (None, "*")
# Before the id of a participant, in place of a group: what a membership gave it, or took. Alone: nobody knows whom.
MEMBER: Final = "@"
# What finds the models that have got more fields: whoever comes back, and nobody who follows.
ADDED: Final[Key] = (None, "+")


_UNSEEN: Final = frozenset({"T", "S", "F"})  # actions that are not found under the keys of their row


class Fallen(Exception):  # noqa: N818 - what happened to the reader, not a fault
    """The position is no longer in the ring: the reader must bootstrap."""


def keys_of_session(organization: str, groups: Iterable[str]) -> tuple[Key, ...]:
    """Every key under which a session finds changes, in an order that is the same for equal sessions.

    A row of an organization is visible through the organization's own group only: `project:p1` of one never matches
    `project:p1` of another. A row of a shared model is visible through the group alone; every session holds the group
    `default`, which is that of shared models without groups.
    """
    named = sorted({*groups, DEFAULT_GROUP})
    return (*((organization, group) for group in named), *((None, group) for group in named), EVERYONE)


def keys_of_member(organization: str, participant_id: str) -> tuple[Key, ...]:
    """The keys of changes of memberships that concern a participant; also where the log does not say whom, or where."""
    return ((organization, MEMBER + participant_id), (organization, MEMBER), ("", MEMBER))


def groups_of_change(change: Change) -> tuple[str, ...]:
    """The sync groups of a change: those of its row, or `default` for a shared model that declares none."""
    if not change.groups and change.organization is None and not change.model.groups:
        return (DEFAULT_GROUP,)
    return change.groups


def keys_of_change(change: Change) -> list[Key]:
    """The keys of the sessions that have to hear of a change: those of its groups, and of its groups before.

    A truncated table concerns everyone: no row is left that could say whom.
    """
    if change.action == "T":
        return [EVERYONE]
    if change.action == "F":
        return [ADDED]
    if change.action == "S":
        return []
    groups = groups_of_change(change)
    if change.previous_groups is not None:
        groups = tuple(dict.fromkeys((*groups, *change.previous_groups)))
    if change.membership is not None:
        groups = (*groups, *_members(change.membership))
    return [(change.organization, group) for group in groups]


def _members(membership: Membership) -> Iterable[str]:
    if not membership.is_known:
        yield MEMBER
    for named in dict.fromkeys(held[0] for held in (membership.old, membership.new) if held is not None):
        yield MEMBER + named


@dataclass(slots=True, eq=False)
class Held:
    """A transaction, or a part of one, in the ring. `ordinal` counts what this process has held, from 0.

    `runs` has, per key, the changes that it finds: start, stop, start, stop, .. as indices into `transaction.changes`.
    `deltas` keeps what `session` has encoded, by index and action.
    """

    transaction: Transaction
    ordinal: int
    appended_at: float
    runs: dict[Key, list[int]]
    end_lsn: int
    size_bytes: int
    deltas: dict[tuple[int, str], bytes] = field(default_factory=dict)


class _Entries:
    """Ordinals of what one key finds, ascending, cheap to drop from the front."""

    __slots__ = ("ordinals", "start")

    def __init__(self) -> None:
        self.ordinals: list[int] = []
        self.start = 0

    def drop_first(self) -> bool:
        """Whether nothing is left."""
        self.start += 1
        if self.start == len(self.ordinals):
            return True
        if self.start >= 64 and self.start * 2 >= len(self.ordinals):
            del self.ordinals[: self.start]
            self.start = 0
        return False

    def since(self, ordinal: int) -> Iterator[int]:
        """The entries at or after `ordinal`."""
        for at in range(bisect_left(self.ordinals, ordinal, self.start), len(self.ordinals)):
            yield self.ordinals[at]


class Ring:
    """Holds transactions from `tail` (exclusive) to `head` (inclusive), both sync ids.

    `position` and `lsn` are where the stream starts. What was appended last is held whatever its size, so the bound in
    bytes is `max_bytes` or one transaction or part. `clock` gives seconds; `listener` is called with each transaction
    that has changes, when it is in the ring.

    A transaction in parts is held from its first part on, under the keys of its changes. Its last part is found under
    all keys of the parts before it, so that whoever has seen one of them learns of the end. Readers may fall off in the
    middle of it as everywhere: then they have to bootstrap.
    """

    def __init__(
        self,
        position: int = 0,
        lsn: int = 0,
        *,
        max_bytes: int = DEFAULT_MAX_BYTES,
        max_seconds: float = DEFAULT_MAX_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.max_bytes = max_bytes
        self.max_seconds = max_seconds
        self.listener: Callable[[Held], None] | None = None
        self._clock = clock
        self._held: list[Held | None] = []
        self._start = 0  # index of the oldest in `_held`; what is before it was let go
        self._first = 0  # ordinal of the oldest
        self._index: dict[Key, _Entries] = {}
        self._bytes = 0
        self._head = self._tail = self._appended = position
        self._tail_lsn = lsn
        self._unfinished: set[Key] | None = set()
        self._torn: Transaction | None = None

    @property
    def head(self) -> int:
        """The last sync id of the last whole transaction that was appended."""
        return self._head

    @property
    def appended(self) -> int:
        """The last sync id that was appended: beyond the head while a transaction is coming in parts."""
        return self._appended

    @property
    def tail(self) -> int:
        """The sync id after which everything is held: the oldest position from which a reader can go on."""
        return self._tail

    @property
    def holds_head(self) -> bool:
        """Whether a reader can go on from the head: not while a transaction is coming in of which parts are gone."""
        return self._tail <= self._head

    @property
    def torn(self) -> Transaction | None:
        """The last part that was let go, while the rest of its transaction is held or still to come."""
        return self._torn

    @property
    def first_ordinal(self) -> int:
        """Ordinal of the oldest that is held; `next_ordinal` when there is none."""
        return self._first

    @property
    def next_ordinal(self) -> int:
        """The ordinal that the next one will get."""
        return self._first + len(self._held) - self._start

    @property
    def size_bytes(self) -> int:
        """Memory that the held transactions take, with what was encoded of them."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._held) - self._start

    def tail_lsn(self) -> int:
        """End of the last transaction that the ring no longer holds: the slot may be told so much, and no more."""
        return self._tail_lsn

    def append(self, transaction: Transaction) -> None:
        """The next transaction in commit order, or part of one. One without changes moves what may be acknowledged.

        After a lost connection the stream repeats a transaction that was coming in parts: what is here already, is not
        taken again.
        """
        if self._appended > self._head:  # inside a transaction, which alone can go on
            repeated = self._appended + 1 - transaction.first_sync_id
            if repeated > 0:
                if repeated >= len(transaction.changes) and not transaction.is_last:
                    return
                del transaction.changes[:repeated]
                transaction.before += repeated
                transaction.first_sync_id += repeated
        elif transaction.last_sync_id <= self._head:
            self.pass_over(transaction.end_lsn)
            return
        now = self._clock()
        runs = _runs(transaction.changes)
        if not transaction.is_whole:
            self._follow(transaction, runs)
        size = transaction.size_bytes + TRANSACTION_OVERHEAD_BYTES + CHANGE_OVERHEAD_BYTES * len(transaction.changes)
        held = Held(transaction, self.next_ordinal, now, runs, transaction.end_lsn, size)
        self._held.append(held)
        self._bytes += size
        self._appended = transaction.last_sync_id
        if transaction.is_last:
            self._head = transaction.last_sync_id
        for key in runs:
            entries = self._index.get(key)
            if entries is None:
                entries = self._index[key] = _Entries()
            entries.ordinals.append(held.ordinal)
        self._evict(now)
        if self.listener is not None:
            self.listener(held)

    def _follow(self, transaction: Transaction, runs: dict[Key, list[int]]) -> None:
        """Remembers who has seen something of a transaction in parts, and lets them find its end."""
        if not transaction.is_last:
            if self._unfinished is not None:
                self._unfinished.update(runs)
                if len(self._unfinished) > MAX_UNFINISHED_KEYS:
                    self._unfinished = None
            return
        for key in (EVERYONE,) if self._unfinished is None else self._unfinished:
            runs.setdefault(key, [])
        self._unfinished = set()

    def pass_over(self, lsn: int) -> None:
        """The log up to `lsn` holds no more than what was appended: it may be acknowledged with the last of that."""
        if len(self) == 0:
            self._tail_lsn = max(self._tail_lsn, lsn)
        else:
            newest = self._held[-1]
            assert newest is not None
            newest.end_lsn = max(newest.end_lsn, lsn)

    def expire(self) -> None:
        """Lets go what is too old; to be called now and then, for times when nothing is appended."""
        now = self._clock()
        self._evict(now)
        while len(self) and now - self.get(self._first).appended_at > self.max_seconds:
            self._drop_first()

    def get(self, ordinal: int) -> Held:
        """The held transaction. Raises Fallen when it was let go."""
        if ordinal < self._first:
            raise Fallen
        held = self._held[self._start + ordinal - self._first]
        assert held is not None
        return held

    def locate(self, sync_id: int) -> int:
        """Ordinal of the first transaction that has changes after `sync_id`. Raises Fallen when some were let go."""
        if sync_id < self._tail:
            raise Fallen
        index = bisect_right(self._held, sync_id, self._start, key=_last_sync_id)
        return self._first + index - self._start

    def active(self, keys: Iterable[Key], ordinal: int) -> tuple[Key, ...]:
        """Those of the keys that find something at or after `ordinal`."""
        index = self._index
        return tuple(key for key in keys if (entries := index.get(key)) is not None and entries.ordinals[-1] >= ordinal)

    def find(self, keys: Sequence[Key], ordinal: int) -> Iterator[int]:
        """Ordinals at or after `ordinal` that one of the keys finds, ascending, each once.

        Costs a bisection per key and then a step per transaction found, whatever else is held.
        """
        lists = [e.since(ordinal) for key in keys if (e := self._index.get(key)) is not None]
        if len(lists) == 1:
            yield from lists[0]
            return
        last = -1
        for found in merge(*lists):
            if found != last:
                last = found
                yield found

    def keep(self, held: Held, index: int, action: str, delta: bytes) -> None:
        """Keeps an encoded delta for the next reader, if there is room: reading must not push out what is held."""
        size = len(delta) + DELTA_OVERHEAD_BYTES
        if held.ordinal >= self._first and self._bytes + size <= self.max_bytes:
            held.deltas[index, action] = delta
            held.size_bytes += size
            self._bytes += size

    def _evict(self, now: float) -> None:
        while len(self) > 1 and (
            self._bytes > self.max_bytes or now - self.get(self._first).appended_at > self.max_seconds
        ):
            self._drop_first()

    def _drop_first(self) -> None:
        held = self.get(self._first)
        self._held[self._start] = None
        self._start += 1
        self._first += 1
        if self._start >= 64 and self._start * 2 >= len(self._held):
            del self._held[: self._start]
            self._start = 0
        self._bytes -= held.size_bytes
        self._tail = held.transaction.last_sync_id
        self._torn = None if held.transaction.is_last else held.transaction
        self._tail_lsn = max(self._tail_lsn, held.end_lsn)
        for key in held.runs:
            if self._index[key].drop_first():
                del self._index[key]


def truncates_memberships(held: Held) -> bool:
    """Whether a table of memberships was truncated: nobody knows whose there were."""
    runs = held.runs.get(EVERYONE, [])
    changes = held.transaction.changes
    return any(
        changes[index].action == "T" and changes[index].model.grants is not None
        for first, stop in zip(runs[::2], runs[1::2], strict=True)
        for index in range(first, stop)
    )


def _last_sync_id(held: Held | None) -> int:
    assert held is not None
    return held.transaction.last_sync_id


def _runs(changes: Sequence[Change]) -> dict[Key, list[int]]:
    runs: dict[Key, list[int]] = {}
    previous: Change | None = None
    current: list[list[int]] = []
    for number, change in enumerate(changes):
        if (
            previous is None
            or change.groups != previous.groups
            or change.organization != previous.organization
            or change.model is not previous.model
            or change.previous_groups is not None
            or previous.previous_groups is not None
            or change.membership is not None
            or previous.membership is not None
            or (change.action != previous.action and (change.action in _UNSEEN or previous.action in _UNSEEN))
        ):
            current = [runs.setdefault(key, []) for key in keys_of_change(change)]
        for run in current:
            if run and run[-1] == number:
                run[-1] = number + 1
            else:
                run += (number, number + 1)
        previous = change
    return runs
