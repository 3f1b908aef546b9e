"""Translates between the two orders of a database: sync ids (commit order) and snapshots (visibility).

Clients say how far they had read as a sync id, the database judges with transaction ids; real snapshots that the stream
carries are the fixed points between them. Pure: no clock, no I/O.

What holds, and why it is enough:

- *Sample.* A message of transaction X carries `pg_current_snapshot()`. Whatever that snapshot saw has its commit record
  before X's, so it was streamed before X. The snapshot of a backend leaves out the backend's own transaction id, so X
  itself may look finished in it: `sample` puts X back among the unfinished ones.
- *Evidence* for a position r is a sample at or before r and, beside it, the transactions streamed up to r that the
  sample does not see. Both were streamed up to r. So a change that evidence covers is one that was streamed up to r.
- *Stamp.* `position_at` gives a reader the highest r such that everything streamed up to r is visible in its
  snapshot. So evidence for a stamp covers only changes that the reader saw, and no stale write passes.
- Neither visibility order nor transaction id order is commit order: of two transactions, the one whose commit record
  comes second may have the lower id and be visible first. A reader who sees only the second gets a stamp before the
  first; nothing but a later read can do better with one number.
- Whatever is not known (before the start, beyond the window) is answered so that a fresh premise may be refused and a
  stale one never accepted.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final, Self

DEFAULT_WINDOW_TRANSACTIONS: Final = 131_072
DEFAULT_SPACING_TRANSACTIONS: Final = 16
# A sample that misses more than this of what its predecessor saw was taken long ago: the predecessor serves better.
_MAX_STEPS_BACK: Final = 64
_MAX_HISTORY_SAMPLES: Final = 1024
# Ids that `snapshot_at` is willing to list one by one.
_MAX_GAP: Final = 10_000
# How far the window may grow when the stream carries no sample at all.
_STARVED_FACTOR: Final = 4


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A `pg_snapshot`: transactions below `xmin` are finished, those from `xmax` on and those in `xip` are not.

    All ids are 64-bit and top-level; as in Postgres, the id of a subtransaction cannot be asked about.
    """

    xmin: int
    xmax: int
    xip: frozenset[int] = frozenset()

    @classmethod
    def parse(cls, text: str) -> Self:
        """The snapshot that Postgres prints as `xmin:xmax:xip,xip`. Raises ValueError for anything else."""
        parts = text.split(":")
        if len(parts) != 3:
            raise ValueError(f"not a pg_snapshot: {text!r}")
        try:
            xmin, xmax = int(parts[0]), int(parts[1])
            xip = frozenset(map(int, parts[2].split(","))) if parts[2] else frozenset()
        except ValueError as exc:
            raise ValueError(f"not a pg_snapshot: {text!r}") from exc
        if not 0 < xmin <= xmax or any(not xmin <= xid < xmax for xid in xip):
            raise ValueError(f"not a pg_snapshot: {text!r}")
        return cls(xmin, xmax, xip)

    @classmethod
    def before(cls, xid: int) -> Self:
        """The snapshot in which exactly the transactions below `xid` are finished."""
        return cls(xid, xid)

    def __str__(self) -> str:
        return f"{self.xmin}:{self.xmax}:{','.join(map(str, sorted(self.xip)))}"

    def sees(self, xid: int) -> bool:
        """`pg_visible_in_snapshot(xid, self)`; only says something about a transaction that committed."""
        return xid < self.xmin or (xid < self.xmax and xid not in self.xip)

    def covers(self, other: Snapshot) -> bool:
        """Whether this snapshot sees everything that `other` sees."""
        return other.xmax <= self.xmax and not any(other.sees(xid) for xid in self.xip)

    def excluding(self, xid: int) -> Snapshot:
        """The same snapshot with `xid` unfinished."""
        if not self.sees(xid):
            return self
        return Snapshot(min(self.xmin, xid), self.xmax, self.xip | {xid})

    def including(self, xids: Collection[int]) -> Snapshot:
        """The snapshot that sees what this one sees, and `xids`.

        Ids between `xmax` and the highest of them become unfinished one by one, so `xids` should be recent.
        """
        if not xids:
            return self
        xmax = max(self.xmax, max(xids) + 1)
        xip = self.xip.union(range(self.xmax, xmax)).difference(xids)
        return Snapshot(min(xip, default=xmax), xmax, xip)


