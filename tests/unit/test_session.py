"""A session's frames, one case each; random mixtures are in test_session_delivery."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsync.expression import Reader, compile_rule
from pgsync.expression.parse import parse_rule
from pgsync.models import Field, Group, Kind, Model
from pgsync.stream.cursor import cursor_decode, cursor_encode
from pgsync.stream.frames import FRAME_BYTES, PART_FRAME_BYTES, UNSEEN_BYTES
from pgsync.stream.ring import Fallen, Ring
from pgsync.stream.route import Router
from pgsync.stream.session import Session
from pgsync.stream.timeline import Snapshot, Timeline
from pgsync.stream.transaction import UNKNOWN_ORIGIN, Change, Judged, Origin, Transaction

FIELDS = (Field(name="id", column="id", kind=Kind.TEXT, sql_type="text"),)
TASK = Model("tasks", "Task", "task", "public", "tasks", "id", "organization_id", FIELDS)
COUNTRY = Model("countries", "Country", "country", "public", "countries", "id", None, FIELDS)
DOCUMENT = Model(
    "documents",
    "Document",
    "document",
    "public",
    "documents",
    "id",
    "organization_id",
    FIELDS,
    (Group("project", "project_id"),),
)
TITLE = Field(name="title", column="title", kind=Kind.TEXT, sql_type="text")
COMMITTED_AT = "2026-01-02T03:04:05.000Z"
TIME_LIMIT_SECONDS = 5


class Stream:
    """A ring, a timeline and a router that transactions are put into."""

    def __init__(self, **options: Any) -> None:
        self.ring = Ring(**options)
        self.timeline = Timeline(spacing_transactions=1)
        self.router = Router(self.ring, self.timeline, epoch="e1")
        self.before = 0

    def open(self, *groups: str) -> Session:
        return self.router.open("a", groups or ("org:a",))

    def commit(self, *changes: Change, xid: int = 0, snapshot: str | None = None) -> None:
        """A transaction, or the last part of one."""
        transaction = self._make(changes, xid, snapshot)
        self.timeline.stream(transaction.xid, transaction.last_sync_id, Snapshot.parse(snapshot) if snapshot else None)
        self.ring.append(transaction)
        self.before = 0

    def part(self, *changes: Change, xid: int = 0) -> None:
        """A part of a transaction, which `commit` ends."""
        self.ring.append(replace(self._make(changes, xid, None), is_last=False, end_lsn=0))
        self.before += len(changes)

    def again(self) -> None:
        """The stream repeats the transaction that has not ended."""
        self.before = 0

    def _make(self, changes: Sequence[Change], xid: int, snapshot: str | None) -> Transaction:
        first = self.ring.head + self.before + 1
        for number, change in enumerate(changes):
            change.sync_id = first + number
        last = first + len(changes) - 1
        xid = xid or 101 + self.ring.head
        return Transaction(
            xid, last, COMMITTED_AT, first, last, list(changes), snapshot=snapshot, size_bytes=100, before=self.before
        )


def row(action: str = "I", data: bytes = b'{"id":"r1"}', **other: Any) -> Change:
    change = Change(
        0, action, TASK, "r1", "a", ("org:a",), UNKNOWN_ORIGIN, None, None if action == "D" else lambda: data
    )
    for name, value in other.items():
        setattr(change, name, value)
    return change


def messages(frames: list[bytes]) -> list[dict[str, Any]]:
    return [json.loads(frame) for frame in frames]


def ids(frames: list[bytes]) -> list[list[int]]:
    payloads = [message["payload"] for message in messages(frames)]
    return [[delta["id"] for delta in payload.get("deltas", [payload])] for payload in payloads]


def test_delta_has_the_fields_of_the_contract() -> None:
    stream = Stream()
    session = stream.open()
    origin = Origin(actor=("agent", 'a"1'), on_behalf_of=("user", "u1"), capability_id="cap_1", server_tx_id="1-0")
    stream.commit(
        row("U", b'{"id":"r1","title":"\\u00e9"}', origin=origin, transaction_id="op1", groups=("org:a", "project:p1"))
    )
    assert messages(session.take()) == [
        {
            "type": "delta",
            "payload": {
                "id": 1,
                "actionType": "U",
                "modelName": "Task",
                "modelId": "r1",
                "data": {"id": "r1", "title": "é"},
                "syncGroups": ["org:a", "project:p1"],
                "transactionId": "op1",
                "createdAt": COMMITTED_AT,
                "actor": {"kind": "agent", "id": 'a"1'},
                "onBehalfOf": {"kind": "user", "id": "u1"},
                "capabilityId": "cap_1",
                "confirmationState": "auto",
            },
        }
    ]


def test_delete_has_no_data_and_absent_ids_are_left_out() -> None:
    stream = Stream()
    session = stream.open()
    stream.commit(row("D"))
    (message,) = messages(session.take())
    assert message["payload"]["data"] is None
    assert "transactionId" not in message["payload"]
    assert message["payload"]["actor"] is None


def test_several_changes_travel_in_one_frame_and_transactions_stay_whole() -> None:
    stream = Stream()
    session = stream.open()
    stream.commit(row(), row(), row())
    stream.commit(row())
    assert ids(session.take()) == [[1, 2, 3, 4]]
    stream.commit(row(), row())
    stream.commit(row())
    assert ids(session.take(limit_bytes=1)) == [[5, 6]]
    assert session.position == 6
    assert ids(session.take(limit_bytes=1)) == [[7]]
    assert session.take() == []


def test_frame_takes_no_part_of_a_transaction_that_fits_into_the_next() -> None:
    stream = Stream()
    session = stream.open()
    big = b'"%b"' % (b"x" * (FRAME_BYTES // 3))
    for _ in range(3):
        stream.commit(row(data=big), row(data=big))
    assert ids(session.take(10**9)) == [[1, 2], [3, 4], [5, 6]]


def test_transaction_larger_than_a_frame_has_frames_of_its_own_and_bounded_batches() -> None:
    stream = Stream()
    session = stream.open()
    big = b'"%b"' % (b"x" * (FRAME_BYTES // 3))
    stream.commit(row())
    stream.commit(*(row(data=big) for _ in range(7)))
    stream.commit(row())
    batches = []
    while session.is_behind:
        batches.append(ids(session.take(FRAME_BYTES)))
    assert [frame for batch in batches for frame in batch] == [[1], [2, 3], [4, 5], [6, 7], [8], [], [9]]
    assert len(batches) > 2


def end_of(sync_id: int) -> dict[str, Any]:
    """What follows the last frame of a transaction that came in several."""
    payload = {"deltas": [], "currentSyncId": sync_id, "cursor": cursor_encode("e1", sync_id)}
    return {"type": "sync_response", "payload": payload}


def test_end_of_a_transaction_in_several_frames_is_told_and_nobody_is_sent_back_into_it() -> None:
    stream = Stream()
    session = stream.open()
    big = b'"%b"' % (b"x" * (FRAME_BYTES - 1000))
    stream.commit(row())
    stream.commit(row(data=big), row(data=big), row(data=big))
    given = []
    while session.is_behind:
        for frame, end in zip(session.take(1), session.ends, strict=True):
            given.append((ids([frame])[0], end))
        assert session.position in (1, 4)
        assert session.is_inside == (session.position == 1 and len(given) > 1)
    assert given == [([1], 1), ([2], None), ([3], None), ([4], None), ([], 4)]
    session.start_after(1)
    assert messages(session.take(10**9))[-1] == end_of(4)


def test_transaction_in_parts_travels_before_its_end_is_there() -> None:
    stream = Stream()
    session, other = stream.open(), stream.open("org:b")
    stream.commit(row())
    stream.part(row(), row())
    assert ids(session.take()) == [[1], [2, 3]]
    assert (session.ends, session.position, stream.ring.head, stream.ring.appended) == ([1, None], 1, 1, 3)
    assert session.is_inside
    stream.part(row(organization="b", groups=("org:b",)))
    assert session.take() == []
    late = stream.open()
    assert ids(late.take()) == [[2, 3]], "who comes in the middle gets all of it"
    stream.commit(row(organization="b", groups=("org:b",)))
    for each in (session, late):
        assert messages(each.take()) == [end_of(5)]
        assert (each.ends, each.position, each.is_inside) == ([5], 5, False)
    assert other.take() == []


def test_transaction_in_parts_is_taken_little_by_little() -> None:
    stream = Stream()
    session = stream.open()
    data = b'"%b"' % (b"x" * (PART_FRAME_BYTES // 8))
    for _ in range(3):
        stream.part(*(row(data=data) for _ in range(20)))
    stream.commit()
    given: list[int] = []
    while session.is_behind:
        frames = session.take()
        assert sum(map(len, frames)) < 2 * PART_FRAME_BYTES
        given += [sync_id for frame in ids(frames) for sync_id in frame]
    assert given == list(range(1, 61))
    assert (session.position, session.is_inside) == (60, False)


def test_reader_who_sees_nothing_of_a_transaction_in_parts_looks_at_it_little_by_little() -> None:
    stream = Stream()
    session = stream.router.open("a", ["org:a"], reader=Reader("u1", "user", "a", frozenset({"org:a"})))
    looked_at: list[int] = []

    def judged(number: int) -> Change:
        def matches(_: object, __: object) -> bool:
            looked_at.append(number)
            return number == 2999

        return row(judged=Judged(matches, {}, None))

    for first in range(0, 3000, 1000):
        stream.part(*(judged(first + number) for number in range(1000)))
    stream.commit()
    given: list[bytes] = []
    while session.is_behind:
        before = len(looked_at)
        given += session.take()
        assert len(looked_at) - before <= PART_FRAME_BYTES // UNSEEN_BYTES + 1
    assert looked_at == list(range(3000))
    assert ids(given) == [[3000], []]
    assert session.position == 3000


def test_transaction_in_parts_that_is_repeated_goes_on_where_it_was() -> None:
    stream = Stream()
    session = stream.open()
    stream.part(row(), row())
    assert ids(session.take()) == [[1, 2]]
    stream.again()
    stream.part(row())
    stream.part(row(), row())
    assert ids(session.take()) == [[3]]
    stream.again()
    stream.commit(row(), row(), row())
    assert messages(session.take()) == [end_of(3)]
    stream.commit(row())
    assert ids(session.take()) == [[4]]


def test_snapshot_that_saw_a_transaction_goes_on_in_the_middle_of_it() -> None:
    stream = Stream(max_bytes=6000)
    stream.commit(row(), xid=100, snapshot="100:100:")
    for _ in range(20):
        stream.part(row(), xid=105)
    assert stream.ring.tail > stream.ring.head == 1
    saw, had_not = stream.open(), stream.open()
    saw.start_from_snapshot(Snapshot.parse("106:106:"))
    with pytest.raises(Fallen):
        had_not.start_from_snapshot(Snapshot.parse("105:106:105"))
    with pytest.raises(Fallen):
        had_not.start_after(1)
    assert saw.take() == []
    stream.commit(row(), xid=105, snapshot="106:106:")
    stream.commit(row(), xid=106, snapshot="106:106:")
    assert ids(saw.take()) == [[23]]
    had_not.start_after(22)
    assert ids(had_not.take()) == [[23]]


def test_large_transaction_can_be_resumed_inside() -> None:
    stream = Stream()
    session = stream.open()
    stream.commit(row(), row(), row())
    session.start_after(2)
    assert ids(session.take()) == [[3], []]
    assert session.ends == [None, 3]


def test_delta_is_encoded_once_for_all() -> None:
    encoded: list[int] = []

    def encode() -> bytes:
        encoded.append(1)
        return b"{}"

    stream = Stream()
    sessions = [stream.open("org:a"), stream.open("org:a", "user:u1"), stream.open("project:p1")]
    stream.commit(row(encode=encode, groups=("org:a", "project:p1")))
    stream.commit(row(groups=("user:u1",)))
    assert [ids(session.take()) for session in sessions] == [[[1]], [[1, 2]], [[1]]]
    assert encoded == [1]


def test_row_that_changes_groups_leaves_one_session_and_enters_another() -> None:
    stream = Stream()
    left, entered, both = stream.open("project:p1"), stream.open("project:p2"), stream.open("project:p1", "project:p2")
    stream.commit(row("U", model=DOCUMENT, groups=("project:p2",), previous_groups=("project:p1",)))
    seen = [
        (delta["actionType"], delta["data"], delta["syncGroups"])
        for session in (left, entered, both)
        for delta in [messages(session.take())[0]["payload"]]
    ]
    data = {"id": "r1"}
    assert seen == [("D", None, ["project:p1"]), ("I", data, ["project:p2"]), ("U", data, ["project:p2"])]


def test_shared_model_without_groups_belongs_to_default() -> None:
    stream = Stream()
    session = stream.open("user:u1")
    stream.commit(row(model=COUNTRY, organization=None, groups=()))
    assert messages(session.take())[0]["payload"]["syncGroups"] == ["default"]


def test_truncate_asks_for_a_bootstrap_in_its_place() -> None:
    stream = Stream()
    session = stream.open()
    stream.commit(row(), row("T", row_id="", organization=None, groups=(), encode=None), row())
    first, second, third = messages(session.take())
    assert (first["payload"]["id"], third["payload"]["id"]) == (1, 3)
    assert second["type"] == "sync_response"
    assert second["payload"] == {
        "deltas": [],
        "currentSyncId": 0,
        "cursor": cursor_encode("e1", 0),
        "requiresBootstrap": True,
    }, "whoever goes back there is told again"
    assert session.ends == [None, None, 3]


def test_who_comes_back_from_before_rows_had_more_has_to_bootstrap_and_nobody_else() -> None:
    stream = Stream()
    before, others = stream.open(), stream.router.open("a", ["org:a"], readable=frozenset({"document"}))
    newer = stream.router.open("a", ["org:a"], is_newer=True)
    stream.commit(row(), row("F", row_id="", organization=None, groups=(), encode=None), row())
    for session in (before, others):
        assert "requiresBootstrap" not in str(session.take())
        session.start_after(0)
    after = stream.open()
    for position in (0, 1):
        with pytest.raises(Fallen):
            after.start_after(position)
    after.start_after(2)
    stream.router.open("a", ["org:a"], readable=frozenset({"document"})).start_after(0)
    one, two, three = messages(newer.take())
    assert (one["payload"]["id"], three["payload"]["id"]) == (1, 3)
    assert two["payload"]["requiresBootstrap"], "the stream had yet to reach the version that it was opened under"


def test_session_begins_at_the_head_and_resumes_where_it_was() -> None:
    stream = Stream()
    stream.commit(row())
    session = stream.open()
    assert (session.position, session.take()) == (1, [])
    stream.commit(row())
    stream.commit(row())
    session.take()
    cursor = session.cursor()
    stream.router.close(session)
    stream.commit(row())
    position = cursor_decode(cursor, "e1")
    assert position == 3
    returned = stream.open()
    returned.start_after(position)
    assert ids(returned.take()) == [[4]]


def test_position_counts_what_does_not_concern_the_session() -> None:
    stream = Stream()
    session = stream.open("project:p1")
    for _ in range(3):
        stream.commit(row())
    assert (session.position, session.is_behind) == (3, False)
    stream.commit(row(groups=("project:p1",)))
    assert session.position == 3
    session.take()
    assert session.position == 4


def test_session_from_a_gateway_that_was_ahead_gets_nothing_twice() -> None:
    stream = Stream()
    stream.commit(row())
    session = stream.open()
    session.start_after(3)
    for _ in range(3):
        stream.commit(row())
    assert ids(session.take()) == [[4]]


def test_snapshot_continues_without_gap_or_repetition() -> None:
    """11 was in the log before 12 but is not visible yet; 14 is visible but not streamed yet."""
    stream = Stream()
    session = stream.open()
    for xid in (10, 11, 12):
        stream.commit(row(), xid=xid)
    session.start_from_snapshot(Snapshot.parse("11:15:11,13"))
    assert ids(session.take()) == [[2]]
    for xid in (14, 13, 15):
        stream.commit(row(), xid=xid)
    assert ids(session.take()) == [[5, 6]]
    stream.commit(row(), xid=17, snapshot="16:16:")
    assert ids(session.take()) == [[7]]
    stream.commit(row(), xid=18)
    assert ids(session.take()) == [[8]]
    assert session._snapshot is None, "compared with the snapshot for no longer than needed"


def test_snapshot_older_than_the_window_is_refused() -> None:
    stream = Stream(max_bytes=4000)
    for xid in range(10, 30):
        stream.commit(row(), xid=xid)
    session = stream.open()
    with pytest.raises(Fallen):
        session.start_from_snapshot(Snapshot.parse("12:12:"))


def test_new_line_refuses_snapshots_that_miss_what_it_never_streams() -> None:
    router = Router(Ring(), Timeline(horizon=20), epoch="e1")
    with pytest.raises(Fallen):
        router.open("a", []).start_from_snapshot(Snapshot.parse("15:19:15"))


async def test_slow_session_is_told_and_can_go_on_from_the_head() -> None:
    stream = Stream(max_bytes=4000)
    session, other = stream.open(), stream.open("project:p1")
    for _ in range(10):
        stream.commit(row())
    for _ in range(2):
        with pytest.raises(Fallen):
            await session.next_batch()
    assert session.is_behind
    assert not other.is_behind, "nothing for it was lost"
    session.start_at_head()
    stream.commit(row())
    assert ids(await session.next_batch()) == [[11]]


async def test_waiting_session_is_woken_by_a_commit_and_by_a_close() -> None:
    stream = Stream()
    session = stream.open()
    task = asyncio.ensure_future(session.next_batch())
    await asyncio.sleep(0)
    stream.commit(row(groups=("project:p9",)))
    await asyncio.sleep(0)
    assert not task.done()
    stream.commit(row())
    assert ids(await asyncio.wait_for(task, TIME_LIMIT_SECONDS)) == [[2]]
    task = asyncio.ensure_future(session.next_batch())
    await asyncio.sleep(0)
    stream.router.close(session)
    assert await asyncio.wait_for(task, TIME_LIMIT_SECONDS) == []
    assert await session.next_batch() == []


async def test_session_of_a_stream_that_begins_anew_has_fallen_for_good() -> None:
    stream = Stream()
    session = stream.open()
    task = asyncio.ensure_future(session.next_batch())
    await asyncio.sleep(0)
    stream.router.retire()
    with pytest.raises(Fallen):
        await asyncio.wait_for(task, TIME_LIMIT_SECONDS)
    session.start_at_head()
    with pytest.raises(Fallen):
        await session.next_batch()


async def test_cancelled_wait_loses_nothing() -> None:
    stream = Stream()
    session = stream.open()
    task = asyncio.ensure_future(session.next_batch())
    await asyncio.sleep(0)
    stream.commit(row())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ids(await session.next_batch()) == [[1]]


def test_groups_change_while_connected() -> None:
    stream = Stream()
    session = stream.open("project:p1")
    stream.commit(row(groups=("project:p2",)))
    session.update_groups(["project:p2"])
    stream.commit(row(groups=("project:p1",)))
    stream.commit(row(groups=("project:p2",)))
    assert ids(session.take()) == [[3]]


def test_rule_on_the_actors_groups_is_judged_by_all_that_the_reader_has() -> None:
    stream = Stream()
    held = frozenset({"org:a", "team:t1"})
    session = stream.router.open("a", ["org:a"], reader=Reader("u1", "user", "a", held))

    def titled(title: str) -> Change:
        matches = compile_rule(parse_rule("title = ANY (actor.groups)", [TITLE]))
        return row("I", judged=Judged(matches, {"title": title}, None))

    stream.commit(titled("team:t1"))
    stream.commit(titled("org:b"))
    assert ids(session.take()) == [[1]]
    session.update_groups(["org:a"], {"org:a"})
    stream.commit(titled("team:t1"))
    session.update_groups(["org:a"])
    assert session.take() == []
    session.update_groups(["org:a"], held)
    stream.commit(titled("team:t1"))
    assert ids(session.take()) == [[4]]


def test_removed_group_is_closed_at_once_even_for_what_waits() -> None:
    stream = Stream()
    session = stream.open("project:p1", "project:p2")
    stream.commit(row(groups=("project:p1",)))
    stream.commit(row(groups=("project:p2",)))
    session.update_groups(["project:p2"])
    assert ids(session.take()) == [[2]]
    stream.commit(row(groups=("project:p2",)))
    assert ids(session.take()) == [[3]]


@given(st.text(), st.integers(0, 2**53))
def test_cursor_comes_back_on_its_own_line_only(epoch: str, sync_id: int) -> None:
    cursor = cursor_encode(epoch, sync_id)
    assert cursor_decode(cursor, epoch) == sync_id
    assert cursor_decode(cursor, epoch + "x") is None


@given(st.text() | st.binary().map(lambda b: b.decode("latin-1")))
def test_cursor_that_is_not_ours_is_no_cursor(text: str) -> None:
    assert cursor_decode(text, "e1") is None


def test_session_hears_only_of_the_models_that_it_may_read() -> None:
    stream = Stream()
    everything = stream.open("org:a", "default")
    tasks_only = stream.router.open("a", ["org:a", "default"], readable=frozenset({"task"}))
    nothing = stream.router.open("a", ["org:a", "default"], readable=frozenset())
    stream.commit(row(), row(model=COUNTRY, organization=None, groups=()), row("U"))
    assert ids(everything.take()) == [[1, 2, 3]]
    assert ids(tasks_only.take()) == [[1, 3]]
    assert nothing.take() == []
    assert (tasks_only.position, nothing.position) == (3, 3)
