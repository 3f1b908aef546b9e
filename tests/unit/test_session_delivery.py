"""Ring, router and sessions together: every session receives exactly what matches it, in order, once.

The expectation is computed from the list of all transactions ever streamed, change by change, without any index.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgsync.models import Field, Group, Kind, Model
from pgsync.stream.cursor import cursor_decode
from pgsync.stream.ring import Fallen, Held, Ring
from pgsync.stream.route import Router
from pgsync.stream.session import Session
from pgsync.stream.timeline import Snapshot, Timeline
from pgsync.stream.transaction import Change, Origin, Transaction

ORGANIZATIONS = ("a", "b")
GROUPS = ("org:a", "org:b", "project:p1", "project:p2", "user:u1", "user:u2")


def model(typename: str, tenant_column: str | None, *groups: Group) -> Model:
    fields = (Field(name="id", column="id", kind=Kind.TEXT, sql_type="text"),)
    return Model(typename.lower(), typename, typename.lower(), "public", typename, "id", tenant_column, fields, groups)


TASK = model("Task", "organization_id")
COUNTRY = model("Country", None)
PLACE = model("Place", None, Group("project", "project_id"))
ORIGIN = Origin(actor=("user", "u1"))


@dataclass
class Reader:
    """A session and what is expected of it: `at` is the sync id up to which it has everything.

    `exact_fall`: it must fall only when something was let go that it would have received. A start inside a transaction
    or from a snapshot, or groups changed while it is behind, may make it fall for something that it would have skipped.
    """

    session: Session
    organization: str
    groups: set[str]
    at: int
    read_with: Snapshot | None = None
    exact_fall: bool = True
    received: list[tuple[int, str]] = field(default_factory=list)


class World:
    """Random transactions, random readers."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.next_xid = 100
        self.ring = Ring(max_bytes=self.random.choice([6000, 40_000, 10**7]), max_seconds=30, clock=lambda: self.now)
        self.timeline = Timeline(spacing_transactions=1)
        self.router = Router(self.ring, self.timeline, epoch="e1")
        self.log: list[Transaction] = []
        self.rest: Transaction
        self.in_parts: set[int] = set()
        self.readers: list[Reader] = []
        self.fallen = self.received = self.ends = 0

    def change(self, sync_id: int) -> Change:
        choice = self.random.choice
        action = choice("IUUUUDT" if self.random.random() < 0.05 else "IUUD")
        row_model = choice([TASK, TASK, TASK, TASK, PLACE, COUNTRY])
        groups = tuple(self.random.sample(GROUPS, choice([0, 1, 1, 2])))
        previous = tuple(self.random.sample(GROUPS, choice([1, 2])))
        data = b'{"id":%d,"pad":"%b"}' % (sync_id, b"x" * choice([0, 10, 200]))
        return Change(
            sync_id=sync_id,
            action=action,
            model=row_model,
            row_id="" if action == "T" else f"r{sync_id}",
            organization=choice(ORGANIZATIONS) if row_model is TASK and action != "T" else None,
            groups=() if action == "T" or row_model is COUNTRY else groups,
            origin=ORIGIN,
            transaction_id=f"t{sync_id}" if self.random.random() < 0.2 else None,
            encode=None if action in "DT" else lambda: data,
            previous_groups=previous if action == "U" and row_model is not COUNTRY and sync_id % 4 == 0 else None,
        )

    def append(self) -> None:
        """The next transaction, whole or in parts, of which others may read the first before the last is there."""
        if self.ring.appended > self.ring.head:
            if self.random.random() < 0.2:
                self.rest = self.log[-1]  # the connection was lost: the stream repeats all of it, cut elsewhere
            self.append_part()
            return
        first = self.ring.head + 1
        count = self.random.choice([0, 1, 1, 1, 2, 5, 30])
        changes = [self.change(first + n) for n in range(count)]
        self.next_xid += self.random.choice([1, 1, 2])
        transaction = Transaction(
            xid=self.next_xid,
            end_lsn=1000 + self.next_xid,
            committed_at="2026-01-02T03:04:05.000Z",
            first_sync_id=first,
            last_sync_id=first + count - 1,
            changes=changes,
            snapshot=f"{self.next_xid}:{self.next_xid}:",
            size_bytes=100 * count,
        )
        self.log.append(transaction)
        self.rest = transaction
        self.append_part()

    def append_part(self) -> None:
        rest = self.rest
        if len(rest.changes) > 1 and self.random.random() < 0.4:
            cut = self.random.randint(1, len(rest.changes))
            part = replace(
                rest,
                changes=rest.changes[:cut],
                last_sync_id=rest.first_sync_id + cut - 1,
                size_bytes=100 * cut,
                end_lsn=0,
                snapshot=None,
                is_last=False,
            )
            self.rest = replace(
                rest, changes=rest.changes[cut:], first_sync_id=rest.first_sync_id + cut, before=rest.before + cut
            )
            self.ring.append(part)
            self.in_parts.add(self.log[-1].last_sync_id)
        else:
            assert rest.snapshot is not None
            self.timeline.stream(rest.xid, rest.last_sync_id, Snapshot.parse(rest.snapshot))
            self.ring.append(replace(rest, changes=list(rest.changes)))
            assert self.ring.head == self.ring.appended == rest.last_sync_id
        assert self.ring.size_bytes <= self.ring.max_bytes or len(self.ring) == 1

    # what is expected

    @staticmethod
    def seen_as(reader: Reader, change: Change) -> str | None:
        if change.action == "T":
            return "T"
        if change.organization is not None and change.organization != reader.organization:
            return None
        after = bool(reader.groups.intersection(change.groups))
        if change.model is COUNTRY:
            after = True
        if change.previous_groups is None:
            return change.action if after else None
        before = bool(reader.groups.intersection(change.previous_groups))
        return {(True, True): "U", (True, False): "D", (False, True): "I", (False, False): None}[before, after]

    def expected(self, reader: Reader) -> list[tuple[int, str]]:
        found = []
        for transaction in self.log:
            if transaction.last_sync_id <= reader.at:
                continue
            if reader.read_with is not None and reader.read_with.sees(transaction.xid):
                continue
            for change in transaction.changes:
                action = self.seen_as(reader, change)
                if reader.at < change.sync_id <= self.ring.appended and action is not None:
                    # What no delta says comes with a place to go back to, which is before the transaction.
                    found.append((change.sync_id, action))
        return found

    def given(self, reader: Reader) -> int:
        """The sync id up to which the session has looked at everything."""
        place = reader.session._pending
        if place is None or place[0] < self.ring.first_ordinal:
            return self.ring.appended if place is None else reader.at
        return self.ring.get(place[0]).transaction.first_sync_id - 1 + place[1]

    # what readers do

    def open(self) -> None:
        organization = self.random.choice(ORGANIZATIONS)
        groups = set(self.random.sample(GROUPS, self.random.choice([0, 1, 2, 4])))
        reader = self.reader(self.router.open(organization, groups), groups)
        self.readers.append(reader)
        if self.random.random() < 0.3:
            self.resume(reader)
        elif self.random.random() < 0.5:
            self.from_snapshot(reader)

    @staticmethod
    def reader(session: Session, groups: set[str]) -> Reader:
        return Reader(session, session.organization, groups, session.starts_after)

    def resume(self, reader: Reader) -> None:
        position = self.random.randint(max(0, self.ring.head - 40), self.ring.head + 3)
        try:
            reader.session.start_after(position)
        except Fallen:
            assert position < self.ring.tail
        else:
            assert position >= self.ring.tail
            reader.at, reader.read_with = position, None
            reader.exact_fall = any(transaction.last_sync_id == position for transaction in self.log)

    def from_snapshot(self, reader: Reader) -> None:
        """A snapshot some transactions back, or ahead of the stream, with holes."""
        xmax = self.next_xid + self.random.randint(-6, 4)
        xip = frozenset(x for x in range(xmax - 4, xmax) if self.random.random() < 0.4)
        xip -= {max(xip)} if xip and max(xip) == xmax - 1 else set()
        snapshot = Snapshot(min(xip, default=xmax), xmax, xip)
        unseen = [t for t in self.log if t.changes and not snapshot.sees(t.xid)]
        try:
            reader.session.start_from_snapshot(snapshot)
        except Fallen:
            assert unseen, "nothing was missed"
            assert unseen[0].first_sync_id <= self.ring.tail
        else:
            reader.at, reader.read_with, reader.exact_fall = 0, snapshot, False

    def read(self, reader: Reader) -> None:
        expected = self.expected(reader)
        limit = self.random.choice([1, 300, 5000, 10**6])
        try:
            frames = reader.session.take(limit)
        except Fallen:
            missed_end = any(reader.at <= end <= self.ring.tail for end in self.in_parts)
            if reader.exact_fall and not missed_end:
                assert expected[0][0] <= self.ring.tail
            self.fallen += 1
            reader.session.start_at_head()
            reader.at, reader.read_with, reader.exact_fall = reader.session.starts_after, None, True
            return
        received = self.check(reader, frames, expected)
        if received:
            reader.at = max(reader.at, received[-1][0])
            cuts = {t.last_sync_id for t in self.log} | {held.transaction.last_sync_id for held in self.held()}
            if len(received) < len(expected):
                assert reader.session.is_behind
                assert any(reader.at <= end < expected[len(received)][0] for end in cuts), "a transaction was cut"
        elif not reader.session.is_behind:
            assert not expected
        if limit == 10**6 and len(received) == len(expected) and not reader.read_with and reader.at <= self.ring.head:
            assert not reader.session.is_behind
        self.check_position(reader)
        self.received += len(received)

    def held(self) -> list[Held]:
        return [self.ring.get(ordinal) for ordinal in range(self.ring.first_ordinal, self.ring.next_ordinal)]

    def check(self, reader: Reader, frames: list[bytes], expected: list[tuple[int, str]]) -> list[tuple[int, str]]:
        """The deltas of the frames, which must be the next expected ones, and end where the session says."""
        received: list[tuple[int, str]] = []
        ends = {t.last_sync_id for t in self.log if t.last_sync_id <= self.ring.head}
        for frame, end in zip(frames, reader.session.ends, strict=True):
            message = json.loads(frame)
            payload: dict[str, Any] = message["payload"]
            if message["type"] == "delta":
                received += [(delta["id"], delta["actionType"]) for delta in payload.get("deltas", [payload])]
            else:
                assert cursor_decode(payload["cursor"], "e1") == payload["currentSyncId"]
                if payload.get("requiresBootstrap"):
                    received.append(expected[len(received)])
                    assert received[-1][1] == "T"
                    (begin,) = (
                        t.begins_after for t in self.log if t.first_sync_id <= received[-1][0] <= t.last_sync_id
                    )
                    assert payload["currentSyncId"] == begin
                else:
                    assert payload["currentSyncId"] == end
                    self.ends += 1
            assert received == expected[: len(received)]
            if end is not None:
                assert end in ends
                following = expected[len(received)][0] if len(received) < len(expected) else self.ring.appended + 1
                assert max([reader.at, *(number for number, _ in received)]) <= end < following or reader.read_with
        if frames:
            last = reader.session.ends[-1]
            assert reader.session.is_inside == (last is None and b"requiresBootstrap" not in frames[-1])
        return received

    def check_position(self, reader: Reader) -> None:
        """Nobody is sent back into a transaction, nor beyond something that he has not had."""
        position = reader.session.position
        ends = {0, *(t.last_sync_id for t in self.log)}
        assert position in ends or position > self.ring.head
        assert all(number > position for number, _ in self.expected(reader))

    def step(self) -> None:
        dice = self.random.random()
        reader = self.random.choice(self.readers) if self.readers else None
        if dice < 0.35:
            self.append()
        elif dice < 0.42 and len(self.readers) < 12:
            self.open()
        elif reader is None:
            return
        elif dice < 0.85:
            self.read(reader)
        elif dice < 0.89:
            self.account(reader)
            reader.groups = set(self.random.sample(GROUPS, self.random.choice([0, 1, 2, 4])))
            reader.session.update_groups(reader.groups)
        elif dice < 0.92:
            self.resume(reader)
        elif dice < 0.95:
            self.from_snapshot(reader)
        elif dice < 0.97:
            self.readers.remove(reader)
            self.router.close(reader.session)
        else:
            self.now += self.random.choice([1, 5, 40])
            self.ring.expire()

    def account(self, reader: Reader) -> None:
        """Other groups count from the session's position, which must be one that leaves nothing out."""
        self.check_position(reader)
        reader.at = max(reader.at, reader.session.position, self.given(reader))
        reader.exact_fall = reader.exact_fall and not reader.session.is_behind

    def run(self, steps: int) -> World:
        for _ in range(steps):
            self.step()
        while self.ring.appended > self.ring.head:
            self.append_part()
        for reader in self.readers:
            while reader.session.is_behind:
                self.read(reader)
            assert not self.expected(reader)
            assert not reader.session.is_inside
        for reader in self.readers:
            self.router.close(reader.session)
        assert not self.router._channels
        self.now += 100
        self.ring.expire()
        assert len(self.ring) == 0
        assert self.ring.size_bytes == 0
        assert not self.ring._index
        return self


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_every_session_receives_exactly_what_matches_it_in_order_once(seed: int) -> None:
    World(seed).run(400)


def test_the_random_worlds_are_worth_something() -> None:
    worlds = [World(seed).run(400) for seed in range(20)]
    assert sum(world.received for world in worlds) > 2000
    assert sum(world.fallen for world in worlds) > 20
    assert sum(world.ends for world in worlds) > 20


@pytest.mark.parametrize("wrong", ["organization", "offset", "filter", "previous"])
def test_the_random_worlds_notice_a_wrong_session(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import pgsync.stream.frames as frames
    import pgsync.stream.ring as ring

    if wrong == "organization":
        monkeypatch.setattr(ring, "keys_of_change", lambda c: [("a", group) for group in c.groups])
    elif wrong == "offset":
        monkeypatch.setattr(frames, "indices_of", lambda held, keys, start: range(len(held.transaction.changes)))
    elif wrong == "filter":
        monkeypatch.setattr(Timeline, "streamed_all", lambda self, snapshot: True)
    else:
        monkeypatch.setattr(frames, "seen_as", lambda held, index, keys: ("U", ()))

    def try_it() -> None:
        for seed in range(60):
            World(seed).run(200)

    with pytest.raises((AssertionError, KeyError, ValueError)):
        try_it()
