"""The number line: whoever counts the same log arrives at the same sync ids."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsync.models import Model
from pgsync.stream.group import Group
from pgsync.stream.number import (
    FIRST,
    HELD_BYTES,
    MAX_IDS_PER_BYTE,
    SLACK_BYTES,
    Checkpoint,
    Numberer,
    NumberLineError,
    base_of_line,
    line_anchor,
    number_above,
)
from pgsync.stream.transaction import UNKNOWN_ORIGIN, Change, Transaction

MODEL = Model("tasks", "Task", "task", "public", "tasks", "id", None, ())
HEX = "0" * 32


def _group(
    end_lsn: int,
    count: int,
    *,
    commits: list[tuple[str, int]] | None = None,
    anchor: str | None = None,
    reserved: int = 0,
) -> Group:
    changes = [Change(i + 1, "D", MODEL, str(i), None, (), UNKNOWN_ORIGIN, None, None) for i in range(count)]
    transaction = Transaction(
        end_lsn, end_lsn, "", 1, count + reserved, changes, commits or [], None, 10, reserved=reserved
    )
    return Group(transaction, None, () if anchor is None else (anchor,))


def _parts(end_lsn: int, counts: Sequence[int]) -> list[Group]:
    """One transaction in parts of so many changes."""
    groups: list[Group] = []
    before = 0
    for i, count in enumerate(counts):
        changes = [Change(before + j + 1, "D", MODEL, "", None, (), UNKNOWN_ORIGIN, None, None) for j in range(count)]
        is_last = i == len(counts) - 1
        commits = [("x", before + count)] if is_last else []
        part = Transaction(
            end_lsn, end_lsn if is_last else 0, "", before + 1, before + count, changes, commits, None, 10
        )
        part.before, part.is_last = before, is_last
        groups.append(Group(part))
        before += count
    return groups


def _numbers(transactions: list[Transaction]) -> list[tuple[int, int, int, list[int]]]:
    return [(t.end_lsn, t.first_sync_id, t.last_sync_id, [c.sync_id for c in t.changes]) for t in transactions]


def test_counting_goes_on_from_the_checkpoint() -> None:
    numberer = Numberer(start_lsn=100, head=40)
    ready = numberer.add(_group(110, 2)) + numberer.add(_group(120, 0)) + numberer.add(_group(130, 1))
    assert _numbers(ready) == [(110, 41, 42, [41, 42]), (120, 43, 42, []), (130, 43, 43, [43])]
    assert numberer.head == 43


def test_commits_get_the_number_of_their_last_change() -> None:
    numberer = Numberer(start_lsn=0, head=40)
    (transaction,) = numberer.add(_group(1, 3, commits=[("7-0", 2), ("7-1", 2), ("7-2", 3)]))
    assert transaction.commits == [("7-0", 42), ("7-1", 42), ("7-2", 43)]


def test_reserved_numbers_count_forward_and_backward() -> None:
    numberer = Numberer(start_lsn=100, head=40)
    ready = numberer.add(_group(110, 2, reserved=100)) + numberer.add(_group(120, 1))
    assert _numbers(ready) == [(110, 41, 142, [41, 42]), (120, 143, 143, [143])]
    newcomer = Numberer(start_lsn=100, head=None)
    newcomer.add(_group(110, 2, reserved=100))
    newcomer.add(_group(120, 1))
    assert _numbers(newcomer.anchor(120, 143)) == _numbers(ready)


def test_parts_are_counted_on_and_the_head_moves_with_the_last() -> None:
    numberer = Numberer(start_lsn=0, head=40)
    first, second, last = _parts(10, [2, 3, 0])
    assert _numbers(numberer.add(first)) == [(0, 41, 42, [41, 42])]
    assert numberer.head == 40
    assert _numbers(numberer.add(second)) == [(0, 43, 45, [43, 44, 45])]
    again = _parts(10, [5, 0])  # the connection was lost
    assert _numbers(numberer.add(again[0])) == [(0, 41, 45, [41, 42, 43, 44, 45])]
    (end,) = numberer.add(last)
    assert (end.first_sync_id, end.last_sync_id, end.begins_after, end.commits) == (46, 45, 40, [("x", 45)])
    assert numberer.head == 45


def test_newcomer_drops_a_transaction_in_parts_as_a_whole_and_counts_it_all_the_same() -> None:
    numberer = Numberer(start_lsn=0, head=None)
    numberer.add(_group(10, 1, anchor="ours"))
    first, second, last = _parts(20, [3, 2, 1])
    numberer.add(first)
    second.transaction.size_bytes = HELD_BYTES
    numberer.add(second)
    assert numberer.is_torn
    numberer.add(last)
    assert (numberer.is_torn, numberer.start_lsn) == (False, 20)
    numberer.add(_group(30, 2))
    assert _numbers(numberer.anchor(10, 100)) == [(30, 107, 108, [107, 108])]


def test_newcomer_may_be_placed_in_the_middle_of_a_transaction_that_it_holds() -> None:
    numberer = Numberer(start_lsn=0, head=None)
    numberer.add(_group(10, 1))
    first, last = _parts(20, [3, 2])
    numberer.add(first)
    assert _numbers(numberer.anchor(10, 100)) == [(10, 100, 100, [100]), (0, 101, 103, [101, 102, 103])]
    assert numberer.head == 100
    assert _numbers(numberer.add(last)) == [(20, 104, 105, [104, 105])]
    assert numberer.head == 105


def test_newcomer_holds_back_until_it_knows_its_place() -> None:
    numberer = Numberer(start_lsn=100, head=None)
    for group in (_group(110, 2), _group(120, 1), _group(130, 1)):
        assert numberer.add(group) == []
    assert not numberer.is_placed
    ready = numberer.anchor(120, 50)
    assert _numbers(ready) == [(110, 48, 49, [48, 49]), (120, 50, 50, [50]), (130, 51, 51, [51])]
    assert _numbers(numberer.add(_group(140, 1))) == [(140, 52, 52, [52])]


def test_newcomer_may_be_placed_at_its_very_start() -> None:
    numberer = Numberer(start_lsn=100, head=None)
    numberer.add(_group(110, 2))
    assert _numbers(numberer.anchor(100, 7)) == [(110, 8, 9, [8, 9])]


def test_newcomer_that_waits_long_lets_the_oldest_go() -> None:
    numberer = Numberer(start_lsn=0, head=None)
    large = _group(10, 3)
    large.transaction.size_bytes = HELD_BYTES
    numberer.add(large)
    numberer.add(_group(20, 2))
    assert numberer.start_lsn == 10
    assert _numbers(numberer.anchor(20, 100)) == [(20, 99, 100, [99, 100])]


def test_line_begins_at_its_anchor_for_a_newcomer() -> None:
    numberer = Numberer(start_lsn=0, head=None)
    numberer.own_line = line_anchor(1000, HEX)
    numberer.add(_group(10, 3))
    ready = numberer.add(_group(20, 0, anchor=line_anchor(1000, HEX))) + numberer.add(_group(30, 1))
    assert _numbers(ready) == [(20, 1001, 1000, []), (30, 1001, 1001, [1001])]
    assert numberer.start_lsn == 20


def test_line_that_begins_moves_everybody_to_the_same_number() -> None:
    old = Numberer(start_lsn=0, head=40)
    new = Numberer(start_lsn=5, head=None)
    new.own_line = line_anchor(1000, HEX)
    for numberer in (old, new):
        numberer.add(_group(10, 3))
        numberer.add(_group(20, 0, anchor=line_anchor(1000, HEX)))
        numberer.add(_group(30, 1))
    assert old.head == new.head == 1001


@pytest.mark.parametrize("base", [39, 40 + (10 + SLACK_BYTES) * MAX_IDS_PER_BYTE + 1])
def test_line_that_cannot_be_true_is_none(base: int) -> None:
    numberer = Numberer(start_lsn=0, head=40)
    group = _group(10, 1, anchor=line_anchor(base, HEX))
    assert numberer.line_of(group) is None
    assert _numbers(numberer.add(group)) == [(10, 41, 41, [41])]


def test_newcomer_does_not_count_back_over_the_line_of_another() -> None:
    numberer = Numberer(start_lsn=0, head=None)
    numberer.add(_group(10, 3))
    assert numberer.add(_group(20, 0, anchor=line_anchor(1, HEX))) == []
    numberer.add(_group(30, 2))
    assert numberer.start_lsn == 20
    assert _numbers(numberer.anchor(30, 3)) == [(30, 2, 3, [2, 3])]


def test_checkpoint_with_too_few_numbers_is_refused() -> None:
    numberer = Numberer(start_lsn=0, head=None)
    numberer.add(_group(10, 3))
    with pytest.raises(NumberLineError):
        numberer.anchor(10, 2)


@given(st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=3), min_size=1, max_size=20), st.data())
def test_all_newcomers_count_as_the_one_that_was_there(counts: list[list[int]], data: st.DataObject) -> None:
    log = [(10 * (i + 1), parts) for i, parts in enumerate(counts)]
    first = Numberer(start_lsn=0, head=FIRST)
    expected = {
        t.end_lsn: t.last_sync_id for lsn, parts in log for g in _parts(lsn, parts) for t in first.add(g) if t.is_last
    }
    start = data.draw(st.integers(0, len(log) - 1))
    at = data.draw(st.integers(start, len(log) - 1))
    late = data.draw(st.integers(0, 2))
    newcomer = Numberer(start_lsn=10 * start, head=None)
    seen: dict[int, int] = {}
    for i, (lsn, parts) in enumerate(log[start:], start):
        for number, group in enumerate(_parts(lsn, parts)):
            ready = newcomer.add(group)
            if (i, number) >= ((at + late, 1) if late else (at, len(parts) - 1)):
                ready += newcomer.anchor(10 * (at + 1), expected[10 * (at + 1)])
            seen |= {t.end_lsn: t.last_sync_id for t in ready if t.is_last}
    if newcomer.is_placed:
        assert seen == {lsn: number for lsn, number in expected.items() if lsn > 10 * start}


def test_first_line_of_a_database_begins_low() -> None:
    assert number_above(None, 123_456_789) == FIRST


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9))
def test_later_line_begins_above_all_that_can_have_been_given(sync_id: int, lsn: int, written: int) -> None:
    newest = Checkpoint(lsn, sync_id, None, 1)
    base = number_above(newest, lsn + written)
    assert base > sync_id + written * MAX_IDS_PER_BYTE
    assert base < 2**53


def test_line_after_a_restore_from_another_cluster_begins_above_too() -> None:
    newest = Checkpoint(10**12, 500, None, 1)
    assert number_above(newest, 10**9) > 500 + 10**9 * MAX_IDS_PER_BYTE


def test_anchor_of_a_line_carries_its_number() -> None:
    assert base_of_line(line_anchor(12, HEX)) == 12
    for other in (HEX, "line:x:" + HEX, "line:1:short", "", "line:-1:" + HEX):
        assert base_of_line(other) is None