NOTHING: Final = Snapshot.before(1)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a reader at some position had surely seen.

    A change is unseen iff `not snapshot.sees(xid) and xid not in seen`.
    """

    snapshot: Snapshot
    seen: tuple[int, ...] = ()

    def covers(self, xid: int) -> bool:
        """Whether changes of this transaction count as seen; the same test as in SQL."""
        return self.snapshot.sees(xid) or xid in self.seen

    def to_json(self) -> dict[str, Any]:
        """The form that `pgsync.commit_v1` takes, per readAt."""
        return {"snapshot": str(self.snapshot), "seen": list(self.seen)}


@dataclass(frozen=True, slots=True)
class _Sample:
    """`late`: what was streamed up to `position` and `snapshot` does not see. `ordinal`: how many were streamed."""

    position: int
    snapshot: Snapshot
    late: tuple[int, ...]
    ordinal: int


class Timeline:
    """The recent past of one stream: which transaction ended at which sync id, and samples between them.

    `position` is the sync id from which the stream starts. What happened before it is known from one of two sources:
    `sample`, the snapshot that `snapshot_at(position)` gave when the checkpoint was stored; or, for a number line that
    begins, `horizon`, a transaction id that was assigned after the start of the stream (`pg_current_xact_id()`). It has
    to be in the log on disk, as all ids are that a sample has seen: else a crash may give it again to others.

    `window_transactions` bounds what is kept, `spacing_transactions` is how many transactions may pass from one kept
    sample to the next (more: less memory, longer `seen`). Positions are sync ids; 0 is before all of them.
    """

    def __init__(
        self,
        position: int = 0,
        *,
        sample: Snapshot | None = None,
        horizon: int = 0,
        window_transactions: int = DEFAULT_WINDOW_TRANSACTIONS,
        spacing_transactions: int = DEFAULT_SPACING_TRANSACTIONS,
    ) -> None:
        self._window = window_transactions
        self._spacing = spacing_transactions
        # Transaction number `base + i` of this process has `xids[i]` and ends at sync id `ends[i]`.
        self._base = 0
        self._base_position = position
        self._head = position
        self._xids: list[int] = []
        self._ends: list[int] = []
        self._ordinals: dict[int, int] = {}
        # Transactions with an id above all before them: the first id >= x is found by bisection, whatever the order.
        self._record_xids: list[int] = []
        self._record_ordinals: list[int] = []
        start = _Sample(position, sample if sample is not None else NOTHING, (), 0)
        self._samples = [start]
        self._sample_positions = [position]
        self._history: list[_Sample] = []
        # Everything streamed that has left the window is visible in, or late for, `floor`; or it is below `horizon`.
        self._floor = start
        self._horizon = horizon
        self._open: frozenset[int] = frozenset()  # below the horizon, and yet to commit
        self._is_starved = False  # so the horizon is above transactions that were streamed
        self._newest = start.snapshot

    @property
    def head(self) -> int:
        """The last sync id streamed."""
        return self._head

    @property
    def transactions_since_sample(self) -> int:
        """How much of the stream no kept sample covers; have a heartbeat written when it grows (say, over 256)."""
        return self._base + len(self._xids) - self._samples[-1].ordinal

    def expect(self, snapshot: Snapshot) -> None:
        """Takes what is unfinished in `snapshot` for transactions that are still open, so that their changes will come.

        To be called once, when everything that had committed before the stream began must have become visible. Until
        then, who does not see a transaction from before the horizon may be missing changes that never come.
        """
        if not self._is_starved:
            self._open = frozenset(xid for xid in snapshot.xip if xid < self._horizon)

    def load(self, samples: Iterable[tuple[int, Snapshot]]) -> None:
        """Older stored samples (position, snapshot), in any order; for premises from before this process started."""
        older = [_Sample(p, s, (), 0) for p, s in samples if p <= self._base_position]
        self._history = sorted([*self._history, *older], key=lambda sample: sample.position)[-_MAX_HISTORY_SAMPLES:]

    def stream(self, xid: int, last_sync_id: int, snapshot: Snapshot | None = None) -> None:
        """The next committed transaction, with the snapshot that a message in it carried.

        One without changes (`last_sync_id` is the head) gives only its sample: whether it is visible matters to nobody.
        """
        if snapshot is not None:
            self.sample(self._head, snapshot, xid)
        if last_sync_id <= self._head:
            return
        ordinal = self._base + len(self._xids)
        self._xids.append(xid)
        self._ends.append(last_sync_id)
        self._ordinals[xid] = ordinal
        if not self._record_xids or xid > self._record_xids[-1]:
            self._record_xids.append(xid)
            self._record_ordinals.append(ordinal)
        self._head = last_sync_id
        if len(self._xids) > self._window + self._window // 4:
            self._trim()

    def sample(self, position: int, snapshot: Snapshot, xid: int) -> None:
        """A snapshot carried by a message of `xid`; `position` is the last sync id *before* that transaction."""
        snapshot = snapshot.excluding(xid)
        if (snapshot.xmax, -len(snapshot.xip)) > (self._newest.xmax, -len(self._newest.xip)):
            self._newest = snapshot
        ordinal = self._base + bisect_right(self._ends, position)
        last = self._samples[-1]
        if last.snapshot is not NOTHING and 0 < ordinal - last.ordinal < self._spacing:
            return
        if snapshot.xmax < last.snapshot.xmax or ordinal < last.ordinal:
            return
        if ordinal == last.ordinal and snapshot == last.snapshot:
            return
        # Seen by the sample before and not by this one: streamed but not yet visible (or rolled back: no harm).
        late = [x for x in snapshot.xip if last.snapshot.sees(x)]
        if len(late) > _MAX_STEPS_BACK:
            return
        start = max(last.ordinal - self._base, 0)
        late += [x for x in last.late if not snapshot.sees(x)]
        late += [x for x in self._xids[start : ordinal - self._base] if not snapshot.sees(x)]
        kept = _Sample(position, snapshot, tuple(dict.fromkeys(late)), ordinal)
        if last.ordinal == ordinal:
            self._samples[-1] = kept
            self._sample_positions[-1] = position
        else:
            self._samples.append(kept)
            self._sample_positions.append(position)

    def evidence(self, read_at: int) -> Evidence:
        """What a reader at `read_at` had seen. Beyond the head it means the head; before the window it covers less.

        A `read_at` inside a transaction does not cover that transaction; 0 covers nothing, not even what was there
        when the number line began, because it is what `position_at` says when it cannot tell.
        """
        if read_at <= 0:
            return Evidence(NOTHING)
        found = bisect_right(self._sample_positions, read_at) - 1
        if found >= 0:
            sample = self._samples[found]
            between = self._xids[max(sample.ordinal - self._base, 0) : bisect_right(self._ends, read_at)]
            return Evidence(sample.snapshot, (*sample.late, *between))
        found = bisect_right(self._history, read_at, key=lambda sample: sample.position) - 1
        if found >= 0:
            return Evidence(self._history[found].snapshot, self._history[found].late)
        return Evidence(NOTHING)

    def snapshot_at(self, position: int) -> Snapshot | None:
        """One snapshot that sees exactly what was streamed up to `position`; to be stored with a checkpoint.

        None when the stream has carried no sample near that position: a heartbeat has to come first. And while there
        may be transactions that had committed before the stream began and are not visible yet: who begins with the
        snapshot would wait for their changes. Meant for positions within the window; the checkpoint of the head is the
        usual one.
        """
        evidence = self.evidence(position)
        if evidence.snapshot is NOTHING or max(evidence.seen, default=0) > evidence.snapshot.xmax + _MAX_GAP:
            return None
        snapshot = evidence.snapshot.including(evidence.seen)
        if snapshot.xmax < self._horizon or any(self._may_be_passed_over(xid) for xid in snapshot.xip):
            return None
        return snapshot

    def position_at(self, snapshot: Snapshot) -> int:
        """The stamp of a read: the highest sync id such that everything streamed up to it is visible in `snapshot`.

        0 when the snapshot is older than the window. Costs one look-up per unfinished transaction, not a scan.
        """
        return self.find(snapshot) or 0

    def find(self, snapshot: Snapshot) -> int | None:
        """As `position_at`, but None when the snapshot is older than the window."""
        floor = self._floor
        if snapshot.xmax < self._horizon:
            return None
        if not (snapshot.covers(floor.snapshot) and all(snapshot.sees(xid) for xid in floor.late)):
            return None
        first = self._base + len(self._xids)
        for xid in snapshot.xip:
            ordinal = self._ordinals.get(xid)
            if ordinal is not None:
                first = min(first, ordinal)
            elif self._may_be_passed_over(xid):
                return None
        record = bisect_left(self._record_xids, snapshot.xmax)
        if record < len(self._record_xids):
            first = min(first, self._record_ordinals[record])
        return self._ends[first - self._base - 1] if first > self._base else self._base_position

    def _may_be_passed_over(self, xid: int) -> bool:
        """Whether an unfinished transaction that was not streamed may have committed before the stream began."""
        return xid < self._horizon and xid not in self._open

    def unstreamed(self, snapshot: Snapshot, xid: int) -> bool:
        """Whether `xid`, the last writer of a row that was read with `snapshot`, is still missing from the stream.

        Then the stamp does not cover the row yet, and a short wait spares the reader a refusal. Streamed is not always
        covered: when an earlier commit is still invisible to the read, `evidence(stamp).covers(xid)` is False until the
        row is read again.
        """
        return (
            snapshot.sees(xid)
            and xid not in self._ordinals
            and not self._newest.sees(xid)
            and xid not in self._samples[-1].late
        )

    def last_sync_id_of(self, xid: int) -> int | None:
        """The last sync id of a transaction in the window; None when it is not there (any more, or yet)."""
        ordinal = self._ordinals.get(xid)
        return None if ordinal is None else self._ends[ordinal - self._base]

    def streamed_all(self, snapshot: Snapshot) -> bool:
        """Whether everything that `snapshot` sees is known to have been streamed."""
        return self._newest.covers(snapshot)

    def _trim(self) -> None:
        wanted = self._base + len(self._xids) - self._window
        index = bisect_right(self._samples, wanted, key=lambda sample: sample.ordinal) - 1
        if index >= 0 and self._samples[index].ordinal > self._base:
            floor = self._samples[index]
            self._floor = floor
            self._history.append(floor)
            if len(self._history) > _MAX_HISTORY_SAMPLES:
                del self._history[::2]
            del self._samples[:index], self._sample_positions[:index]
            self._forget(floor.ordinal)
        elif len(self._xids) > self._window * _STARVED_FACTOR:
            # No sample for a long time. What is forgotten now may be invisible to a reader, and nobody could tell.
            self._horizon = max(self._horizon, max(self._xids[: wanted - self._base]) + 1)
            self._open = frozenset()
            self._is_starved = True
            self._forget(wanted)

    def _forget(self, ordinal: int) -> None:
        count = ordinal - self._base
        self._base_position = self._ends[count - 1]
        for xid in self._xids[:count]:
            self._ordinals.pop(xid, None)
        del self._xids[:count], self._ends[:count]
        self._base = ordinal
        stale = bisect_left(self._record_ordinals, ordinal)
        del self._record_xids[:stale], self._record_ordinals[:stale]
