"""A session whose participant's memberships change: what it is given before, at and after its turn."""

from __future__ import annotations

from dataclasses import replace

from pgsync.stream.session import Session
from pgsync.stream.timeline import Snapshot
from pgsync.stream.transaction import Change, Membership
from tests.unit.test_session import Stream, messages, row

EVERYTHING = Snapshot.before(10_000)
OWN, LOST, GAINED = "project:own", "project:lost", "project:gained"


def of(group: str, row_id: str, action: str = "U") -> Change:
    return row(action, row_id=row_id, groups=(group,))


def membership(old: str | None, new: str | None) -> Change:
    said = Membership(None if old is None else ("ada", old), None if new is None else ("ada", new))
    return row("U", row_id="m", groups=("org:elsewhere",), membership=said)


class Memberships(Stream):
    """A stream whose transactions have the ids that they are given, and reserve some behind."""

    def say(self, xid: int, *changes: Change) -> None:
        made = self._make(changes, xid, None)
        made = replace(made, reserved=10, last_sync_id=made.last_sync_id + 10)
        self.timeline.stream(made.xid, made.last_sync_id)
        self.ring.append(made)


def following(stream: Stream) -> Session:
    session = stream.router.open("a", {OWN}, member="ada")
    assert session.begins
    assert session.take() == []
    session.know({OWN, LOST}, Snapshot.before(200))
    return session


def given(frames: list[bytes]) -> list[tuple[str, str]]:
    payloads = [message["payload"] for message in messages(frames)]
    deltas = [delta for payload in payloads for delta in payload.get("deltas", [payload])]
    return [(delta["actionType"], delta["modelId"]) for delta in deltas]


def test_session_stops_before_a_change_of_its_memberships_and_of_nobody_elses() -> None:
    stream = Memberships()
    session = following(stream)
    stream.say(201, of(LOST, "before"), row("U", membership=Membership(None, ("bob", GAINED)), groups=("x",)))
    stream.say(202, of(OWN, "beside"), membership(LOST, None))
    stream.say(203, of(LOST, "after"))
    assert given(session.take()) == [("U", "before")]
    assert session.take() == []
    assert session.turn is not None
    assert session.turn.is_exact
    assert session.position == session.turn.transaction.begins_after  # type: ignore[union-attr]
    assert not session.is_told_by(Snapshot.before(202))
    assert session.is_told_by(Snapshot.before(203))


def test_what_the_snapshot_has_told_is_not_given_again_and_the_rest_by_the_groups_that_were_kept() -> None:
    stream = Memberships()
    session = following(stream)
    stream.say(202, of(LOST, "told"), of(GAINED, "told too"), of(OWN, "own"), membership(LOST, GAINED))
    stream.say(203, of(LOST, "gone", "D"), of(GAINED, "over", "D"), of(LOST, "told"), of(OWN, "own"))
    stream.say(300, of(LOST, "hidden"), of(GAINED, "shown"), of(GAINED, "told too"))
    assert session.take() == []
    told = frozenset({("tasks", "told"), ("tasks", "told too")})
    assert given(session.pass_turn({OWN, GAINED}, Snapshot.before(204), {LOST}, told)) == [("U", "own")]
    assert given(session.take()) == [("D", "gone"), ("U", "own"), ("U", "shown"), ("U", "told too")]
    assert session.turn is None


def test_row_that_was_written_in_a_lost_group_beside_the_change_is_a_turn_that_only_a_bootstrap_ends() -> None:
    stream = Memberships()
    session = following(stream)
    stream.say(202, membership(LOST, None))
    stream.say(203, of(OWN, "own"))
    stream.say(204, of(LOST, "unclear"), of(OWN, "own"))
    assert session.take() == []
    assert session.pass_turn({OWN}, Snapshot.before(205), {LOST}, frozenset()) == []
    assert given(session.take()) == [("U", "own")]
    assert session.turn is not None
    assert not session.turn.is_exact


def test_deletion_in_a_lost_group_wakes_who_has_read_everything() -> None:
    stream = Memberships()
    session = following(stream)
    stream.say(202, membership(LOST, None))
    assert session.take() == []
    assert session.pass_turn({OWN}, Snapshot.before(205), {LOST}, frozenset()) == []
    waits = [session.is_behind]
    stream.say(204, of(LOST, "gone", "D"))
    assert [*waits, session.is_behind] == [False, True]
    assert given(session.take()) == [("D", "gone")]
    stream.say(206, of(LOST, "hidden", "D"))
    assert session.take() == []


def test_second_change_within_the_passage_is_not_exact() -> None:
    stream = Memberships()
    session = following(stream)
    stream.say(202, membership(LOST, None))
    assert session.take() == []
    session.pass_turn({OWN}, Snapshot.before(203), {LOST}, frozenset())
    stream.say(204, membership(None, GAINED))
    assert session.take() == []
    assert session.turn is not None
    assert not session.turn.is_exact


def test_second_change_after_the_passage_is_exact_again() -> None:
    stream = Memberships()
    session = following(stream)
    stream.say(206, membership(None, LOST))
    session.take()
    session.pass_turn({OWN, LOST}, Snapshot.before(207), (), frozenset())
    session.take()
    stream.timeline.sample(stream.timeline.head, Snapshot.before(210), 210)
    stream.say(211, membership(LOST, None))
    session.take()
    assert session.turn is not None
    assert session.turn.is_exact


def test_memberships_of_after_a_change_that_is_still_to_come_say_nothing_of_what_is_before_it() -> None:
    stream = Memberships()
    session = stream.router.open("a", {OWN}, member="ada")
    stream.say(202, of(GAINED, "hidden"))
    stream.say(203, membership(None, GAINED))
    session.know({OWN, GAINED}, EVERYTHING)
    assert session.take() == []
    assert session.turn is not None
    assert not session.turn.is_exact
