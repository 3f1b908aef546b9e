"""The timeline against a simulated database: random interleavings of all that lies between BEGIN and a guarded write.

The simulation knows the truth by the time at which each thing happened and never asks a snapshot; the timeline gets
only what the write-ahead log would carry. Wrong timelines at the end of the file show that it can tell.
"""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgsync.stream.timeline import NOTHING, Evidence, Snapshot, Timeline

ROWS = 6


@dataclass(eq=False)
class Writer:
    """A transaction of the simulated database. `visible_at` and `read_time` are ticks: no two things share one."""

    long: bool
    stuck: bool = False  # waits for a synchronous standby
    xid: int = 0
    highest_xid: int = 0
    rows: list[int] = field(default_factory=list)
    message: str | None = None
    flushed: bool = False
    visible_at: int | None = None
    first_id: int = 0
    last_id: int = 0

    @property
    def has_rows(self) -> bool:
        return bool(self.rows)


@dataclass
class Premise:
    """What a client knows of a row: the changes visible at `read_time`, or else those streamed up to `read_at`."""

    row: int
    read_time: int | None
    snapshot: Snapshot | None
    last_writer: Writer | None
    due: int
    read_at: int | None = None
    evidence: Evidence | None = None
    exact: bool = False


def visible_in_snapshot(xid: int, text: str) -> bool:
    """pg_visible_in_snapshot, after its documentation."""
    xmin, xmax, xip = text.split(":")
    if xid < int(xmin):
        return True
    return xid < int(xmax) and str(xid) not in xip.split(",")


