"""Messages of the stream to transactions: which model, which row, who did it, who may see it.

Pure and in stream order: the same messages under the same schema version give the same changes, on every gateway. A
transaction that is larger than a bound is handed on in parts, so that memory does not depend on what somebody commits.
"""

from __future__ import annotations

import re
import struct
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, TypeAlias

import orjson

from pgsync.expression import Reader, compile_rule, rule_of
from pgsync.models import EMPTY, ActiveSchema, Field, Kind, Model
from pgsync.names import MESSAGE_PREFIX
from pgsync.stream.decode import (
    Begin,
    Commit,
    Delete,
    Insert,
    LogicalMessage,
    Message,
    Relation,
    Truncate,
    Update,
    decode_message,
    leading_values,
    tuple_encoder,
)
from pgsync.stream.transaction import (
    RESERVED_SYNC_IDS,
    UNKNOWN_ORIGIN,
    Change,
    Columns,
    Judged,
    Membership,
    Notice,
    Origin,
    RuleRow,
    Transaction,
)
from pgsync.values import UNCHANGED, RowEncoder, Value, field_encoders, row_encoder

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_SNAPSHOT: Final = re.compile(r"\d+:\d+:(\d+(,\d+)*)?")
_XID_BITS: Final = 32
# A transaction that grows beyond one of these comes in parts, each of about this size.
PART_BYTES: Final = 1 << 20
PART_CHANGES: Final = 4096
_VALUE_BYTES: Final = 45  # what Python needs for a value that was taken out of its message, about
_CACHED_GROUPS: Final = 10_000
_ROW: Final = struct.Struct(">BIB").unpack_from
_NEW: Final = ord("N")
_OLD: Final = ord("O")  # all of it, where a K has the key only
_INSERT: Final = ord("I")
_UPDATE: Final = ord("U")
_DELETE: Final = ord("D")
_ROWS: Final = frozenset({_INSERT, _UPDATE, _DELETE})
_NOTICES: Final = frozenset({"p", "k"})
# Anybody may write messages. Of more than this in one transaction, the later ones are passed over.
NOTICES_BYTES: Final = 4 << 20
_NOTICE_BYTES: Final = 1000  # what Python needs for a notice beside its text, about

_NO_IDS: Final[dict[tuple[str, str], deque[str]]] = {}

Row: TypeAlias = Sequence[Value]


class StreamOrderError(ValueError):
    """Messages in an order that no Postgres sends."""


@dataclass(slots=True)
class Group:
    """A transaction, or a part of one, and what it says to the stream itself.

    The changes of a transaction are numbered from 1 until it gets its place. `schema_version`: from the end of this
    transaction on, the models of that version apply. `anchors`: ids of the anchors in it; those in a transaction that
    changes rows do not count, so an anchor never lies inside of what is counted.
    """

    transaction: Transaction
    schema_version: int | None = None
    anchors: tuple[str, ...] = ()


