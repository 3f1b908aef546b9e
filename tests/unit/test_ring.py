"""The ring: what it holds, what it lets go, what it costs."""

from __future__ import annotations

import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsync.models import Field, Kind, Model
from pgsync.stream.ring import EVERYONE, Fallen, Ring, keys_of_change, keys_of_session
from pgsync.stream.transaction import UNKNOWN_ORIGIN, Change, Transaction

FIELDS = (Field(name="id", column="id", kind=Kind.TEXT, sql_type="text"),)
TASK = Model("tasks", "Task", "task", "public", "tasks", "id", "organization_id", FIELDS)
COUNTRY = Model("countries", "Country", "country", "public", "countries", "id", None, FIELDS)


def change(
    sync_id: int, organization: str | None = "a", groups: tuple[str, ...] = ("org:a",), **other: object
) -> Change:
    made = Change(sync_id, "I", TASK, f"r{sync_id}", organization, groups, UNKNOWN_ORIGIN, None, lambda: b"{}")
    for name, value in other.items():
        setattr(made, name, value)
    return made


def transaction(first: int, changes: list[Change], lsn: int = 0, size_bytes: int = 100) -> Transaction:
    return Transaction(
        100 + first, lsn, "2026-01-02T03:04:05.000Z", first, first + len(changes) - 1, changes, [], None, size_bytes
    )


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_organization_separates_equal_groups() -> None:
    of_a = set(keys_of_session("a", ["project:p1"]))
    of_b = set(keys_of_session("b", ["project:p1"]))
    row_of_a = keys_of_change(change(1, "a", ("project:p1",)))
    assert of_a.intersection(row_of_a)
    assert not of_b.intersection(row_of_a)


def test_shared_models_reach_every_organization_by_group() -> None:
    with_group = keys_of_change(change(1, None, ("project:p1",), model=COUNTRY))
    without = keys_of_change(change(1, None, (), model=COUNTRY))
    for organization in ("a", "b"):
        assert set(keys_of_session(organization, ["project:p1"])).intersection(with_group)
        assert not set(keys_of_session(organization, ["project:p2"])).intersection(with_group)
        assert set(keys_of_session(organization, [])).intersection(without)


def test_row_whose_groups_are_all_null_reaches_nobody() -> None:
    assert keys_of_change(change(1, "a", ())) == []


def test_truncated_table_concerns_everyone() -> None:
    assert keys_of_change(change(1, None, (), action="T")) == [EVERYONE]
    assert EVERYONE in keys_of_session("a", [])


def test_slot_may_be_told_only_what_is_no_longer_held() -> None:
    clock = Clock()
    ring = Ring(0, 50, max_seconds=10, clock=clock)
    assert ring.tail_lsn() == 50
    ring.append(transaction(1, [], lsn=60))
    assert ring.tail_lsn() == 60, "nothing is held, and nothing was changed"
    ring.append(transaction(1, [change(1)], lsn=70))
    ring.append(transaction(2, [], lsn=80))
    clock.now = 5
    ring.append(transaction(2, [change(2)], lsn=90))
    ring.pass_over(95)
    assert ring.tail_lsn() == 60
    clock.now = 11
    ring.expire()
    assert (ring.tail, ring.tail_lsn()) == (1, 80)
    clock.now = 16
    ring.expire()
    assert (ring.tail, ring.tail_lsn(), len(ring)) == (2, 95, 0)


def test_reader_behind_the_tail_has_fallen() -> None:
    clock = Clock()
    ring = Ring(max_seconds=10, clock=clock)
    for sync_id in (1, 2, 3):
        clock.now += 6
        ring.append(transaction(sync_id, [change(sync_id)]))
    assert ring.tail == 1
    assert ring.locate(1) == ring.first_ordinal
    with pytest.raises(Fallen):
        ring.locate(0)
    with pytest.raises(Fallen):
        ring.get(ring.first_ordinal - 1)
    assert ring.locate(3) == ring.next_ordinal


def test_newest_transaction_is_held_however_large() -> None:
    ring = Ring(max_bytes=10_000)
    ring.append(transaction(1, [change(1)]))
    ring.append(transaction(2, [change(2)], size_bytes=10**9))
    assert (len(ring), ring.tail) == (1, 1)
    ring.append(transaction(3, [change(3)]))
    assert (len(ring), ring.tail) == (1, 2)
    assert ring.size_bytes < 10_000


def test_transaction_streamed_again_is_not_held_twice() -> None:
    ring = Ring()
    ring.append(transaction(1, [change(1)]))
    ring.append(transaction(1, [change(1)]))
    assert len(ring) == 1


@given(st.integers(0, 2**32))
def test_readers_find_the_transactions_of_their_groups_and_no_others(seed: int) -> None:
    rng = random.Random(seed)
    groups = [f"project:p{n}" for n in range(5)]
    clock = Clock()
    ring = Ring(max_seconds=20, clock=clock)
    expected: list[tuple[int, set[str]]] = []
    sync_id = 1
    for ordinal in range(rng.randrange(200)):
        clock.now += rng.random()
        changes = [
            change(sync_id + n, "a", tuple(rng.sample(groups, rng.randrange(3)))) for n in range(rng.randrange(1, 4))
        ]
        ring.append(transaction(sync_id, changes))
        expected.append((ordinal, {group for one in changes for group in one.groups}))
        sync_id += len(changes)
    mine = set(rng.sample(groups, rng.randrange(4)))
    start = rng.randrange(ring.first_ordinal, ring.next_ordinal + 1)
    found = list(ring.find(keys_of_session("a", mine), start))
    assert found == [ordinal for ordinal, of in expected if ordinal >= start and of & mine]
    active = ring.active(keys_of_session("a", mine), start)
    assert {group for _, group in active} == {g for g in mine if any(o >= start and g in of for o, of in expected)}


def test_memory_is_what_the_ring_says() -> None:
    """Within a factor of 1.5 of what Python allocates, for many small transactions and for one large one."""
    for count, size in ((3000, 1), (3, 3000)):
        tracemalloc.start()
        try:
            ring = Ring()
            before = tracemalloc.get_traced_memory()[0]
            sync_id = 1
            for _ in range(count):
                rows = [b"x" * 200 + str(n).encode() for n in range(size)]
                changes = [change(sync_id + n, encode=lambda row=row: row) for n, row in enumerate(rows)]
                ring.append(transaction(sync_id, changes, size_bytes=240 * size))
                del changes, rows
                sync_id += size
            taken = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        assert taken / 1.5 < ring.size_bytes < taken * 1.5, (count, size, taken, ring.size_bytes)
