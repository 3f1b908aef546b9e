"""What really happened: every committed transaction in commit order, read from a slot of the oracle's own.

The parser, the state and the count of sync ids are the oracle's. It takes from the log what a DBA would: rows, the
places where a number line begins, and the ids of guarded commits; it never asks a gateway.
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson
import psycopg

from tests.oracle.schemas import Identity, Model, Row, Schema

# Numbers that no change has, behind a transaction that changes who is granted what.
RESERVED: Final = 4096
_LINE: Final = re.compile(r"line:(\d+):[0-9a-f]+")
Key = tuple[str, str | None, str]
"""Model key, organization (None for a shared model), row id."""
Member = tuple[str | None, str]
"""Organization and participant id."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change with its sync id. `action` T empties a table, R says that its rows have to be loaded anew, F that they
    have more to say to whoever comes back: `key` then names only the model. `is_cut`: the log does not have the whole
    row that comes, so who sees it has to load it.
    """

    sync_id: int
    action: str
    model: Model
    key: Key
    before: Row | None
    after: Row | None
    is_cut: bool = False

    def as_seen(self, reader: Identity) -> str | None:
        """The action that this reader must hear of, None when the change is none of its business."""
        was, now = self.model.shows(self.before, reader), self.model.shows(self.after, reader)
        if now:
            return "U" if was else "I"
        return "D" if was else None


@dataclass(frozen=True, slots=True)
class Committed:
    """A guarded commit in a transaction: its ids and the sync ids of its changes, None when it changed nothing."""

    server_tx_id: str
    client_tx_id: str | None
    first_sync_id: int | None
    last_sync_id: int | None


@dataclass(frozen=True, slots=True)
class Transaction:
    """A committed transaction. The sync ids of its changes are consecutive; `size_bytes` is its size in the log.

    `reserved` sync ids after its last change are its own, too.
    """

    xid: int
    changes: tuple[Change, ...]
    commits: tuple[Committed, ...] = ()
    size_bytes: int = 0
    reserved: int = 0

    @property
    def end(self) -> int:
        """Its last sync id."""
        return self.changes[-1].sync_id + self.reserved


@dataclass(frozen=True, slots=True)
class Grants:
    """Since a transaction that concerns a participant, which begins after `after`, memberships grant it `groups`."""

    after: int
    groups: frozenset[str]


@dataclass(slots=True)
class History:
    """Everything that was committed so far. `schema` is that of the newest version."""

    schema: Schema
    head: int = 0
    transactions: list[Transaction] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    commits: dict[str, Committed] = field(default_factory=dict)
    repeated_keys: list[str] = field(default_factory=list)
    bases: list[int] = field(default_factory=list)  # of number lines
    rows: dict[Key, Row] = field(default_factory=dict)
    _ids: list[int] = field(default_factory=list)
    _in_order: list[Committed] = field(default_factory=list)
    _of: list[Transaction] = field(default_factory=list)  # per change
    _versions: dict[Key, list[tuple[int, Row | None]]] = field(default_factory=dict)
    _memberships: dict[Key, tuple[Member, str]] = field(default_factory=dict)
    _grants: dict[Member, list[Grants]] = field(default_factory=dict)

    def begin_line(self, base: int) -> None:
        """The next change gets the number after `base`."""
        assert base >= self.head, f"a number line begins at {base}, below {self.head}"
        self.head = base
        self.bases.append(base)

    def add(self, transaction: Transaction) -> None:
        """The next transaction in commit order."""
        self.transactions.append(transaction)
        for commit in transaction.commits:
            name = commit.client_tx_id or commit.server_tx_id
            if commit.last_sync_id is None:  # a refusal may leave its message here, once for each attempt
                self.commits.setdefault(name, commit)
                continue
            if name in self.commits and self.commits[name].last_sync_id is not None:
                self.repeated_keys.append(name)
            self.commits[name] = commit
            self._in_order.append(commit)
        begun_after, concerned = self.head, set[Member]()
        for change in transaction.changes:
            assert change.sync_id == self.head + 1, (change.sync_id, self.head)
            if change.model.grants is not None:
                concerned |= self._concerned(change)
            self.head = change.sync_id
            self.changes.append(change)
            self._ids.append(change.sync_id)
            self._of.append(transaction)
            if change.action == "T":
                for key in [key for key in self.rows if key[0] == change.model.key]:
                    self._put(key, change.sync_id, None)
            elif change.action not in "RF":
                self._put(change.key, change.sync_id, change.after)
        self.head += transaction.reserved
        for member in concerned:
            groups = frozenset(group for holder, group in self._memberships.values() if holder == member)
            self._grants.setdefault(member, []).append(Grants(begun_after, groups))

    def _concerned(self, change: Change) -> set[Member]:
        """Takes a change of a membership; whom it concerns."""
        if change.action in "TR":  # a table of memberships that is loaded anew concerns all whom it names
            found = {member for key, (member, _) in self._memberships.items() if key[0] == change.model.key}
            if change.action == "T":
                self._memberships = {
                    key: value for key, value in self._memberships.items() if key[0] != change.model.key
                }
            return found
        before, after = change.model.granted(change.before), change.model.granted(change.after)
        self._memberships.pop(change.key, None)
        if after is not None:
            self._memberships[change.key] = (change.key[1], after[0]), after[1]
        return set() if before == after else {(change.key[1], held[0]) for held in (before, after) if held is not None}

    def grants_at(self, member: Member, position: int) -> frozenset[str]:
        """The groups that memberships grant a participant at a position, or inside a transaction by that one."""
        found = self._grants.get(member, [])
        index = bisect_left(found, position, key=lambda grants: grants.after) - 1
        return found[index].groups if index >= 0 else frozenset()

    def grants_since(self, member: Member, after: int) -> Sequence[Grants]:
        """The changes of a participant's memberships by transactions that end after a position."""
        found = self._grants.get(member, [])
        return [grants for grants in found if self.end_of_transaction(grants.after + 1) > after]

    def _put(self, key: Key, sync_id: int, row: Row | None) -> None:
        if row is None:
            self.rows.pop(key, None)
        else:
            self.rows[key] = row
        self._versions.setdefault(key, []).append((sync_id, row))

    def between(self, after: int, until: int) -> Sequence[Change]:
        """The changes with `after < sync id <= until`."""
        return self.changes[bisect_right(self._ids, after) : bisect_right(self._ids, until)]

    def find(self, sync_id: int) -> Change | None:
        """The change with this number; None when there is none."""
        index = bisect_right(self._ids, sync_id) - 1
        return self.changes[index] if index >= 0 and self._ids[index] == sync_id else None

    def commit_of(self, sync_id: int) -> Committed | None:
        """The guarded commit that made this change; None for a direct write."""
        index = bisect_left(self._in_order, sync_id, key=lambda commit: commit.last_sync_id or 0)
        if index == len(self._in_order) or (self._in_order[index].first_sync_id or 0) > sync_id:
            return None
        return self._in_order[index]

    def transaction_of(self, sync_id: int) -> Transaction | None:
        """The transaction that this sync id belongs to."""
        index = bisect_right(self._ids, sync_id) - 1
        return self._of[index] if index >= 0 and sync_id <= self._of[index].end else None

    def end_of_transaction(self, sync_id: int) -> int:
        """The last sync id of the transaction that this one belongs to."""
        found = self.transaction_of(sync_id)
        return sync_id if found is None else found.end

    def at(self, position: int) -> dict[Key, Row]:
        """All rows as they were after this sync id."""
        found: dict[Key, Row] = {}
        for key, versions in self._versions.items():
            index = bisect_right(versions, position, key=lambda version: version[0]) - 1
            row = versions[index][1] if index >= 0 else None
            if row is not None:
                found[key] = row
        return found

    def versions_of(self, key: Key, first: int, last: int) -> list[Row | None]:
        """What the row was at some moment from `first` to `last`."""
        versions = self._versions.get(key, [])
        index = bisect_right(versions, first, key=lambda version: version[0]) - 1
        found: list[Row | None] = [versions[index][1] if index >= 0 else None]
        return found + [row for sync_id, row in versions[index + 1 :] if sync_id <= last]