class _Table:
    """What the stream needs to know of one table of a model, worked out once per relation and schema version.

    Columns are found by name: one that was added by hand is ignored. `missing` are the columns of fields that are
    gone, by a drop or under another name. Raises ValueError when that of the id or of the tenant is among them: nobody
    could say whose a row is.
    """

    __slots__ = (
        "columns",
        "encode",
        "encode_message",
        "field_indices",
        "grants",
        "groups",
        "id_index",
        "keys",
        "layout",
        "leading",
        "matches",
        "missing",
        "model",
        "owners",
        "rule_columns",
        "tenant_index",
    )

    def __init__(self, model: Model, relation: Relation) -> None:
        columns = [column.name for column in relation.columns]
        self.columns = len(columns)
        self.model = model
        types = {column.name: column.type_oid for column in relation.columns}
        fields = tuple(_as_it_is(field, types.get(field.column, 0)) for field in model.fields)
        typed = replace(model, fields=fields)
        encoders = field_encoders(typed, columns)
        self.encode: RowEncoder = row_encoder(typed, columns)
        self.layout = Columns({column: index for index, column in enumerate(columns)}, self.encode)
        self.encode_message = tuple_encoder(encoders)
        self.field_indices = [index for index, *_ in encoders]
        self.missing = tuple(field.column for field in model.fields if field.column not in types)
        self.id_index = columns.index(model.id_column)
        self.tenant_index = None if model.tenant_column is None else columns.index(model.tenant_column)
        self.groups = [(f"{g.kind}:", columns.index(g.column)) for g in model.groups if g.column in columns]
        self.keys = frozenset(i for i, column in enumerate(relation.columns) if column.is_key)
        self.grants: tuple[int, int, str] | None = None
        granted = model.grants
        if granted is not None and {granted.subject_column, granted.scope_column} <= set(columns):
            places = columns.index(granted.subject_column), columns.index(granted.scope_column)
            self.grants = (*places, f"{granted.kind}:")
        rule = rule_of(model)
        self.matches = None
        self.rule_columns: list[tuple[str, int]] = []
        if rule is not None:
            if set(rule.columns) <= set(columns):
                self.matches = compile_rule(rule)
                self.rule_columns = [(column, columns.index(column)) for column in rule.columns]
            else:
                self.matches = _nobody  # a column of the rule is gone: nobody can say who may see a row
        # Of a row that no rule judges, so many first values say which it is and who may see it.
        needed = [self.id_index, *(index for _, index in self.groups)]
        self.leading = 1 + max([*needed, -1 if self.tenant_index is None else self.tenant_index])
        self.owners: dict[Value, tuple[str, tuple[str, ...]]] = {}

    def judged(self, row: Row | None, previous: Row | None) -> Judged | None:
        if self.matches is None:
            return None
        return Judged(self.matches, self._rule_row(row), self._rule_row(previous))

    def _rule_row(self, row: Row | None) -> RuleRow | None:
        if row is None:
            return None
        found: dict[str, str | None] = {}
        for column, index in self.rule_columns:
            value = row[index]
            if value is UNCHANGED:
                return None
            found[column] = value.decode() if isinstance(value, bytes) else None
        return found

    def membership(self, old: Row | None, new: Row | None, *, is_known: bool = True) -> Membership | None:
        """What a change of a row that grants a group says; None when it leaves that as it was."""
        if self.grants is None:
            return None
        before, after = self._granted(old), self._granted(new)
        return Membership(before, after, is_known) if before != after or not is_known else None

    def _granted(self, row: Row | None) -> tuple[str, str] | None:
        if row is None or self.grants is None:
            return None
        subject, scope, kind = self.grants
        participant, value = row[subject], row[scope]
        if not isinstance(participant, bytes) or not isinstance(value, bytes):
            return None
        return participant.decode(), kind + value.decode()

    def row_id(self, row: Row) -> str:
        return _text(row[self.id_index])

    def organization(self, row: Row) -> str | None:
        return None if self.tenant_index is None else _text(row[self.tenant_index])

    def groups_of(self, row: Row, organization: str | None) -> tuple[str, ...]:
        """A model without groups of its own shows its rows to the whole organization."""
        if not self.model.groups:
            return () if organization is None else (f"org:{organization}",)
        return tuple(f"{kind}{value.decode()}" for kind, index in self.groups if isinstance(value := row[index], bytes))

    def owner(self, row: Row) -> tuple[str | None, tuple[str, ...]]:
        """`organization` and `groups_of`, the same objects for all rows of an organization where that is all it is."""
        if self.tenant_index is None or self.model.groups:
            organization = self.organization(row)
            return organization, self.groups_of(row, organization)
        value = row[self.tenant_index]
        found = self.owners.get(value)
        if found is None:
            if len(self.owners) >= _CACHED_GROUPS:
                self.owners.clear()
            text = _text(value)
            found = self.owners[value] = (text, (f"org:{text}",))
        return found


def _nobody(row: RuleRow, reader: Reader) -> bool:
    return False


