"""What counts for a reader whose groups change while it is connected, by its memberships."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import merge

from pgsync.stream.ring import Held, Key
from pgsync.stream.timeline import Snapshot
from pgsync.stream.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Turn:
    """Where a session waits until it is told the groups that memberships grant from here on.

    `transaction` is the one that changed memberships, before which it waits; None where it begins somewhere and knows
    nothing yet. `xid` is a transaction that has to be visible to whoever looks. `is_exact`: all that was given so far
    is of the memberships before that transaction, so rows that come and go by it can be told (`pass_turn`).
    """

    transaction: Transaction | None
    xid: int | None
    is_exact: bool = False


@dataclass(slots=True)
class Passage:
    """From the groups before a change of memberships to those after: what counts for transactions that `snapshot` sees.

    The rows `told` have been told as the snapshot has them. Of the others, the groups that were kept show what they
    show; of those that were lost, only what is deleted counts, which the client may have. `own` are the keys for all
    other transactions; `until` is the ordinal from which on there are only such, when that is known.
    """

    snapshot: Snapshot
    own: tuple[Key, ...]
    kept: tuple[Key, ...]
    lost: tuple[Key, ...]
    told: frozenset[tuple[str, str]]
    until: int | None = None

    def indices(self, held: Held, start: int) -> tuple[Iterable[int], tuple[Key, ...]]:
        """What counts of a transaction, and the keys by which it does."""
        if not self.snapshot.sees(held.transaction.xid):
            return indices_of(held, self.own, start), self.own
        changes = held.transaction.changes
        keys = (*self.kept, *self.lost)
        told = self.told
        return (
            (i for i in indices_of(held, keys, start) if (changes[i].model.key, changes[i].row_id) not in told),
            keys,
        )

    def is_unclear(self, held: Held) -> bool:
        """Whether a row was in a lost group after the change and nobody knows what became of it."""
        if not self.snapshot.sees(held.transaction.xid):
            return False
        changes = held.transaction.changes
        return any(
            changes[i].action != "D" and (changes[i].model.key, changes[i].row_id) not in self.told
            for i in indices_of(held, self.lost, 0)
        )


def indices_of(held: Held, keys: Sequence[Key], start: int) -> Iterable[int]:
    """The changes from `start` on that one of the keys finds, ascending, each once."""
    found = [runs for key in keys if (runs := held.runs.get(key)) is not None]
    if len(found) == 1:
        pairs: Iterable[tuple[int, int]] = zip(found[0][::2], found[0][1::2], strict=True)
    else:
        pairs = merge(*(zip(runs[::2], runs[1::2], strict=True) for runs in found))
    at = start
    for first, stop in pairs:
        if stop > at:
            yield from range(max(first, at), stop)
            at = stop
