"""Snapshots and the timeline, case by case; the interleavings are in test_timeline_simulation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsync.stream.timeline import NOTHING, Evidence, Snapshot, Timeline


def snap(text: str) -> Snapshot:
    return Snapshot.parse(text)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    xmin = draw(st.integers(3, 12))
    xmax = draw(st.integers(xmin, 20))
    xip = draw(st.frozensets(st.integers(xmin, xmax - 1))) if xmax > xmin else frozenset[int]()
    return Snapshot(xmin, xmax, xip)


def visible(snapshot: Snapshot) -> set[int]:
    return {xid for xid in range(1, 40) if snapshot.sees(xid)}


@pytest.mark.parametrize("text", ["5:5:", "5:9:5,7", "8589934592:8589934600:8589934599"])
def test_snapshot_keeps_the_text_of_postgres(text: str) -> None:
    assert str(snap(text)) == text


@pytest.mark.parametrize("text", ["", "5", "5:5", "5:5:5", "9:5:", "0:5:", "a:5:", "5:9:x", "5:9:4", "5:9:,", "5:9::"])
def test_text_that_is_no_snapshot_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a pg_snapshot"):
        snap(text)


@given(snapshots(), snapshots(), st.frozensets(st.integers(1, 25)), st.integers(1, 25))
def test_operations_on_snapshots_mean_sets_of_transactions(
    a: Snapshot, b: Snapshot, xids: frozenset[int], xid: int
) -> None:
    if a.covers(b):
        assert visible(b) <= visible(a)
    assert visible(a.excluding(xid)) == visible(a) - {xid}
    assert visible(a.including(xids)) == visible(a) | xids
    for made in (a.excluding(xid), a.including(xids)):
        assert snap(str(made)) == made


def test_reader_sees_everything_streamed_when_nothing_is_unfinished() -> None:
    timeline = Timeline()
    timeline.stream(10, 1)
    timeline.stream(11, 3)
    assert timeline.position_at(snap("12:12:")) == 3


def test_stamp_stops_before_a_transaction_that_is_in_the_log_and_not_yet_visible() -> None:
    timeline = Timeline()
    timeline.stream(10, 1)
    timeline.stream(11, 3)
    timeline.stream(12, 4)
    assert timeline.position_at(snap("11:13:11")) == 1


def test_stamp_stops_before_the_later_id_that_committed_first() -> None:
    """11 wrote its commit record before 10, but 10 became visible first: the snapshot ends before 11, unnamed."""
    timeline = Timeline()
    timeline.stream(9, 1)
    timeline.stream(11, 2)
    timeline.stream(10, 3)
    assert timeline.position_at(snap("11:11:")) == 1


def test_transaction_without_changes_does_not_hold_a_stamp_back() -> None:
    timeline = Timeline()
    timeline.stream(10, 1)
    timeline.stream(11, 1)
    timeline.stream(12, 2)
    assert timeline.position_at(snap("11:13:11")) == 2


def test_evidence_is_the_sample_before_and_what_was_streamed_beside_it() -> None:
    timeline = Timeline(spacing_transactions=1)
    timeline.stream(10, 1)
    timeline.stream(11, 2)
    timeline.stream(13, 5, snap("11:12:11"))
    timeline.stream(12, 6)
    assert timeline.evidence(2) == Evidence(snap("11:12:11"), (11,))
    assert timeline.evidence(4) == Evidence(snap("11:12:11"), (11,)), "inside a transaction: without it"
    assert timeline.evidence(5) == Evidence(snap("11:12:11"), (11, 13))
    assert timeline.evidence(99) == Evidence(snap("11:12:11"), (11, 13, 12))
    assert timeline.evidence(99).to_json() == {"snapshot": "11:12:11", "seen": [11, 13, 12]}


def test_transaction_that_takes_a_snapshot_of_itself_is_not_seen_by_it() -> None:
    """Postgres leaves a backend's own id out of its snapshots: in 753:756:753, taken by 754, 754 looks finished."""
    timeline = Timeline()
    timeline.stream(752, 1)
    timeline.stream(754, 2, snap("753:756:753"))
    assert not timeline.evidence(1).covers(754)
    assert timeline.evidence(2).covers(754)


