"""The judge itself: an honest gateway passes, and each way of being wrong is caught.

A gateway is here a list of what it tells one subscriber, made from a random history; the wrong ones change one thing.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest

from tests.oracle.check import LARGE_BYTES, Checker, Echo
from tests.oracle.history import RESERVED, Change, Committed, History, Transaction
from tests.oracle.replica import (
    Answered,
    Asked,
    BootstrapAsked,
    Bootstrapped,
    CaughtUp,
    Delta,
    Event,
    Frame,
    Granted,
    Opened,
    Settled,
)
from tests.oracle.schemas import ORGANIZATIONS, PEOPLE, STATUSES, TEAMS, Identity, Model, Row, Schema, random_schema

SEEDS = range(12)
READER = Identity("acme", "user", "ada", frozenset({"org:acme", "team:t1", "team:t2", "beta:b1", "beta:b2", "beta:b3"}))


def random_row(rng: random.Random, schema: Schema, table: str) -> Row:
    model = schema.by_table[table]
    row: dict[str, str | None] = dict.fromkeys(model.columns())
    row |= {"id": f"{table[0]}{rng.randrange(6)}", "title": f"title {rng.randrange(1000)}"}
    row |= {"status": rng.choice((*STATUSES, None)), "level": str(rng.randrange(6)), "private": rng.choice("tf")}
    row |= {"owner_id": rng.choice(PEOPLE), "team_id": rng.choice(TEAMS), "created_at": "2026-01-02 03:04:05+00"}
    row |= {reference.column: f"b{rng.randrange(6)}" for reference in model.references}
    return row | ({"organization_id": rng.choices(ORGANIZATIONS, (3, 1))[0]} if model.tenant else {})


def random_history(rng: random.Random, *, transactions: int = 60) -> History:
    """Rows that come, change and go in transactions of one to four changes; every third is a guarded commit."""
    history = History(random_schema(rng))
    history.begin_line(1)
    for number in range(transactions):
        changes: list[Change] = []
        rows = dict(history.rows)
        for _ in range(rng.randint(1, 4)):
            model = rng.choice(history.schema.models)
            row = random_row(rng, history.schema, model.table)
            key = model.key_of(row)
            before = rows.get(key)
            sync_id = history.head + len(changes) + 1
            if before is not None and rng.random() < 0.25:
                changes.append(Change(sync_id, "D", model, key, before, None))
                del rows[key]
            else:
                changes.append(Change(sync_id, "U" if before is not None else "I", model, key, before, row))
                rows[key] = row
        commits: tuple[Committed, ...] = ()
        if number % 3 == 0:
            first, last = changes[0].sync_id, changes[-1].sync_id
            commits = (Committed(f"{number}-0", f"key {number}", first, last),)
        history.add(Transaction(number, tuple(changes), commits))
    return history


def operation_id(history: History, change: Change) -> str | None:
    """What the caller of a guarded commit called the operation that made this change."""
    commit = history.commit_of(change.sync_id)
    return None if commit is None else f"{commit.client_tx_id}/{change.sync_id}"


def sent(history: History) -> dict[str, list[Echo]]:
    found: dict[str, list[Echo]] = {}
    for change in history.changes:
        commit, name = history.commit_of(change.sync_id), operation_id(history, change)
        if commit is not None and commit.client_tx_id is not None and name is not None:
            echo = Echo(name, commit.client_tx_id, change.model.typename, change.key[2])
            found.setdefault(commit.client_tx_id, []).append(echo)
    return found


def delta_of(history: History, change: Change, action: str) -> Delta:
    row = change.before if action == "D" else change.after
    assert row is not None
    data = None if action == "D" else change.model.to_json(row)
    groups = tuple(sorted(change.model.groups_of(row)))
    name = operation_id(history, change)
    return Delta(change.sync_id, action, change.model.typename, change.key[2], data, groups, name)


def deltas_of(history: History, changes: Sequence[Change], reader: Identity) -> tuple[Delta, ...]:
    seen = [(change, change.as_seen(reader)) for change in changes]
    return tuple(delta_of(history, change, action) for change, action in seen if action is not None)


def frames(history: History, after: int, until: int, reader: Identity = READER) -> Iterator[Frame]:
    """A frame for each transaction that concerns the reader."""
    for transaction in history.transactions:
        if transaction.changes and after < transaction.changes[0].sync_id <= until:
            deltas = deltas_of(history, transaction.changes, reader)
            if deltas:
                yield Frame(deltas, 100 * len(deltas))


def boundary(history: History, part: float) -> int:
    """A position between two transactions."""
    return history.transactions[int(part * (len(history.transactions) - 1))].changes[-1].sync_id


def honest(history: History) -> list[Event]:
    """Bootstraps, reads on, goes away, resumes by its cursor, catches up, comes to rest."""
    first, second, third, fourth = (boundary(history, part) for part in (0.2, 0.5, 0.7, 0.9))
    checker = Checker("", READER, history)
    rows = checker.visible(first, (READER,))
    return [
        Opened(READER.groups, None),
        BootstrapAsked(),
        Bootstrapped(first, rows, READER.groups, first),
        Asked(first),
        Answered((), first, False, 100),
        *frames(history, first, second),
        Opened(READER.groups, second),
        Asked(second),
        Answered(deltas_of(history, history.between(second, third), READER), third, False, 100),
        *frames(history, third, fourth),
        CaughtUp(deltas_of(history, history.between(fourth, history.head), READER), history.head, fourth),
        Opened(READER.groups, None),
        Asked(history.head),
        Answered((), history.head, False, 100),
        Settled(history.head),
    ]


def violations(history: History, events: Sequence[Event]) -> list[str]:
    checker = Checker("it", READER, history, sent(history))
    for event in events:
        checker.check(event)
    return checker.violations


@pytest.mark.parametrize("seed", SEEDS)
def test_honest_gateway_passes(seed: int) -> None:
    history = random_history(random.Random(seed))
    checker = Checker("it", READER, history, sent(history))
    for event in honest(history):
        checker.check(event)
    assert checker.violations == []
    assert checker.counts.deltas > 10
    assert checker.counts.states > 10
    assert checker.counts.echoes > 3


# --- gateways that are wrong in one thing -----------------------------------------------------------------------------

Broken = Callable[[random.Random, History], "list[Event] | None"]
"""What a wrong gateway tells; None when this history gives it no occasion."""


def _indices(events: Sequence[Event], kind: type[Event], least: int = 1) -> list[int]:
    return [
        index
        for index, event in enumerate(events)
        if isinstance(event, kind) and len(getattr(event, "deltas", (0,))) >= least
    ]


def _with_deltas(
    rng: random.Random, history: History, fits: Callable[[Delta], bool], change: Callable[[Delta], Delta | None]
) -> list[Event] | None:
    """One delta of a frame replaced, or left out."""
    events = honest(history)
    places = [
        (index, number)
        for index in _indices(events, Frame)
        for number, delta in enumerate(_frame(events[index]).deltas)
        if fits(delta)
    ]
    if not places:
        return None
    index, number = rng.choice(places)
    frame = _frame(events[index])
    new = change(frame.deltas[number])
    deltas = (*frame.deltas[:number], *([new] if new is not None else []), *frame.deltas[number + 1 :])
    return [*events[:index], *([replace(frame, deltas=deltas)] if deltas else []), *events[index + 1 :]]


def _frame(event: Event) -> Frame:
    assert isinstance(event, Frame)
    return event


def drops_a_delta(rng: random.Random, history: History) -> list[Event] | None:
    return _with_deltas(rng, history, lambda delta: True, lambda delta: None)


def skips_the_d_of_a_row_that_ceases_to_match(rng: random.Random, history: History) -> list[Event] | None:
    def leaves(delta: Delta) -> bool:
        change = history.find(delta.id)
        return delta.action == "D" and change is not None and change.after is not None

    return _with_deltas(rng, history, leaves, lambda delta: None)


def sends_u_for_a_row_that_begins_to_match(rng: random.Random, history: History) -> list[Event] | None:
    def enters(delta: Delta) -> bool:
        change = history.find(delta.id)
        return delta.action == "I" and change is not None and change.before is not None

    return _with_deltas(rng, history, enters, lambda delta: replace(delta, action="U"))


def sends_an_old_value(rng: random.Random, history: History) -> list[Event] | None:
    return _with_deltas(
        rng,
        history,
        lambda delta: delta.data is not None,
        lambda delta: replace(delta, data={**(delta.data or {}), "title": "something else"}),
    )


def forgets_an_echo(rng: random.Random, history: History) -> list[Event] | None:
    def alone(delta: Delta) -> bool:
        return delta.transaction_id is not None

    return _with_deltas(rng, history, alone, lambda delta: replace(delta, transaction_id=None))


def gives_an_echo_to_another(rng: random.Random, history: History) -> list[Event] | None:
    return _with_deltas(
        rng, history, lambda delta: delta.transaction_id is None, lambda delta: replace(delta, transaction_id="key 0/2")
    )


def swaps_two_transactions(rng: random.Random, history: History) -> list[Event] | None:
    events = honest(history)
    pairs = [index for index in _indices(events, Frame) if isinstance(events[index + 1], Frame)]
    if not pairs:
        return None
    at = rng.choice(pairs)
    return [*events[:at], events[at + 1], events[at], *events[at + 2 :]]


def repeats_a_frame(rng: random.Random, history: History) -> list[Event] | None:
    events = honest(history)
    at = rng.choice(_indices(events, Frame))
    return [*events[: at + 1], events[at], *events[at + 1 :]]


def tears_a_transaction(rng: random.Random, history: History) -> list[Event] | None:
    events = honest(history)
    large = _indices(events, Frame, least=2)
    if not large:
        return None
    at = rng.choice(large)
    frame = _frame(events[at])
    parts = [Frame(frame.deltas[:1], 100), Frame(frame.deltas[1:], 100)]
    return [*events[:at], *parts, *events[at + 1 :]]


def leaks(rng: random.Random, history: History) -> list[Event] | None:
    """A change of a row that is none of the reader's business: another organization's, another group's, or by rule."""
    events = honest(history)
    foreign = [c for c in history.changes if c.as_seen(READER) is None and c.after is not None]
    frames_at = _indices(events, Frame)
    for at in rng.sample(frames_at, len(frames_at)):
        frame = _frame(events[at])
        first, last = frame.deltas[0].id, history.end_of_transaction(frame.deltas[-1].id)
        found = [c for c in foreign if first < c.sync_id <= last]
        if found:
            deltas = sorted([*frame.deltas, delta_of(history, rng.choice(found), "I")], key=lambda delta: delta.id)
            return [*events[:at], replace(frame, deltas=tuple(deltas)), *events[at + 1 :]]
    return None