class Simulation:
    """One database, one stream that lags, one timeline, and clients."""

    def __init__(self, seed: int, timeline_class: type[Timeline], *, window: int, restarts: bool) -> None:
        self.random = random.Random(seed)
        self.timeline_class = timeline_class
        self.window = window
        self.restarts = restarts
        self.next_xid = self.random.choice([3, 900, 2**33])
        self.latest_completed = self.next_xid - 1
        self.time = self.ticks = 0
        self.open: list[Writer] = []
        self.limbo: list[Writer] = []  # in the log, not yet visible
        self.locks: dict[int, Writer] = {}
        self.history: dict[int, list[Writer]] = {row: [] for row in range(ROWS)}
        self.log: list[Writer] = []
        self.next_id = 1
        self.passed_over: list[Writer] = []  # what was in the log when the line began
        self.streamed = 0
        self.start = 0  # index into the log from which this timeline streamed
        self.start_position = 0
        self.checkpoints: list[tuple[int, int, str]] = []
        self.premises: list[Premise] = []
        self.judged = self.stale = self.fresh_refused = self.behind = 0
        self.limbo_probability = self.random.choice([0.1, 0.5, 0.9])
        self.stuck_probability = self.random.choice([0, 0, 0.1, 0.3])
        self.release_probability = self.random.choice([0.05, 0.005])
        self.lag_probability = self.random.choice([0.1, 0.5, 0.8])
        self.quiet_probability = self.random.choice([0, 0, 0.8])
        self.restart_probability = self.random.choice([0.004, 0.004, 0.03])
        self.spacing = self.random.choice([1, 1, 3, 16])
        self.timeline = timeline_class()

    def tick(self) -> int:
        self.ticks += 1
        return self.ticks

    # what Postgres does

    def snapshot(self, own: Writer | None = None) -> str:
        xmax = self.latest_completed + 1
        running = [w.xid for w in (*self.open, *self.limbo) if w.xid]
        xmin = min([x for x in running if x < xmax], default=xmax)
        xip = sorted(x for x in running if x < xmax and (own is None or x != own.xid))
        return f"{xmin}:{xmax}:{','.join(map(str, xip))}"

    def assign(self, writer: Writer) -> None:
        if not writer.xid:
            writer.xid = writer.highest_xid = self.next_xid
            self.next_xid += 1
        elif self.random.random() < 0.2:  # a savepoint
            writer.highest_xid = self.next_xid
            self.next_xid += 1

    def begin(self) -> None:
        if len(self.open) < 6:
            writer = Writer(long=self.random.random() < 0.06)
            self.open.append(writer)
            if self.random.random() < 0.5:
                writer.message = self.snapshot(writer)

    def write(self, writer: Writer, row: int) -> None:
        if self.locks.get(row, writer) is writer:
            self.locks[row] = writer
            self.assign(writer)
            writer.rows.append(row)
            if self.random.random() < 0.4:
                writer.message = self.snapshot(writer)

    def heartbeat(self) -> None:
        writer = Writer(long=False)
        writer.message = self.snapshot(writer)
        self.open.append(writer)
        self.assign(writer)
        self.flush(writer)

    def flush(self, writer: Writer) -> None:
        self.open.remove(writer)
        if writer.xid:
            writer.stuck = self.random.random() < self.stuck_probability
            self.limbo.append(writer)
            writer.first_id = self.next_id
            self.next_id += len(writer.rows)
            writer.last_id = self.next_id - 1
            self.log.append(writer)
            writer.flushed = True

    def finish(self, writer: Writer) -> None:
        self.latest_completed = max(self.latest_completed, writer.highest_xid)
        for row in [row for row, holder in self.locks.items() if holder is writer]:
            del self.locks[row]

    def become_visible(self, writer: Writer) -> None:
        self.limbo.remove(writer)
        self.finish(writer)
        writer.visible_at = self.tick()
        for row in dict.fromkeys(writer.rows):
            self.history[row].append(writer)

    def become_visible_some(self) -> None:
        while self.limbo and self.random.random() > self.limbo_probability:
            writer = self.random.choice(self.limbo)
            if not writer.stuck or self.random.random() < self.release_probability:
                self.become_visible(writer)

    def roll_back(self, writer: Writer) -> None:
        self.open.remove(writer)
        if writer.xid:
            self.finish(writer)

    # what the gateway does

    def make_timeline(self, position: int, **options: Any) -> Timeline:
        return self.timeline_class(
            position, window_transactions=self.window, spacing_transactions=self.spacing, **options
        )

    def begin_line(self) -> None:
        """The slot is made while others are at work; what is in the log by now is never streamed."""
        for writer in self.log:
            writer.first_id = writer.last_id = 0
        self.passed_over = [*self.log]
        self.log.clear()
        self.next_id = 1
        self.next_xid += 1
        self.timeline = self.make_timeline(0, horizon=self.next_xid - 1)

    def expect(self) -> None:
        """The gateway waits long enough, and asks nobody whether it was."""
        if all(writer.visible_at is not None for writer in self.passed_over):
            self.timeline.expect(Snapshot.parse(self.snapshot()))

    def stream(self) -> None:
        if self.streamed < len(self.log):
            writer = self.log[self.streamed]
            self.streamed += 1
            snapshot = Snapshot.parse(writer.message) if writer.message is not None else None
            self.timeline.stream(writer.xid, writer.last_id, snapshot)
            assert self.timeline.head == writer.last_id

    def checkpoint(self) -> None:
        head = self.timeline.head
        snapshot = self.timeline.snapshot_at(head)
        if snapshot is not None:
            self.checkpoints.append((self.streamed, head, str(snapshot)))

    def restart(self) -> None:
        if self.checkpoints:
            at = self.random.randrange(max(0, len(self.checkpoints) - 2), len(self.checkpoints))
            self.streamed, position, text = self.checkpoints[at]
            self.start, self.start_position = self.streamed, position
            self.timeline = self.make_timeline(position, sample=Snapshot.parse(text))
            self.timeline.load((p, Snapshot.parse(s)) for _, p, s in self.checkpoints)

    # what clients do

    def read(self) -> None:
        row = self.random.randrange(ROWS)
        due = self.time + self.random.choice([1, 2, 5, 20, 100])
        if self.random.random() < 0.8:
            last = self.history[row][-1] if self.history[row] else None
            self.premises.append(Premise(row, self.tick(), Snapshot.parse(self.snapshot()), last, due))
        else:  # one that follows the stream
            read_at = self.random.randint(max(0, self.timeline.head - 8), self.timeline.head)
            self.premises.append(Premise(row, None, None, None, due, read_at))

    def stamp(self, premise: Premise) -> None:
        assert premise.snapshot is not None
        assert premise.read_time is not None
        premise.read_at = self.timeline.position_at(premise.snapshot)
        expected = self.start_position
        for writer in self.log[self.start : self.streamed]:
            if writer.has_rows:
                if writer.visible_at is None or writer.visible_at > premise.read_time:
                    break
                expected = writer.last_id
        assert premise.read_at <= expected, "a stamp beyond what the reader saw"
        if self.window >= 1000 and premise.read_at:
            assert premise.read_at == expected, "a stamp that could have been higher"
        if premise.last_writer is not None and not self.timeline.unstreamed(premise.snapshot, premise.last_writer.xid):
            assert premise.last_writer.last_id <= self.timeline.head, "said to be streamed"
        if self.timeline.streamed_all(premise.snapshot):
            for writer in self.log[self.streamed :]:
                assert writer.visible_at is None or writer.visible_at > premise.read_time, "said to be streamed"

    def judge(self, premise: Premise) -> None:
        """What the guarded write's SQL does, having locked the row; against the truth."""
        read_at, evidence = premise.read_at, premise.evidence
        assert read_at is not None
        assert evidence is not None
        writers = self.history[premise.row]
        if premise.read_time is not None:
            stale = any(w.visible_at is not None and w.visible_at > premise.read_time for w in writers)
        else:
            stale = any(self.last_id_of(w, premise.row) > read_at for w in writers if w.last_id)
        given = evidence.to_json()
        unseen = [
            w for w in writers if not visible_in_snapshot(w.xid, given["snapshot"]) and w.xid not in given["seen"]
        ]
        self.judged += 1
        self.stale += stale
        if stale:
            assert unseen, "a stale write accepted"
        elif unseen:
            self.fresh_refused += 1
            self.behind += writers[-1].last_id <= self.timeline.head
            if premise.exact:
                for writer in unseen:  # those from before the line were never streamed
                    assert not writer.last_id or writer.last_id > read_at, "a fresh write refused for a covered change"

    @staticmethod
    def last_id_of(writer: Writer, row: int) -> int:
        return writer.first_id + max(i for i, r in enumerate(writer.rows) if r == row)

    def clients(self) -> None:
        for premise in [p for p in self.premises if p.due <= self.time]:
            if premise.read_at is None:
                self.stamp(premise)
                premise.due = self.time + self.random.choice([0, 0, 3, 30])
            elif premise.evidence is None:
                premise.evidence = self.timeline.evidence(premise.read_at)
                known = max(self.start_position, 1) <= premise.read_at <= self.timeline.head
                premise.exact = known and self.window >= 1000
                premise.due = self.time + self.random.choice([0, 0, 3])
            elif premise.row not in self.locks:
                self.premises.remove(premise)
                self.judge(premise)
                if self.random.random() < 0.3:
                    writer = Writer(long=False, message=self.snapshot())
                    self.open.append(writer)
                    self.write(writer, premise.row)
                    self.flush(writer)

    def step(self) -> None:
        self.time += 1
        dice = self.random.random()
        if dice < 0.34 and self.random.random() < self.quiet_probability:
            self.heartbeat()
        elif dice < 0.12:
            self.begin()
        elif dice < 0.34 and self.open:
            self.write(self.random.choice(self.open), self.random.randrange(ROWS))
        elif dice < 0.50 and self.open:
            writer = self.random.choice(self.open)
            if not writer.long or self.random.random() < 0.05:
                self.flush(writer)
        elif dice < 0.53 and self.open:
            writer = self.random.choice(self.open)
            if not writer.long or self.random.random() < 0.05:
                self.roll_back(writer)
        elif dice < 0.56:
            self.heartbeat()
        elif dice < 0.76:
            self.read()
        elif dice < 0.78:
            self.checkpoint()
        elif dice < 0.78 + self.restart_probability:
            if self.restarts:
                self.restart()
        elif dice > 0.98:
            self.expect()
        self.become_visible_some()
        while self.streamed < len(self.log) and self.random.random() > self.lag_probability:
            self.stream()
        self.clients()

    def run(self, steps: int) -> Simulation:
        for _ in range(self.random.choice([0, 30])):
            self.time += 1
            if self.random.random() < 0.5:
                self.begin()
            elif self.open:
                self.write(self.random.choice(self.open), self.random.randrange(ROWS))
            if self.open and self.random.random() < 0.4:
                self.flush(self.random.choice(self.open))
            self.become_visible_some()
        self.begin_line()
        for _ in range(steps):
            self.step()
        return self


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32))
def test_no_stale_write_passes_and_no_covered_premise_is_refused(seed: int) -> None:
    Simulation(seed, Timeline, window=100_000, restarts=False).run(1000)


