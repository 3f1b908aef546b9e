"""Ring, router and sessions together: every session receives exactly what matches it, in order, once.

The expectation is computed from the list of all transactions ever streamed, change by change, without any index.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgsync.models import Field, Group, Kind, Model
from pgsync.stream.ring import Fallen, Ring
from pgsync.stream.route import Router
from pgsync.stream.session import Session, cursor_decode
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
        self.readers: list[Reader] = []
        self.fallen = self.received = 0

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
        assert transaction.snapshot is not None
        self.timeline.stream(transaction.xid, transaction.last_sync_id, Snapshot.parse(transaction.snapshot))
        self.ring.append(transaction)
        self.log.append(transaction)
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
                if change.sync_id > reader.at and action is not None:
                    found.append((change.sync_id, action))
        return found

    # what readers do

    def open(self) -> None:
        organization = self.random.choice(ORGANIZATIONS)
        groups = set(self.random.sample(GROUPS, self.random.choice([0, 1, 2, 4])))
        reader = Reader(self.router.open(organization, groups), organization, groups, self.ring.head)
        self.readers.append(reader)
        if self.random.random() < 0.3:
            self.resume(reader)
        elif self.random.random() < 0.5:
            self.from_snapshot(reader)

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
            assert expected or not reader.exact_fall
            if reader.exact_fall:
                assert expected[0][0] <= self.ring.tail
            self.fallen += 1
            reader.session.start_at_head()
            reader.at, reader.read_with, reader.exact_fall = self.ring.head, None, True
            return
        received = [delta for frame in frames for delta in self.deltas(frame)]
        assert received == expected[: len(received)]
        if frames:
            reader.at = max(reader.at, received[-1][0])
            whole = {t.last_sync_id for t in self.log}
            if len(received) < len(expected):
                assert reader.session.is_behind
                assert any(reader.at <= end < expected[len(received)][0] for end in whole), "a transaction was cut"
        else:
            assert not expected
        if len(received) == len(expected) and reader.read_with is None and reader.at <= self.ring.head:
            assert not reader.session.is_behind
        assert reader.session.position >= reader.at
        self.received += len(received)

    def deltas(self, frame: bytes) -> list[tuple[int, str]]:
        message = json.loads(frame)
        payload: dict[str, Any] = message["payload"]
        if message["type"] == "sync_response":
            assert payload["requiresBootstrap"] is True
            assert cursor_decode(payload["cursor"], "e1") == payload["currentSyncId"]
            return [(payload["currentSyncId"], "T")]
        return [(delta["id"], delta["actionType"]) for delta in payload.get("deltas", [payload])]

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
        position = reader.session.position
        assert all(sync_id > position for sync_id, _ in self.expected(reader))
        reader.at = max(reader.at, position)
        reader.exact_fall = reader.exact_fall and not reader.session.is_behind

    def run(self, steps: int) -> World:
        for _ in range(steps):
            self.step()
        for reader in self.readers:
            while reader.session.is_behind:
                self.read(reader)
            assert not self.expected(reader)
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


@pytest.mark.parametrize("wrong", ["organization", "offset", "filter", "previous"])
def test_the_random_worlds_notice_a_wrong_session(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import pgsync.stream.ring as ring
    import pgsync.stream.session as session

    if wrong == "organization":
        monkeypatch.setattr(ring, "keys_of_change", lambda c: [("a", group) for group in c.groups])
    elif wrong == "offset":
        monkeypatch.setattr(session, "_indices", lambda held, keys, start: range(len(held.transaction.changes)))
    elif wrong == "filter":
        monkeypatch.setattr(Timeline, "streamed_all", lambda self, snapshot: True)
    else:
        monkeypatch.setattr(session, "_seen_as", lambda held, index, keys: ("U", ()))

    def try_it() -> None:
        for seed in range(60):
            World(seed).run(200)

    with pytest.raises((AssertionError, KeyError, ValueError)):
        try_it()