# The kinds that are not any text, and the built-in types that they are right for (pg_type.dat).
_TYPES_OF_KIND: Final = {
    (Kind.INTEGER, False): frozenset({20, 21, 23, 26}),
    (Kind.INTEGER, True): frozenset({1005, 1007, 1016, 1028}),
    (Kind.FLOAT, False): frozenset({700, 701}),
    (Kind.FLOAT, True): frozenset({1021, 1022}),
    (Kind.DECIMAL, False): frozenset({20, 21, 23, 1700}),
    (Kind.DECIMAL, True): frozenset({1005, 1007, 1016, 1231}),
    (Kind.JSON, False): frozenset({114, 3802}),
    (Kind.JSON, True): frozenset({199, 3807}),
    (Kind.BOOLEAN, False): frozenset({16}),
    (Kind.BOOLEAN, True): frozenset({1000}),
    (Kind.DATE, False): frozenset({1082}),
    (Kind.DATE, True): frozenset({1182}),
    (Kind.UUID, False): frozenset({2950}),
    (Kind.UUID, True): frozenset({2951}),
    (Kind.BYTES, False): frozenset({17}),
    (Kind.BYTES, True): frozenset({1001}),
    (Kind.TIMESTAMPTZ, False): frozenset({1184}),
    (Kind.TIMESTAMPTZ, True): frozenset({1185}),
    (Kind.TIMESTAMP, False): frozenset({1114}),
    (Kind.TIMESTAMP, True): frozenset({1115}),
}
_FIRST_OID_OF_USERS: Final = 16384
# What `format_type` says of those types. Of any other (a domain) the schema knows what it is made of.
_BUILT_IN: Final = re.compile(
    r"(smallint|integer|bigint|oid|real|double precision|numeric|jsonb?|boolean|date|uuid|bytea"
    r"|timestamp(\(\d\))? with(out)? time zone)(\(\d+(,-?\d+)?\))?(\[\])?"
)


def _as_it_is(field: Field, type_oid: int) -> Field:
    """The field, as text when somebody has given its column a type whose text is not that of its kind."""
    right = _TYPES_OF_KIND.get((field.kind, field.array))
    if right is None or type_oid in right:
        return field
    if type_oid >= _FIRST_OID_OF_USERS and _BUILT_IN.fullmatch(field.sql_type) is None:
        return field
    return replace(field, kind=Kind.TEXT, array=False)


@lru_cache(maxsize=256)
def _direct_origin(role: str) -> Origin:
    """Who made a direct write; one object for all that a role writes."""
    return Origin(actor=("system", role))


def _text(value: Value) -> str:
    return value.decode() if isinstance(value, bytes) else ""