@settings(max_examples=120, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([4, 16, 64]))
def test_no_stale_write_passes_when_the_window_is_short_and_the_gateway_restarts(seed: int, window: int) -> None:
    Simulation(seed, Timeline, window=window, restarts=True).run(1000)


@settings(max_examples=120, deadline=None)
@given(st.integers(0, 2**32))
def test_restart_from_a_checkpoint_keeps_premises_exact(seed: int) -> None:
    Simulation(seed, Timeline, window=100_000, restarts=True).run(1000)


def test_simulation_reaches_the_cases_it_is_for() -> None:
    runs = [Simulation(seed, Timeline, window=100_000, restarts=False).run(700) for seed in range(12)]
    assert sum(run.judged for run in runs) > 900
    assert sum(run.stale for run in runs) > 200
    assert sum(run.judged - run.stale - run.fresh_refused for run in runs) > 100
    assert sum(run.fresh_refused for run in runs) > 10
    assert any(run.behind for run in runs)


# Timelines that are wrong in one way each


class StampIsHead(Timeline):
    """Forgets that a transaction is in the log before others see it."""

    def position_at(self, snapshot: Snapshot) -> int:
        return self.head


class StampStopsAtTheFirstVisible(Timeline):
    """Looks up the unfinished ones, then walks back from the head only as far as the first visible one."""

    def position_at(self, snapshot: Snapshot) -> int:
        found = [self._ordinals[xid] - self._base for xid in snapshot.xip if xid in self._ordinals]
        end = len(self._xids)
        while end and not snapshot.sees(self._xids[end - 1]):
            end -= 1
        first = min([end, *found])
        return self._ends[first - 1] if first else self._base_position