def test_transaction_open_for_hours_is_one_entry() -> None:
    timeline = Timeline()
    for number in range(1, 50_001):
        xid = 100 + number
        timeline.stream(xid, number, Snapshot(50, xid, frozenset([50])))
    assert len(timeline.evidence(timeline.head).seen) <= 32
    assert timeline.position_at(Snapshot(50, 60_000, frozenset([50]))) == 50_000
    timeline.stream(50, 50_001, Snapshot(49, 60, frozenset([49])))
    assert len(timeline.evidence(timeline.head).seen) <= 33, "its own old snapshot replaces nothing"
    assert timeline.evidence(timeline.head).covers(50)
    assert not timeline.evidence(50_000).covers(50)
    assert timeline.position_at(Snapshot(50, 60_000, frozenset([50]))) == 50_000


def test_zero_covers_nothing() -> None:
    timeline = Timeline()
    timeline.stream(10, 1, snap("9:9:"))
    assert timeline.evidence(0) == Evidence(NOTHING)
    assert not timeline.evidence(0).covers(3)


def test_new_line_says_nothing_to_readers_who_miss_what_was_under_way_at_its_start() -> None:
    timeline = Timeline(horizon=20)
    timeline.stream(25, 1, snap("21:21:"))
    assert timeline.position_at(snap("19:26:19")) == 0
    assert timeline.position_at(snap("19:19:")) == 0
    assert timeline.position_at(snap("26:26:")) == 1


def test_line_waits_for_what_was_under_way_at_its_start_only_while_that_may_have_been_passed_over() -> None:
    timeline = Timeline(5, horizon=20)
    timeline.stream(21, 6, snap("12:21:12"))
    reader = snap("12:22:12")
    assert timeline.find(reader) is None, "12 may be in the log already, before the line, and not be visible yet"
    timeline.expect(snap("12:22:12"))
    assert timeline.find(reader) == 6
    assert timeline.find(snap("11:22:11")) is None, "who has looked before"
    timeline.stream(12, 7)
    assert timeline.find(reader) == 6
    assert timeline.find(snap("22:22:")) == 7


def test_checkpoint_says_nothing_while_something_may_have_been_passed_over() -> None:
    line = Timeline(horizon=20, spacing_transactions=1)
    line.stream(21, 1, snap("12:16:12"))
    assert line.snapshot_at(1) is None, "16 to 19 may be in the log already, before the line"
    line.stream(22, 1, snap("12:21:12,19"))
    assert line.snapshot_at(1) is None, "12 and 19 may be, too: who begins here would wait for them"
    line.expect(snap("12:23:12"))
    assert line.snapshot_at(1) is None, "19 is not open any more, and was not yet visible"
    line.stream(23, 1, snap("12:22:12"))
    assert str(line.snapshot_at(1)) == "12:22:12"


def test_what_a_starved_line_has_forgotten_is_not_taken_for_open() -> None:
    line = Timeline(horizon=20, window_transactions=4)
    for position in range(1, 30):
        line.stream(position + (20 if position != 3 else 0), position)
    line.expect(snap("3:60:3"))
    assert line.find(snap("3:60:3")) is None, "3 was streamed long ago and is not visible yet"


def test_restart_knows_what_was_streamed_and_not_yet_visible() -> None:
    before = Timeline(spacing_transactions=1)
    before.stream(10, 1, snap("9:9:"))
    before.stream(11, 2)
    before.stream(14, 3, snap("10:14:10,12"))
    stored = before.snapshot_at(3)
    assert stored is not None
    assert [xid for xid in range(9, 17) if stored.sees(xid)] == [9, 10, 11, 13, 14]

    after = Timeline(3, sample=snap(str(stored)))
    assert after.position_at(snap("10:15:10,12")) == 0, "10 was streamed before the start; this reader does not see it"
    assert after.position_at(snap("12:15:12")) == 3
    after.stream(12, 4)
    assert after.position_at(snap("12:15:12")) == 3
    assert after.evidence(3).covers(10)
    assert not after.evidence(3).covers(12)