class Grouper:
    """Collects messages until a transaction, or a part of a large one, is whole.

    `reference_xid` is any recent 64-bit transaction id: the stream carries only the lower half of them. A message under
    our prefix counts when it has `message_token`, which only this database's functions know; None: any does.
    `unusable` are the keys of models whose table has lost the column of the id or of the tenant: their changes are
    passed over.
    """

    def __init__(
        self,
        schema: ActiveSchema = EMPTY,
        *,
        reference_xid: int = 3,
        message_token: str | None = None,
        part_bytes: int = PART_BYTES,
        part_changes: int = PART_CHANGES,
    ) -> None:
        self._schema = schema
        self._part_bytes = part_bytes
        self._part_changes = part_changes
        self._relations: dict[int, Relation] = {}
        self._tables: dict[int, _Table | None] = {}
        self.reference_xid = reference_xid
        self._message_token = message_token
        self.unusable: set[str] = set()
        self._begin: Begin | None = None
        self._xid = 0
        self._committed_at = ""
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            Insert: self._insert,
            Update: self._update,
            Delete: self._delete,
            LogicalMessage: self._message,
            Relation: self._relation,
            Truncate: self._truncate,
        }
        self._seconds = -1
        self._seconds_text = ""
        self._reset()

    @property
    def schema(self) -> ActiveSchema:
        """The version whose models apply now."""
        return self._schema

    @schema.setter
    def schema(self, schema: ActiveSchema) -> None:
        self._schema = schema
        self._tables.clear()
        self.unusable.clear()

    @property
    def is_inside(self) -> bool:
        """Whether a transaction has begun and not ended."""
        return self._begin is not None

    def _reset(self) -> None:
        self._changes: list[Change] = []
        self._before = 0
        self._commits: list[tuple[str, int]] = []
        self._origin = UNKNOWN_ORIGIN
        self._ids = _NO_IDS
        self._snapshot: str | None = None
        self._anchors: tuple[str, ...] = ()
        self._version: int | None = None
        self._notices: list[dict[str, Any]] = []
        self._notices_bytes = 0
        self._size_bytes = 0
        self._reserved = 0

    def forget(self) -> None:
        """Start over after the connection was lost: an unfinished transaction comes again, and so do the relations."""
        self._begin = None
        self._relations.clear()
        self._tables.clear()
        self._reset()

    def take(self, data: bytes) -> Group | None:
        """As `feed`, of a message as it came. Most rows are not decoded before somebody wants to see them."""
        kind = data[0] if data else 0
        if kind in _ROWS and self._row(kind, data):
            return self._part() if self._is_large() else None
        return self.feed(decode_message(data), len(data))

    def feed(self, message: Message, size_bytes: int = 0) -> Group | None:
        """The transaction that this message ends, or the part of one that it fills. `size_bytes` is its own size."""
        kind = type(message)
        if kind is Begin:
            if self._begin is not None:
                raise StreamOrderError("a transaction begins inside another")
            assert isinstance(message, Begin)
            self._begin = message
            self._xid = widen(message.xid, self.reference_xid)
            self.reference_xid = max(self.reference_xid, self._xid)
            self._committed_at = self._time(message.committed_at)
            return None
        if kind is Commit:
            assert isinstance(message, Commit)
            return self._commit(message)
        if kind is not Relation:  # which stays, and comes again with a new connection
            self._size_bytes += size_bytes
        handler = self._handlers.get(kind)
        if handler is not None:
            handler(message)
        return self._part() if self._is_large() else None

    def _is_large(self) -> bool:
        return len(self._changes) >= self._part_changes or (
            self._size_bytes >= self._part_bytes and len(self._changes) > 0
        )

    # ------------------------------------------------------------------ rows

    def _table(self, oid: int) -> _Table | None:
        """The table of a change, None when it belongs to no model: then the change does not count."""
        if self._begin is None:
            raise StreamOrderError("a change outside of any transaction")
        try:
            return self._tables[oid]
        except KeyError:
            relation = self._relations.get(oid)
            if relation is None:
                raise StreamOrderError(f"a change of relation {oid}, which was never described") from None
            model = self._schema.of_table(relation.namespace, relation.name)
            table = None
            if model is not None:
                try:
                    table = _Table(model, relation)
                except ValueError:
                    self.unusable.add(model.key)
            self._tables[oid] = table
            return table

    def _add(
        self,
        table: _Table,
        action: str,
        row_id: str,
        organization: str | None,
        groups: tuple[str, ...],
        encode: Callable[..., bytes] | None,
        row: object = None,
        previous_groups: tuple[str, ...] | None = None,
        judged: Judged | None = None,
        membership: Membership | None = None,
        previous_row: object = None,
    ) -> None:
        if table.missing:
            # Rows without the columns of some fields are no rows of the model. That somebody has to push is told beside
            # the stream, and everybody loads the rows anew when the table fits again (`pgsync.watch_tables_v1`).
            action, groups, encode, row, previous_groups, judged = "S", (), None, None, None, None
        transaction_id = None
        if self._ids and (waiting := self._ids.get((table.model.key, row_id))):
            transaction_id = waiting.popleft()
        if membership is not None:
            self._reserved = RESERVED_SYNC_IDS
        changes = self._changes
        changes.append(
            Change(
                self._before + len(changes) + 1,
                action,
                table.model,
                row_id,
                organization,
                groups,
                self._origin,
                transaction_id,
                encode,
                row,
                previous_groups,
                judged,
                membership,
                table.layout,
                previous_row,
            )
        )

    def _row(self, kind: int, data: bytes) -> bool:
        """A change whose message is kept as it is; False when the row has to be decoded to tell what has happened."""
        try:
            _, oid, tuple_kind = _ROW(data)
        except struct.error:
            return False
        table = self._table(oid)
        if table is None:
            return True
        if table.matches is not None or table.grants is not None:
            return False
        if kind == _DELETE:
            row = leading_values(data, table.leading)
            organization, groups = table.owner(row)
            self._size_bytes += len(data)
            before = data if tuple_kind == _OLD else None
            self._add(table, "D", table.row_id(row), organization, groups, None, previous_row=before)
            return True
        if tuple_kind != _NEW:
            return False
        row = leading_values(data, table.leading)
        organization, groups = table.owner(row)
        action = "I" if kind == _INSERT else "U"
        self._size_bytes += len(data)
        self._add(table, action, table.row_id(row), organization, groups, table.encode_message, data)
        return True

    def _insert(self, message: Insert) -> None:
        table = self._table(message.relation)
        if table is not None:
            row = message.new
            organization, groups = table.owner(row)
            self._size_bytes += _VALUE_BYTES * table.columns
            self._add(
                table,
                "I",
                table.row_id(row),
                organization,
                groups,
                table.encode,
                row,
                judged=table.judged(row, None),
                membership=table.membership(None, row),
            )

    def _delete(self, message: Delete) -> None:
        table = self._table(message.relation)
        if table is not None:
            row = message.old
            organization, groups = table.owner(row)
            before = row if message.full else None
            judged = table.judged(None, before)
            membership = table.membership(before, None, is_known=message.full)
            self._add(
                table,
                "D",
                table.row_id(row),
                organization,
                groups,
                None,
                judged=judged,
                membership=membership,
                previous_row=before,
            )

    def _update(self, message: Update) -> None:
        table = self._table(message.relation)
        if table is None:
            return
        new, old = message.new, message.old
        self._size_bytes += _VALUE_BYTES * table.columns
        if old is None:
            organization, groups = table.owner(new)
            judged = table.judged(new, None)
            membership = table.membership(None, new, is_known=False)
            row_id = table.row_id(new)
            self._add(table, "U", row_id, organization, groups, table.encode, new, judged=judged, membership=membership)
            return
        old_member = old if message.full else None
        if message.full:
            self._size_bytes += _VALUE_BYTES * table.columns  # kept beside the new row
        # Where the new row leaves a value out, the old one has it, if the log has the old row. With an old key only,
        # the columns beside it are unknown, which must not pass for NULL: then they are taken as the new row has them.
        before: Row
        whole: Row
        if message.full:
            before, whole = old, new
            if UNCHANGED in new:
                whole = tuple(o if n is UNCHANGED else n for n, o in zip(new, old, strict=True))
        else:
            keys = [i in table.keys for i in range(len(old))]
            whole = [o if n is UNCHANGED and k else n for n, o, k in zip(new, old, keys, strict=True)]
            before = [o if k else n for n, o, k in zip(whole, old, keys, strict=True)]
        row_id = table.row_id(whole)
        organization, groups = table.owner(whole)
        old_id = table.row_id(before)
        old_organization, old_groups = table.owner(before)
        if old_id != row_id or old_organization != organization:
            judged = table.judged(None, before if message.full else None)
            membership = table.membership(old_member, None, is_known=message.full)
            self._add(
                table,
                "D",
                old_id,
                old_organization,
                old_groups,
                None,
                judged=judged,
                membership=membership,
                previous_row=old_member,
            )
            judged = table.judged(whole, None)
            membership = table.membership(None, whole)
            if any(whole[index] is UNCHANGED for index in table.field_indices):
                # A large value that did not change is not in the log beside a key that did.
                self._add(table, "R", row_id, organization, groups, None, judged=judged, membership=membership)
            else:
                self._add(
                    table, "I", row_id, organization, groups, table.encode, whole, judged=judged, membership=membership
                )
        else:
            self._add(
                table,
                "U",
                row_id,
                organization,
                groups,
                table.encode,
                # Where somebody may begin to see the row, who then gets all of it.
                whole if table.matches is not None or old_groups != groups else new,
                None if old_groups == groups else old_groups,
                table.judged(whole, before if message.full else None),
                table.membership(old_member, whole, is_known=message.full),
                old_member,
            )

    def _reload(self, key: str, action: str) -> None:
        """Rows of a model are others, or more, without the log saying which."""
        model = next((model for model in self._schema.models if model.key == key), None)
        if model is not None:
            number = self._before + len(self._changes) + 1
            self._changes.append(Change(number, action, model, "", None, (), self._origin, None, None))

    def _truncate(self, message: Truncate) -> None:
        for oid in message.relations:
            table = self._table(oid)
            if table is not None:
                self._add(table, "T", "", None, (), None)

    def _relation(self, relation: Relation) -> None:
        self._relations[relation.oid] = relation
        self._tables.pop(relation.oid, None)

    # ------------------------------------------------------------------ messages of our own

    def _message(self, message: LogicalMessage) -> None:
        if message.prefix != MESSAGE_PREFIX or not message.transactional or self._begin is None:
            return
        try:
            said = orjson.loads(message.content)
            if self._message_token is not None and said.pop("w") != self._message_token:
                return  # anybody may write under our prefix
            kind = said["t"]
            if kind == "c":
                self._begin_commit(said)
            elif kind == "d":
                origin = _direct_origin(str(said["role"]))
                self._end_commit()
                self._origin = origin
                self._ids = _NO_IDS
            elif kind == "s":
                self._version = int(said["version"])
            elif kind == "r":
                added = frozenset(said.get("added", ()))
                for key in said["models"]:
                    self._reload(key, "F" if key in added else "T")
            elif kind == "a":
                self._anchors += (str(said["id"]),)
            elif kind in _NOTICES:
                self._notices_bytes += len(message.content) + _NOTICE_BYTES
                if self._notices_bytes <= NOTICES_BYTES:
                    self._notices.append(said)
            snapshot = said.get("snap")
            if snapshot is not None and _SNAPSHOT.fullmatch(snapshot):
                self._snapshot = snapshot
        except (ValueError, KeyError, TypeError, AttributeError):
            return  # what is not ours says nothing

    def _begin_commit(self, said: dict[str, Any]) -> None:
        actor, on_behalf_of = said["actor"], said.get("obo")
        origin = Origin(
            actor=(str(actor["kind"]), str(actor["id"])),
            on_behalf_of=None if on_behalf_of is None else (str(on_behalf_of["kind"]), str(on_behalf_of["id"])),
            capability_id=_text_or_none(said.get("cap")),
            server_tx_id=str(said["id"]),
            client_tx_id=_text_or_none(said.get("key")),
        )
        ids: dict[tuple[str, str], deque[str]] = {}
        for model, row_id, transaction_id in said.get("ops") or ():
            ids.setdefault((model, row_id), deque()).append(str(transaction_id))
        self._end_commit()
        self._origin, self._ids = origin, ids
        self._commits.append((str(said["id"]), 0))

    def _end_commit(self) -> None:
        """The changes so far are all that belong to the commit before."""
        if self._commits and self._origin.server_tx_id is not None:
            self._commits[-1] = (self._commits[-1][0], self._before + len(self._changes))

    # ------------------------------------------------------------------ the end

    def _part(self) -> Group:
        """What there is of a transaction so far, to be followed by the rest."""
        changes, self._changes = self._changes, []
        size_bytes, self._size_bytes = self._size_bytes, 0
        before = self._before
        self._before += len(changes)
        transaction = Transaction(
            self._xid,
            0,
            self._committed_at,
            before + 1,
            self._before,
            changes,
            size_bytes=size_bytes,
            before=before,
            is_last=False,
        )
        return Group(transaction)

    def _commit(self, message: Commit) -> Group:
        if self._begin is None:
            raise StreamOrderError("a transaction ends that has not begun")
        self._end_commit()
        changes, before = self._changes, self._before
        group = Group(
            Transaction(
                self._xid,
                message.end_lsn,
                self._committed_at,
                before + 1,
                before + len(changes) + self._reserved,
                changes,
                self._commits,
                self._snapshot,
                self._size_bytes,
                [Notice(said["t"], self._xid, said) for said in self._notices],
                self._reserved,
                before,
            ),
            self._version,
            () if changes or before else self._anchors,
        )
        self._begin = None
        self._reset()
        return group

    def _time(self, microseconds: int) -> str:
        """Microseconds since 2000 as the contract writes times, in UTC."""
        seconds, fraction = divmod(microseconds, 1_000_000)
        if seconds != self._seconds:
            self._seconds = seconds
            self._seconds_text = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.")
        return f"{self._seconds_text}{fraction // 1000:03}Z"


def widen(xid: int, reference: int) -> int:
    """The 64-bit transaction id whose lower half is `xid` and that is nearest to a recent 64-bit one."""
    half = 1 << (_XID_BITS - 1)
    distance = (xid - reference + half) % (1 << _XID_BITS) - half
    # before the first wrap-around there is no epoch to go back to
    return reference + distance if reference + distance >= 0 else xid


def _text_or_none(value: object) -> str | None:
    return None if value is None else str(value)