class StampOnlyOfUnfinished(Timeline):
    """Looks at the unfinished ones in the snapshot and not at those that came after it."""

    def position_at(self, snapshot: Snapshot) -> int:
        found = [self._ordinals[xid] - self._base for xid in snapshot.xip if xid in self._ordinals]
        return self.head if not found else self._ends[min(found) - 1] if min(found) else self._base_position


class SampleAfter(Timeline):
    """Takes the first sample after the position."""

    def evidence(self, read_at: int) -> Evidence:
        found = bisect_left(self._sample_positions, read_at + 1)
        if found == len(self._samples):
            return super().evidence(read_at)
        return Evidence(self._samples[found].snapshot)


class SeenUpToHead(Timeline):
    """Calls everything streamed by now seen."""

    def evidence(self, read_at: int) -> Evidence:
        return super().evidence(self.head)


class SeenRoundsUp(Timeline):
    """Calls the whole transaction seen whose first changes were."""

    def evidence(self, read_at: int) -> Evidence:
        index = bisect_left(self._ends, read_at)
        return super().evidence(self._ends[index] if index < len(self._ends) else read_at)


class NothingSeen(Timeline):
    """Leaves out what was streamed beside the sample."""

    def evidence(self, read_at: int) -> Evidence:
        return Evidence(super().evidence(read_at).snapshot)


class NothingLate(Timeline):
    """Forgets what was streamed before the sample and not visible in it."""

    def evidence(self, read_at: int) -> Evidence:
        found = bisect_right(self._sample_positions, read_at) - 1
        if found < 0:
            return super().evidence(read_at)
        sample = self._samples[found]
        return Evidence(sample.snapshot, tuple(self._xids[sample.ordinal : bisect_right(self._ends, read_at)]))


class OwnIdStays(Timeline):
    """Believes a snapshot about the transaction that took it."""

    def sample(self, position: int, snapshot: Snapshot, xid: int) -> None:
        super().sample(position, snapshot, 2**60)


class CheckpointIsTheSample(Timeline):
    """Stores the sample as it is, without what was streamed beside it."""

    def snapshot_at(self, position: int) -> Snapshot | None:
        return self.evidence(position).snapshot


class NoFloor(Timeline):
    """Answers for snapshots that are older than what it remembers."""

    def position_at(self, snapshot: Snapshot) -> int:
        self._floor = replace(self._floor, snapshot=NOTHING, late=())
        return super().position_at(snapshot)


@pytest.mark.parametrize(
    ("wrong", "window"),
    [
        (StampIsHead, 100_000),
        (StampStopsAtTheFirstVisible, 100_000),
        (StampOnlyOfUnfinished, 100_000),
        (SampleAfter, 100_000),
        (SeenUpToHead, 100_000),
        (SeenRoundsUp, 100_000),
        (NothingSeen, 100_000),
        (NothingLate, 100_000),
        (OwnIdStays, 100_000),
        (CheckpointIsTheSample, 100_000),
        (NoFloor, 4),
    ],
)
def test_simulation_notices_a_wrong_timeline(wrong: type[Timeline], window: int) -> None:
    restarts = wrong in (CheckpointIsTheSample, NoFloor)

    def try_it() -> None:
        for seed in range(200):
            Simulation(seed, wrong, window=window, restarts=restarts).run(300)

    with pytest.raises(AssertionError, match=r"stamp|stale|fresh"):
        try_it()
