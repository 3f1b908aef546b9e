"""The judge: what a subscriber was told against what really happened. Pure: a history and a record in, violations out.

What it holds a stream to:

- order: sync ids only grow on a stream, and every one of them is a change that happened
- complete: between two positions of a stream come exactly the changes that concern its reader, as I, U or D, no other
- whole: a frame never ends inside a transaction, unless that is larger than a frame
- true: after each frame the replica holds what the reader could see at that position, row by row, field by field
- resumed: a stream that goes on from a position goes on exactly there
- told: a truncated table, a window that was left, is answered by a bootstrap, and its rows existed together
- echoes: the caller's id of an operation comes with that operation's change, once
- claims: who gets one has everything up to the position that it is told with it

A reader whose memberships change sees by the old ones up to that transaction and by the new ones after it. What comes
between, in ids of that place, are rows as somebody saw them who looked a little later: until the log that was
written by then has passed, each row has to be true of some moment since, and after that everything is exact again.

A row that comes without a large value, because the log leaves out what did not change, has to be loaded: clients with
a socket are told to bootstrap, readers of server-sent events get the row as it was when it was looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from tests.oracle.history import Change, History, Key
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
    Replica,
    RowKey,
    Settled,
    Subscribed,
    differences,
)
from tests.oracle.schemas import Identity, Model

# A transaction may be cut where so much of it has been sent, or when it is so large itself that it travels in parts.
LARGE_BYTES: Final = 128 * 1024
PARTED_BYTES: Final = 768 * 1024
PARTED_CHANGES: Final = 4096


@dataclass(frozen=True, slots=True)
class Echo:
    """An operation that a client sent with an id of its own."""

    transaction_id: str
    client_tx_id: str
    typename: str
    row_id: str


@dataclass(slots=True)
class Counts:
    """What was looked at."""

    deltas: int = 0
    frames: int = 0
    states: int = 0
    snapshots: int = 0
    echoes: int = 0
    resumed: int = 0
    bootstraps_required: int = 0
    told: int = 0
    regrouped: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


@dataclass(slots=True)
class Checker:
    """Judges one subscriber. Call `check` with events in their order, when the history covers them.

    `sent` has the operations of each guarded commit by its key, in order, whoever sent them. `gets_rows`: what the log
    does not have whole is told with the row as it is.
    """

    name: str
    identity: Identity
    history: History
    sent: Mapping[str, Sequence[Echo]] = field(default_factory=dict)
    gets_rows: bool = False
    violations: list[str] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    replica: Replica = field(default_factory=Replica)
    # Of the stream: where it is (None before its first answer), what came before that, whom it is for.
    _at: int | None = None
    _early: list[Delta] = field(default_factory=list)
    _last_received: int = 0
    _resumed_at: int | None = None
    _asked: int = 0
    _told_until: int = 0
    _readers: tuple[Identity, ...] = ()
    _inexact_from: int = 0
    _inexact_until: int = 0
    _regrouped: set[int] = field(default_factory=set)
    # Of the replica: the position from which it must be true.
    _true_from: int = 0
    _echoed: dict[str, int] = field(default_factory=dict)
    # What the readers may see at a position, moved on with the stream, and what has been touched since it was compared.
    _truth: dict[RowKey, Any] = field(default_factory=dict)
    _truth_at: int = -1
    _touched: set[RowKey] = field(default_factory=set)
    # Rows that were looked at, which may be ahead of the stream: until where.
    _ahead: dict[RowKey, int] = field(default_factory=dict)
    _received_before_bootstrap: int = 0

    def check(self, event: Event) -> None:
        """The next thing that happened to the subscriber."""
        match event:
            case Opened():
                self._open(event)
            case Frame():
                self._frame(event)
            case Asked(last_sync_id):
                self._asked = last_sync_id
                self.replica.take(event)
            case Answered():
                self._answer(event)
            case Subscribed(groups):
                # What had been taken for the old groups may still be under way.
                self._readers = (*self._readers, self.identity.with_groups(groups))
                self._inexact_from, self._inexact_until, self._true_from = _ALWAYS, _NEVER, _NEVER
            case BootstrapAsked():
                self._received_before_bootstrap = self._last_received
            case Bootstrapped():
                self._bootstrap(event)
            case CaughtUp():
                self._catch_up(event)
            case Granted(read_at):
                if self._at is not None and self.replica.is_whole:
                    self._expect_nothing(read_at)
            case Settled(position):
                if self._at is not None and self.replica.is_whole:
                    self._expect_nothing(position)
                    self._compare(position, "when it had everything", wholly=True)

    # --- events -------------------------------------------------------------------------------------------------------

    def _open(self, event: Opened) -> None:
        self._truth_at = -1
        self._at = None
        self._early = []
        self._last_received = 0
        self._resumed_at = event.after
        self._asked = self._told_until = 0
        self._readers = (self.identity.with_groups(event.groups),)
        self._inexact_from = self._inexact_until = 0
        self.replica.take(event)

    def _frame(self, event: Frame) -> None:
        self.counts.frames += 1
        after = event.deltas[0].id - 1
        self._notice_memberships(after if self._at is None else min(after, self._at), event.deltas[-1].id)
        self._received(event.deltas)
        if self._at is None:
            self._early += event.deltas
        else:
            self._follow(event.deltas, event.deltas[-1].id)
        self._whole(event.deltas, event.size_bytes)
        self.replica.take(event)
        if self._at is not None:
            self._compare(event.deltas[-1].id, "after a frame")

    def _answer(self, event: Answered) -> None:
        position = event.current_sync_id
        if position > self.history.head:
            self._violate(f"was told of position {position}, beyond the head {self.history.head}")
        if self._at is None and not self.replica.has_asked and not event.requires_bootstrap:
            self._early += event.deltas
            self.replica.take(event)
            return
        if event.deltas and event.deltas[-1].id > position:
            # It ends inside a transaction that travels in parts: the position is where that begins.
            part = self.history.transaction_of(event.deltas[-1].id)
            if part is None or position != part.changes[0].sync_id - 1:
                self._violate(f"was told of position {position} with deltas up to {event.deltas[-1].id}")
            event = replace(event, current_sync_id=event.deltas[-1].id)
            position = event.current_sync_id
        if event.requires_bootstrap:
            self.counts.bootstraps_required += 1
            # Positions are those of whole transactions: a truncation is told as of the end of the one before it.
            self._at = max(position, self._last_received)
            self._told_until = self.history.end_of_transaction(position + 1)
            self._early = []
            self._last_received = self._at
            if self._readers[-1].follows:  # it may go on from a snapshot that has seen more than the position says
                self._be_inexact(self._at)
            self.replica.take(event)
            return
        first = event.deltas[0].id if event.deltas else None
        if self._at is None:
            self._resume(event)
        else:
            if first is not None and first <= self._at and self._asked < self._at:
                self._at = self._asked  # as it was asked for
                self._last_received = 0
            self._received(event.deltas)
            self._follow(event.deltas, position)
        self._whole(event.deltas, event.size_bytes)
        self.replica.take(event)
        self._compare(position, "after an answer", wholly=True)

    def _resume(self, event: Answered) -> None:
        """The first answer of a stream: it goes on from the cursor, from what the client said, or from its opening."""
        self.counts.resumed += 1
        position = event.current_sync_id
        came = [delta.id for delta in (*self._early, *event.deltas)]
        answered = [delta.id for delta in event.deltas]
        start = self._asked
        self._notice_memberships(
            min([start, self._resumed_at or start, *(sync_id - 1 for sync_id in came[:1])]), position
        )
        true_from_asked = self._ids_between(start, position)
        if self._resumed_at is not None and came == self._ids_between(self._resumed_at, position):
            start = self._resumed_at
        elif answered == true_from_asked:
            pass
        elif (
            self._resumed_at is None
            and set(true_from_asked) <= set(came)
            and came == self._ids_between(came[0] - 1, position)
        ):
            pass  # it goes on from its opening, which was before what the client had
        elif self._inexact_until < position:
            self._violate(
                f"resumed after {start} (cursor {self._resumed_at}) up to {position} with {_spell(came)},"
                f" should be {_spell(true_from_asked)}"
            )
        self._last_received = came[-1] if came else 0
        self._at = position
        for delta in {delta.id: delta for delta in (*self._early, *event.deltas)}.values():
            self._judge(delta)
        self._early = []

    def _bootstrap(self, event: Bootstrapped) -> None:
        self.counts.snapshots += 1
        if not event.in_stream and event.position < min(self._received_before_bootstrap, self.history.head):
            self._violate(f"rows as of {event.position}, though {self._received_before_bootstrap} had been sent before")
        reader = self.identity.with_groups(event.groups)
        self._check_rows(event, reader)
        self._readers = (*self._readers, reader) if self._inexact_until == _NEVER else (reader,)
        if self._inexact_until == _NEVER or event.in_stream:
            self._inexact_from, self._inexact_until = _ALWAYS, event.settled
        if event.in_stream:
            self._at = event.position
            self._early = []
            self._last_received = 0
        self._true_from = event.settled
        self._truth_at = -1
        self.replica.take(event)
        if event.pages == 1 and event.settled == event.position:
            self._compare(self.replica.position, "after a bootstrap", wholly=True)

    def _check_rows(self, event: Bootstrapped, reader: Identity) -> None:
        """The rows are those of one moment; with writers beside it at least each of them is of such a moment.

        Transactions become visible in another order than that of the log, so a snapshot need not be a prefix of it.
        """
        nearest: Sequence[str] = ()
        if event.pages == 1:
            positions = [event.position, *(c.sync_id for c in self.history.between(event.position, event.settled))]
            if len(positions) <= _FEW:
                for position in positions:
                    wrong = differences(event.rows, self.visible(position, (reader,)))
                    if not wrong:
                        return
                    nearest = nearest or wrong
        first, last = event.position, event.settled
        keys = self.history.at(first).keys() | {c.key for c in self.history.between(first, last)}
        for key in keys:
            if key[1] not in (None, reader.organization):
                continue
            model = self.history.schema.by_table[key[0]]
            readers = self._variants(reader, first)
            seen = [
                model.to_json(row) if row is not None and model.shows(row, variant) else None
                for row in self.history.versions_of(key, first, last)
                for variant in readers
            ]
            if any(change.action == "T" and change.model.key == key[0] for change in self.history.between(first, last)):
                seen.append(None)
            held = event.rows.get((model.typename, key[2]))
            if not any(_alike(held, version) for version in seen):
                self._violate(f"rows as of {first}..{last}: {key} never was as sent; {nearest}")
                return
        known = {(self.history.schema.by_table[key[0]].typename, key[2]) for key in keys}
        if event.rows.keys() - known:
            self._violate(f"rows as of {first}..{last}: {sorted(event.rows.keys() - known)[:5]} never existed")

    def _catch_up(self, event: CaughtUp) -> None:
        came = [delta.id for delta in event.deltas]
        right = self._ids_between(event.after, event.position)
        if came != right:
            where = f"from {event.after} to {event.position}"
            self._violate(f"caught up {where} with {_spell(came)}, should be {_spell(right)}")
        for delta in event.deltas:
            self._judge(delta)
        self.replica.take(event)
        self._compare(event.position, "after a partial bootstrap")

    # --- promises -----------------------------------------------------------------------------------------------------

    def _received(self, deltas: Sequence[Delta]) -> None:
        """Order, on one stream."""
        for delta in deltas:
            if delta.id <= self._last_received:
                self._violate(f"{delta.id} came after {self._last_received}")
            self._last_received = max(self._last_received, delta.id)

    def _follow(self, deltas: Sequence[Delta], position: int) -> None:
        """From where the stream is to `position` come these deltas and no others."""
        assert self._at is not None
        came = [delta.id for delta in deltas]
        right = self._ids_between(self._at, position)
        self._notice_memberships(self._at, position)
        if [*filter(self._is_exact, came)] != [*filter(self._is_exact, right)]:
            self._violate(f"from {self._at} to {position} came {_spell(came)}, should be {_spell(right)}")
        unsaid = self.history.between(max(self._at, self._told_until), position)
        reloaded = [c.sync_id for c in unsaid if self._reloads(c) and self._is_exact(c.sync_id)]
        if reloaded:
            self._violate(f"went from {self._at} to {position} without a word that {reloaded} have to be loaded")
        for delta in deltas:
            self._judge(delta)
        self._at = max(self._at, position)

    def _expect_nothing(self, position: int) -> None:
        assert self._at is not None
        if position > self._at:
            self._follow((), position)

    def _judge(self, delta: Delta) -> None:
        """One delta by itself: it happened, it concerns this reader, and it says what happened."""
        self.counts.deltas += 1
        self._touched.add((delta.typename, delta.row_id))
        change = self.history.find(delta.id)
        if change is None:
            self._judge_told(delta)
            return
        what = f"{delta.id} {delta.action} {delta.typename} {delta.row_id}"
        if (change.model.typename, change.key[2]) != (delta.typename, delta.row_id):
            self._violate(f"{what} is a change of {change.key}")
            return
        if change.is_cut:
            if not self.gets_rows:
                self._violate(f"{what}: the log has not all of this row")
            self._ahead[delta.typename, delta.row_id] = self.history.head
            self._judge_looked_at(delta, change.model, change.key, delta.id, what)
            return
        if self._is_exact(delta.id):
            right = [self._seen(change)]
        else:
            variants = [variant for reader in self._readers for variant in self._variants(reader, self._inexact_from)]
            right = [change.as_seen(variant) for variant in variants]
        if delta.action not in right:
            self._violate(f"{what}: this reader should see {right[-1] or 'nothing'}; it was a {change.action}")
            return
        if delta.action == "D":
            if delta.data is not None:
                self._violate(f"{what} has data")
        else:
            self._judge_data(delta, change, what)
        self._judge_echo(delta, change, what)

    def _judge_told(self, delta: Delta) -> None:
        """A row that comes or goes because a membership does: it is or was so since."""
        what = f"{delta.id} {delta.action} {delta.typename} {delta.row_id}"
        reader = self._readers[-1]
        transaction = self.history.transaction_of(delta.id)
        if transaction is None or not reader.follows or self._is_exact(delta.id):
            self._violate(f"{what} never happened")
            return
        self.counts.told += 1
        model = self.history.schema.by_typename[delta.typename]
        key = (model.key, reader.organization if model.tenant else None, delta.row_id)
        self._judge_looked_at(delta, model, key, transaction.changes[-1].sync_id, what)

    def _judge_looked_at(self, delta: Delta, model: Model, key: Key, since: int, what: str) -> None:
        """The row as somebody saw it who looked at it after `since`, whenever that was."""
        found = self.history.versions_of(key, since, self.history.head)
        variants = self._variants(self._readers[-1], since)
        if delta.action == "I":
            shown = [row for row in found if row is not None and any(model.shows(row, one) for one in variants)]
            if not any(_alike(delta.data, model.to_json(row)) for row in shown):
                self._violate(f"{what}: a reader who looked since has not seen this row")
        elif delta.action != "D" or delta.data is not None:
            self._violate(f"{what} can only be I with all fields, or D")
        elif all(model.shows(row, one) for row in found for one in variants):
            self._violate(f"{what}: the row has been visible all the time since")

    def _judge_data(self, delta: Delta, change: Change, what: str) -> None:
        assert change.after is not None
        row = change.model.to_json(change.after)
        data = dict(delta.data or {})
        wrong = [name for name in data if data[name] != row.get(name)]
        if delta.action == "I" and change.model is self.history.schema.by_typename.get(delta.typename):
            wrong += [name for name in row if name not in data and row[name] is not None]
        if wrong:
            self._violate(f"{what} has wrong {wrong}")
        groups = change.model.groups_of(change.after)
        if not set(delta.groups) <= groups or not groups & set(delta.groups):
            self._violate(f"{what} has the groups {delta.groups}, the row {sorted(groups)}")

    def _judge_echo(self, delta: Delta, change: Change, what: str) -> None:
        commit = self.history.commit_of(delta.id)
        operations = self.sent.get(commit.client_tx_id or "", ()) if commit is not None else ()
        mine = [o.transaction_id for o in operations if (o.typename, o.row_id) == (delta.typename, delta.row_id)]
        if delta.transaction_id is None:
            if mine and commit is not None:
                # A cascade may change the row besides: only where the numbers agree it is plain whose change this is.
                changes = self.history.between((commit.first_sync_id or 1) - 1, commit.last_sync_id or 0)
                if len([c for c in changes if c.key == change.key]) == len(mine):
                    self._violate(f"{what} comes without the id of its operation, one of {mine}")
            return
        if delta.transaction_id not in mine:
            self._violate(f"{what} has the id {delta.transaction_id} of another operation")
        if self._echoed.setdefault(delta.transaction_id, delta.id) != delta.id:
            self._violate(f"{what}: {delta.transaction_id} came with {self._echoed[delta.transaction_id]} before")
        self.counts.echoes += 1

    def _whole(self, deltas: Sequence[Delta], size_bytes: int) -> None:
        """A frame ends where a transaction ends, as far as this reader can tell."""
        if not deltas or size_bytes >= LARGE_BYTES:
            return
        last = deltas[-1].id
        transaction = self.history.transaction_of(last)
        if transaction is not None and (
            transaction.size_bytes >= PARTED_BYTES or len(transaction.changes) >= PARTED_CHANGES
        ):
            return
        end = self.history.end_of_transaction(last)
        end = next(
            (c.sync_id for c in self.history.between(last, end) if self._reloads(c)), end
        )  # told after the frame
        rest = self._ids_between(last, end)
        if rest and self._is_exact(last):
            self._violate(f"a frame ends with {last}, though {_spell(rest)} are of the same transaction")

    def _compare(self, position: int, when: str, *, wholly: bool = False) -> None:
        """The replica is what the reader could see at this position. `wholly`: also where nothing has happened."""
        position = max(position, self.replica.position)
        if not self.replica.is_whole or self.replica.is_opening or position < self._true_from:
            return
        self.counts.states += 1
        self._advance(position)
        held: Mapping[RowKey, Any] = self.replica.rows
        true: Mapping[RowKey, Any] = self._truth
        if not wholly:
            held = {key: held[key] for key in self._touched if key in held}
            true = {key: true[key] for key in self._touched if key in true}
        self._touched.clear()
        self._ahead = {key: until for key, until in self._ahead.items() if until > position}
        if self._ahead:
            held = {key: row for key, row in held.items() if key not in self._ahead}
            true = {key: row for key, row in true.items() if key not in self._ahead}
        wrong = differences(held, true)
        if wrong:
            self._violate(f"{when}, at {position}, the replica {'; '.join(wrong)}")

    # --- truth --------------------------------------------------------------------------------------------------------

    def _advance(self, position: int) -> None:
        """Brings the truth to a position. Going back, and another reader, cost a look at everything."""
        if not 0 <= self._truth_at <= position:
            self._truth = self.visible(position)
        else:
            if self._holding(self._readers[-1], self._truth_at) != self._holding(self._readers[-1], position):
                before, self._truth = self._truth, self.visible(position)
                self._touched |= before.keys() | self._truth.keys() | self.replica.rows.keys()
                self._truth_at = position
                return
            reader = self._holding(self._readers[-1], position)
            for change in self.history.between(self._truth_at, position):
                if change.action == "T":
                    emptied = change.model.typename
                    self._truth = {key: row for key, row in self._truth.items() if key[0] != emptied}
                elif (seen := change.as_seen(reader)) is not None:
                    key = (change.model.typename, change.key[2])
                    self._touched.add(key)
                    if seen == "D":
                        self._truth.pop(key, None)
                    else:
                        assert change.after is not None
                        self._truth[key] = change.model.to_json(change.after)
        self._truth_at = position

    def _reloads(self, change: Change) -> bool:
        """Whether the reader has to be told to bootstrap by this change."""
        if change.is_cut:
            return not self.gets_rows and self._seen(change) is not None
        readable = self.identity.readable
        return change.action in "TR" and (readable is None or change.model.typename.lower() in readable)

    def _holding(self, reader: Identity, position: int) -> Identity:
        """The reader with the groups of its memberships at a position."""
        return reader.holding(self.history.grants_at((reader.organization, reader.id), position))

    def _variants(self, reader: Identity, since: int) -> Sequence[Identity]:
        """The reader with all groups that it has held since a position, also with some lost and others not yet got."""
        member = (reader.organization, reader.id)
        before = self.history.grants_at(member, since)
        later = {grants.groups for grants in self.history.grants_since(member, since)} if reader.follows else set()
        held = {before, *later, *(before & groups for groups in later), *(before | groups for groups in later)}
        return [*{reader.holding(groups) for groups in held}]

    def reader_at(self, position: int) -> Identity:
        """Whom the stream is for at a position, with all its groups."""
        return self._holding(self._readers[-1], position)

    def _seen(self, change: Change) -> str | None:
        return change.as_seen(self._holding(self._readers[-1], change.sync_id))

    def _is_exact(self, sync_id: int) -> bool:
        return sync_id <= self._inexact_from or sync_id > self._inexact_until

    def _be_inexact(self, after: int) -> None:
        """From here on, as far as anybody can have looked who has said something by now."""
        self._inexact_from = after if after > self._inexact_until else min(self._inexact_from, after)
        self._inexact_until = max(self._inexact_until, self.history.head)
        self._true_from = max(self._true_from, self.history.head)

    def _notice_memberships(self, after: int, position: int) -> None:
        """The stream goes on to `position`, perhaps past changes of the reader's memberships."""
        reader = self._readers[-1]
        if not reader.follows:
            return
        for grants in self.history.grants_since((reader.organization, reader.id), after):
            if grants.after < position:
                self.counts.regrouped += grants.after not in self._regrouped
                self._regrouped.add(grants.after)
                self._be_inexact(grants.after)

    def _ids_between(self, after: int, until: int) -> list[int]:
        changes = self.history.between(after, until)
        return [c.sync_id for c in changes if (self.gets_rows or not c.is_cut) and self._seen(c)]

    def visible(self, position: int, readers: Sequence[Identity] = ()) -> dict[RowKey, Any]:
        """What the reader may see at a position."""
        rows: Mapping[Key, Any] = self.history.rows if position >= self.history.head else self.history.at(position)
        readers = [self._holding(reader, position) for reader in readers or self._readers[-1:]]
        found: dict[RowKey, Any] = {}
        for key, row in rows.items():
            model = self.history.schema.by_table[key[0]]
            if any(model.shows(row, reader) for reader in readers):
                found[model.typename, key[2]] = model.to_json(row)
        return found

    def _violate(self, what: str) -> None:
        self.violations.append(f"{self.name}: {what}")


_NEVER: Final = 1 << 62
_ALWAYS: Final = -1
_FEW: Final = 60


def _alike(held: Mapping[str, Any] | None, version: Mapping[str, Any] | None) -> bool:
    if held is None or version is None:
        return held is version
    return all(held.get(name) == version.get(name) for name in held.keys() | version.keys())


def _spell(sync_ids: Sequence[int]) -> str:
    shown = ", ".join(map(str, sync_ids[:12]))
    return f"[{shown}{', ..' if len(sync_ids) > 12 else ''}]"