def _resuming(history: History, after: int, *, told: int) -> list[Event]:
    """As honest, but what follows the reconnection begins after another position than the one the client was at."""
    until = boundary(history, 0.8)
    begun = honest(history)[: _indices(honest(history), Opened)[1]]
    return [
        *begun,
        Opened(READER.groups, told),
        Asked(told),
        Answered(deltas_of(history, history.between(after, until), READER), until, False, 100),
        *frames(history, until, history.head),
        Settled(history.head),
    ]


def resumes_one_too_late(rng: random.Random, history: History) -> list[Event] | None:
    told = boundary(history, 0.5)
    missed = [c.sync_id for c in history.between(told, boundary(history, 0.8)) if c.as_seen(READER)]
    return _resuming(history, missed[0], told=told) if missed else None


def resumes_one_too_early(rng: random.Random, history: History) -> list[Event] | None:
    told = boundary(history, 0.5)
    earlier = [c.sync_id for c in history.between(0, told) if c.as_seen(READER)]
    return _resuming(history, earlier[-1] - 1, told=told) if earlier else None


def _with_snapshot(history: History, change: Callable[[Bootstrapped], Bootstrapped | None]) -> list[Event] | None:
    events = honest(history)
    (at,) = _indices(events, Bootstrapped)
    snapshot = events[at]
    assert isinstance(snapshot, Bootstrapped)
    new = change(snapshot)
    return None if new is None else [*events[:at], new, *events[at + 1 :]]