def test_checkpoint_has_to_wait_for_a_sample() -> None:
    timeline = Timeline()
    timeline.stream(10, 1)
    assert timeline.snapshot_at(1) is None
    timeline.stream(11, 1, snap("11:11:"))
    assert str(timeline.snapshot_at(1)) == "11:11:"
    timeline.stream(10_000_000, 2)
    assert timeline.snapshot_at(2) is None, "ids between sample and position are not listed by the million"


def test_premise_from_before_the_start_uses_the_nearest_older_stored_sample() -> None:
    timeline = Timeline(100, sample=snap("50:50:"))
    timeline.load([(80, snap("40:40:")), (60, snap("30:30:")), (120, snap("60:60:"))])
    assert timeline.evidence(90) == Evidence(snap("40:40:"))
    assert timeline.evidence(60) == Evidence(snap("30:30:"))
    assert timeline.evidence(59) == Evidence(NOTHING)
    assert timeline.evidence(130) == Evidence(snap("50:50:"))


def test_window_is_bounded_and_older_snapshots_get_no_stamp() -> None:
    timeline = Timeline(window_transactions=100, spacing_transactions=4)
    for number in range(1, 5001):
        xid = 10 + number
        timeline.stream(xid, number, Snapshot.before(xid))
    assert len(timeline._xids) <= 130
    assert len(timeline._ordinals) == len(timeline._xids)
    assert len(timeline._samples) <= 40
    assert timeline.position_at(Snapshot.before(5000)) == 4989
    assert timeline.position_at(Snapshot.before(1000)) == 0
    old = timeline.evidence(2500)
    assert not old.covers(10 + 2501)
    assert old.covers(10 + 2000), "samples are kept for longer than transactions"


def test_stream_without_samples_is_bounded_and_asks_for_one() -> None:
    timeline = Timeline(window_transactions=100)
    timeline.stream(10, 1, Snapshot.before(10))
    for number in range(2, 5001):
        timeline.stream(10 + number, number)
    assert timeline.transactions_since_sample > 4000
    assert len(timeline._xids) <= 500
    assert timeline.position_at(Snapshot(4000, 6000, frozenset([4000]))) == 0
    assert timeline.position_at(Snapshot.before(6000)) == 5000
    timeline.stream(6000, 5000, Snapshot.before(6000))
    assert timeline.transactions_since_sample == 0
    assert timeline.evidence(5000) == Evidence(Snapshot.before(6000))


def test_row_whose_last_writer_is_not_in_the_stream_yet_is_worth_waiting_for() -> None:
    timeline = Timeline()
    timeline.stream(10, 1, snap("10:10:"))
    reader = snap("12:12:")
    assert timeline.unstreamed(reader, 11)
    assert not timeline.unstreamed(reader, 10)
    assert not timeline.unstreamed(reader, 9), "seen by a sample, so it was streamed"
    assert not timeline.unstreamed(reader, 12), "not what the reader saw"
    assert not timeline.streamed_all(reader)
    timeline.stream(11, 2)
    assert not timeline.unstreamed(reader, 11)
    timeline.stream(12, 2, snap("12:12:"))
    assert timeline.streamed_all(reader)


def test_transaction_streamed_again_after_a_reconnect_changes_nothing() -> None:
    timeline = Timeline()
    timeline.stream(10, 2, snap("10:10:"))
    timeline.stream(11, 3)
    timeline.stream(10, 2, snap("10:10:"))
    assert timeline.head == 3
    assert timeline.evidence(3) == Evidence(snap("10:10:"), (10, 11))