# --- the log ----------------------------------------------------------------------------------------------------------


class _Reader:
    """Takes fields off a pgoutput message (protocol version 1)."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from("!" + layout, self._data, self._at)
        self._at += struct.calcsize("!" + layout)
        return values

    def string(self) -> str:
        end = self._data.index(0, self._at)
        text = self._data[self._at : end].decode()
        self._at = end + 1
        return text

    def raw(self, size: int) -> bytes:
        self._at += size
        return self._data[self._at - size : self._at]

    def row(self, columns: Sequence[str]) -> dict[str, str | None]:
        """Columns that the log left out because they did not change are not in the result."""
        (count,) = self.take("h")
        found: dict[str, str | None] = {}
        for name in columns[:count]:
            (kind,) = self.take("c")
            if kind == b"n":
                found[name] = None
            elif kind == b"t":
                (size,) = self.take("i")
                found[name] = self.raw(size).decode()
        return found


@dataclass(slots=True)
class _Open:
    """The transaction that is being read."""

    xid: int
    changes: list[Change] = field(default_factory=list)
    commits: list[tuple[str, str | None, int]] = field(default_factory=list)  # the count of changes before each
    size_bytes: int = 0
    line: int | None = None
    version: int | None = None


class LogReader:
    """Follows a logical slot into a History. `schemas` are the versions in the order of their pushes, from 1."""

    def __init__(self, conninfo: str, slot: str, history: History, schemas: list[Schema]) -> None:
        self._conninfo = conninfo
        self._slot = slot
        self._history = history
        self._schemas = schemas
        self._relations: dict[int, tuple[str, list[str]]] = {}
        self._read_until = 0
        self._is_placed = False
        self._rows: dict[Key, Row] = {}
        self._open: _Open | None = None

    def create(self) -> None:
        """Makes the slot; what is written before that is not known."""
        with psycopg.connect(self._conninfo, autocommit=True) as connection:
            connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [self._slot])

    def poll(self) -> None:
        """Reads everything that is committed by now. A crash of the server may repeat some, which is passed over."""
        options = "-c TimeZone=UTC -c DateStyle=ISO -c IntervalStyle=postgres -c extra_float_digits=3"
        call = (
            "SELECT lsn - '0/0', data FROM pg_logical_slot_get_binary_changes(%s, NULL, NULL,"
            " 'proto_version', '1', 'publication_names', 'pgsync', 'messages', 'true')"
        )
        with psycopg.connect(self._conninfo, autocommit=True, options=options) as connection:
            for lsn, data in connection.execute(call, [self._slot]).fetchall():
                self._take(int(lsn), bytes(data))

    def _take(self, lsn: int, data: bytes) -> None:
        reader = _Reader(data)
        (kind,) = reader.take("c")
        if kind == b"B":
            _, _, xid = reader.take("qqi")
            self._open = _Open(xid)
        elif kind == b"C":
            _, commit_lsn, _, _ = reader.take("bqqq")
            transaction, self._open = self._open, None
            assert transaction is not None
            if commit_lsn > self._read_until:
                self._read_until = commit_lsn
                self._end(transaction)
        elif kind == b"R":
            oid, _, table, _, count = reader.take("i")[0], reader.string(), reader.string(), *reader.take("bh")
            columns = []
            for _ in range(count):
                reader.take("b")
                columns.append(reader.string())
                reader.take("ii")
            self._relations[oid] = (table, columns)
        elif kind == b"M":
            transactional, _, prefix = *reader.take("bq"), reader.string()
            (size,) = reader.take("i")
            if prefix == "pgsync" and transactional & 1 and self._open is not None:
                self._message(self._open, orjson.loads(reader.raw(size)))
        elif kind in (b"I", b"U", b"D", b"T"):
            assert self._open is not None
            self._open.size_bytes += len(data)
            if kind == b"T":
                count, _ = reader.take("ib")
                for oid in reader.take("i" * count):
                    self._change(self._open, "T", oid, None, None)
            else:
                self._row_change(self._open, kind.decode(), reader)
        assert lsn >= 0

    def _row_change(self, transaction: _Open, action: str, reader: _Reader) -> None:
        (oid,) = reader.take("i")
        columns = self._relations[oid][1]
        old: Row | None = None
        new: Row | None = None
        (part,) = reader.take("c")
        is_whole = part == b"O"
        if part in (b"K", b"O"):
            old = reader.row(columns)
            if action == "U":
                (part,) = reader.take("c")
        if part == b"N":
            new = reader.row(columns)
            is_whole = is_whole or len(new) == len(columns)
        self._change(transaction, action, oid, old, new, is_whole=is_whole)

    def _change(
        self, transaction: _Open, action: str, oid: int, old: Row | None, new: Row | None, *, is_whole: bool = True
    ) -> None:
        table, columns = self._relations[oid]
        model = self._history.schema.by_table.get(table)
        if model is None:
            return
        if action == "T":
            self._note(transaction, Change(0, "T", model, (model.key, None, ""), None, None))
            return
        # Of the old row only the key is taken from the log: what it held before, the oracle knows.
        key_before = model.key_of(old) if old is not None else model.key_of(new or {})
        before = self._current(transaction, key_before)
        if action == "D":
            self._note(transaction, Change(0, "D", model, key_before, before, None))
            return
        assert new is not None
        after = {name: new[name] if name in new else (before or {}).get(name) for name in columns}
        key = model.key_of(after)
        if action == "U" and key != key_before:
            self._note(transaction, Change(0, "D", model, key_before, before, None))
            self._note(transaction, Change(0, "I", model, key, None, after, not is_whole))
        else:
            self._note(transaction, Change(0, action, model, key, before if action == "U" else None, after))

    def _current(self, transaction: _Open, key: Key) -> Row | None:
        """The row as this transaction sees it."""
        for change in reversed(transaction.changes):
            if change.action == "T" and change.model.key == key[0]:
                return None
            if change.key == key:
                return change.after
        return self._history.rows.get(key)

    @staticmethod
    def _note(transaction: _Open, change: Change) -> None:
        transaction.changes.append(change)

    def _message(self, transaction: _Open, said: Any) -> None:
        match said:
            case {"t": "c", "id": str(server_tx_id)}:
                transaction.commits.append((server_tx_id, said.get("key"), len(transaction.changes)))
            case {"t": "s", "version": int(version)}:
                transaction.version = version
            case {"t": "r", "models": list(keys)}:
                for model in [model for key in keys for model in self._history.schema.models if model.key == key]:
                    action = "F" if model.key in said.get("added", ()) else "R"
                    self._note(transaction, Change(0, action, model, (model.key, None, ""), None, None))
            case {"t": "a", "id": str(anchor)} if (found := _LINE.fullmatch(anchor)) is not None:
                transaction.line = int(found[1])

    def _end(self, opened: _Open) -> None:
        history = self._history
        if opened.line is not None:
            history.begin_line(opened.line)
            self._is_placed = True
        if opened.changes:
            assert self._is_placed, "rows were written before the first gateway had begun to count"
        head = history.head
        changes = tuple(replace(c, sync_id=head + number) for number, c in enumerate(opened.changes, start=1))
        starts = [count for _, _, count in opened.commits] + [len(changes)]
        commits = tuple(
            Committed(server_tx_id, key, head + count + 1, head + starts[i + 1])
            if starts[i + 1] > count
            else Committed(server_tx_id, key, None, None)
            for i, (server_tx_id, key, count) in enumerate(opened.commits)
        )
        if changes or commits:
            is_membership = any(
                c.action not in "TR" and c.model.granted(c.before) != c.model.granted(c.after) for c in changes
            )
            reserved = RESERVED if is_membership else 0
            history.add(Transaction(opened.xid, changes, commits, opened.size_bytes, reserved))
        if opened.version is not None and opened.version <= len(self._schemas):
            history.schema = self._schemas[opened.version - 1]