def bootstraps_without_a_row(rng: random.Random, history: History) -> list[Event] | None:
    def without(snapshot: Bootstrapped) -> Bootstrapped | None:
        if not snapshot.rows:
            return None
        left_out = rng.choice(sorted(snapshot.rows))
        return replace(snapshot, rows={key: row for key, row in snapshot.rows.items() if key != left_out})

    return _with_snapshot(history, without)


def bootstraps_with_a_foreign_row(rng: random.Random, history: History) -> list[Event] | None:
    def more(snapshot: Bootstrapped) -> Bootstrapped | None:
        hidden = [
            ((history.schema.by_table[key[0]].typename, key[2]), history.schema.by_table[key[0]].to_json(row))
            for key, row in history.at(snapshot.position).items()
            if not history.schema.by_table[key[0]].shows(row, READER)
        ]
        hidden = [(key, row) for key, row in hidden if key not in snapshot.rows]
        return replace(snapshot, rows={**snapshot.rows, **dict([rng.choice(hidden)])}) if hidden else None

    return _with_snapshot(history, more)


def bootstraps_from_before_what_it_says(rng: random.Random, history: History) -> list[Event] | None:
    first = boundary(history, 0.2)
    rows = Checker("", READER, history).visible(boundary(history, 0.1), (READER,))
    if rows == Checker("", READER, history).visible(first, (READER,)):
        return None
    return _with_snapshot(history, lambda snapshot: replace(snapshot, rows=rows))


def catches_up_without_the_last_delta(rng: random.Random, history: History) -> list[Event] | None:
    events = honest(history)
    places = _indices(events, CaughtUp)
    if not places:
        return None
    event = events[places[0]]
    assert isinstance(event, CaughtUp)
    return [*events[: places[0]], replace(event, deltas=event.deltas[:-1]), *events[places[0] + 1 :]]


def stops_sending(rng: random.Random, history: History) -> list[Event] | None:
    events = honest(history)
    last = _indices(events, Frame)[-1]
    until = _frame(events[last]).deltas[-1].id
    return [*events[:last], Settled(until)]


def invents_a_position(rng: random.Random, history: History) -> list[Event] | None:
    return [*honest(history), Answered((), history.head + 5, False, 100)]


@pytest.mark.parametrize(
    "broken",
    [
        drops_a_delta,
        skips_the_d_of_a_row_that_ceases_to_match,
        sends_u_for_a_row_that_begins_to_match,
        sends_an_old_value,
        forgets_an_echo,
        gives_an_echo_to_another,
        swaps_two_transactions,
        repeats_a_frame,
        tears_a_transaction,
        leaks,
        resumes_one_too_late,
        resumes_one_too_early,
        bootstraps_without_a_row,
        bootstraps_with_a_foreign_row,
        bootstraps_from_before_what_it_says,
        catches_up_without_the_last_delta,
        stops_sending,
        invents_a_position,
    ],
    ids=lambda broken: broken.__name__,
)
def test_gateway_is_caught_that(broken: Broken) -> None:
    occasions = 0
    for seed in SEEDS:
        history = random_history(random.Random(seed))
        events = broken(random.Random(seed), history)
        if events is not None:
            occasions += 1
            assert violations(history, events), seed
    assert occasions >= 3


def test_gateway_is_caught_that_says_nothing_of_a_truncated_table() -> None:
    rng = random.Random(1)
    history = random_history(rng)
    model = next(m for m in history.schema.models if any(key[0] == m.key for key in history.rows))
    before = history.head
    history.add(Transaction(99, (Change(before + 1, "T", model, (model.key, None, ""), None, None),)))
    row = random_row(rng, history.schema, model.table)
    changed = Change(before + 2, "I", model, model.key_of(row), None, row)
    history.add(Transaction(100, (changed,)))
    rows = Checker("", READER, history).visible(before, (READER,))
    begun: list[Event] = [
        Opened(READER.groups, None),
        BootstrapAsked(),
        Bootstrapped(before, rows, READER.groups, before),
        Asked(before),
        Answered((), before, False, 100),
    ]
    told = Answered((), before + 1, True, 100)
    after = Checker("", READER, history).visible(history.head, (READER,))
    again = Bootstrapped(history.head, after, READER.groups, history.head)
    assert violations(history, [*begun, told, *frames(history, before + 1, history.head), again]) == []
    assert violations(history, [*begun, Settled(before + 1)])


def test_transaction_larger_than_a_frame_may_come_in_parts() -> None:
    history = random_history(random.Random(2))
    events = honest(history)
    at = _indices(events, Frame, least=2)[0]
    frame = _frame(events[at])
    parts = [Frame(frame.deltas[:1], LARGE_BYTES), Frame(frame.deltas[1:], 100)]
    assert violations(history, [*events[:at], *parts, *events[at + 1 :]]) == []


# --- memberships --------------------------------------------------------------------------------------------------

MEMBER = replace(READER, groups=frozenset({"org:acme"}), follows=True)


def scoped_row(history: History, row_id: str) -> tuple[Model, Row]:
    model = next(model for model in history.schema.models if model.scope is not None)
    row: dict[str, str | None] = dict.fromkeys(model.columns())
    return model, row | {"id": row_id, "organization_id": "acme", "title": row_id}


def put(history: History, model: Model, row: Row, before: Row | None = None, *, reserved: int = 0) -> Change:
    change = Change(history.head + 1, "I" if before is None else "U", model, model.key_of(row), before, row)
    history.add(Transaction(change.sync_id, (change,), reserved=reserved))
    return change


def story_of_a_grant(tell: Callable[[Delta], Sequence[Delta]], *, goes_on: bool = True) -> list[str]:
    """A reader is given b1 while it is connected. `tell` makes what it is told of that out of the honest delta."""
    schema = random_schema(random.Random(3))
    schema = Schema(tuple(replace(model, rule=None) for model in schema.models))
    history = History(schema)
    history.begin_line(1)
    model, row = scoped_row(history, "b1")
    put(history, model, row)
    members = next(model for model in schema.models if model.grants is not None)
    checker = Checker("it", MEMBER, history)
    start = history.head
    begun: list[Event] = [
        Opened(MEMBER.groups, None),
        Bootstrapped(start, {}, MEMBER.groups, start),
        Asked(start),
        Answered((), start, False, 100),
    ]
    for event in begun:
        checker.check(event)
    membership: dict[str, str | None] = dict.fromkeys(members.columns())
    membership |= {"id": "m1", "organization_id": "acme", "person_id": "ada", members.references[1].column: "b1"}
    granting = put(history, members, membership, reserved=RESERVED)
    told = Delta(granting.sync_id + 1, "I", model.typename, "b1", model.to_json(row), ("beta:b1",), None)
    frame = (delta_of(history, granting, "I"), *tell(told))
    checker.check(Frame(frame, 100))
    checker.check(Answered((), history.head, False, 100))
    changed = put(history, model, {**row, "title": "changed"}, row)
    if goes_on:
        checker.check(Frame((delta_of(history, changed, "U"),), 100))
    checker.check(Settled(history.head))
    return checker.violations


def test_rows_that_a_membership_shows_are_told_in_ids_of_its_place() -> None:
    assert story_of_a_grant(lambda told: [told]) == []


@pytest.mark.parametrize(
    "tell",
    [
        lambda told: [],
        lambda told: [replace(told, data={**(told.data or {}), "title": "never so"})],
        lambda told: [replace(told, row_id="b2")],
        lambda told: [replace(told, action="U")],
        lambda told: [told, replace(told, id=told.id + 1, action="D", data=None)],
        lambda told: [replace(told, id=told.id + RESERVED)],
    ],
    ids=["says nothing", "another value", "another row", "as changed", "hides it again", "in ids of another place"],
)
def test_gateway_is_caught_that_tells_a_membership_wrongly(tell: Callable[[Delta], Sequence[Delta]]) -> None:
    assert story_of_a_grant(tell)


def test_gateway_is_caught_that_does_not_go_on_by_the_new_groups() -> None:
    assert story_of_a_grant(lambda told: [told], goes_on=False)


def test_gateway_is_caught_that_grants_a_claim_before_what_was_written() -> None:
    history = random_history(random.Random(4))
    events = honest(history)
    at = _indices(events, Frame)[0]
    read_at = _frame(events[at]).deltas[-1].id
    granted = Granted(read_at)
    assert violations(history, [*events[: at + 1], granted, *events[at + 1 :]]) == []
    assert violations(history, [*events[:at], granted, *events[at:]])


def story_of_a_cut_row(tell: Callable[[Delta], Delta], *, gets_rows: bool = True) -> list[str]:
    """A row comes without a large value and is changed right after. `tell` makes what is told out of the row."""
    schema = random_schema(random.Random(3))
    history = History(Schema(tuple(replace(model, rule=None) for model in schema.models)))
    history.begin_line(1)
    model, row = scoped_row(history, "b1")
    checker = Checker("it", READER, history, gets_rows=gets_rows)
    start = history.head
    for event in (
        Opened(READER.groups, None),
        Bootstrapped(start, {}, READER.groups, start),
        Asked(start),
        Answered((), start, False, 100),
    ):
        checker.check(event)
    cut = Change(history.head + 1, "I", model, model.key_of(row), None, row, is_cut=True)
    history.add(Transaction(cut.sync_id, (cut,)))
    changed = put(history, model, {**row, "title": "changed"}, row)
    checker.check(Frame((tell(delta_of(history, cut, "I")),), 100))
    checker.check(Frame((delta_of(history, changed, "U"),), 100))
    checker.check(Settled(history.head))
    return checker.violations


def test_row_that_the_log_has_not_whole_is_told_as_it_is() -> None:
    assert story_of_a_cut_row(lambda told: told) == []
    assert story_of_a_cut_row(lambda told: replace(told, data={**(told.data or {}), "title": "changed"})) == []


@pytest.mark.parametrize(
    "tell",
    [
        lambda told: replace(told, data={**(told.data or {}), "title": "never so"}),
        lambda told: replace(told, action="U"),
        lambda told: replace(told, action="D", data=None),
    ],
    ids=["another value", "as changed", "as gone"],
)
def test_gateway_is_caught_that_tells_such_a_row_wrongly(tell: Callable[[Delta], Delta]) -> None:
    assert story_of_a_cut_row(tell)


def test_gateway_is_caught_that_tells_such_a_row_over_a_socket() -> None:
    assert story_of_a_cut_row(lambda told: told, gets_rows=False)
