"""Bytes of Postgres's `pgoutput` protocol to messages, without any I/O.

Protocol version 1, text format, with logical messages: https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html.
Versions 2 to 4 add messages for transactions still in progress or prepared, and a transaction id inside the others;
the stream asks for none of them, so their type bytes are refused by name.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from pgsync.values import UNCHANGED, Encoder, Value, as_text

# Not frozen: creating a frozen instance takes three times as long, and there is one for every change in the database.


@dataclass(slots=True)
class Begin:
    """Start of a committed transaction. `commit_lsn` is where its commit record starts; `xid` has 32 bits."""

    commit_lsn: int
    committed_at: int
    xid: int


@dataclass(slots=True)
class Commit:
    """End of the transaction; `end_lsn` is where its commit record ends. Times: microseconds since 2000-01-01 UTC."""

    commit_lsn: int
    end_lsn: int
    committed_at: int


@dataclass(slots=True)
class ReplicationOrigin:
    """The transaction came from another server by replication."""

    commit_lsn: int
    name: str


@dataclass(slots=True)
class Column:
    """One published column of a table. `is_key`: part of the replica identity."""

    name: str
    is_key: bool
    type_oid: int
    type_modifier: int


@dataclass(slots=True)
class Relation:
    """What the tuples of table `oid` hold from here on. `identity` is d(efault), n(othing), f(ull) or i(ndex)."""

    oid: int
    namespace: str
    name: str
    identity: str
    columns: list[Column]


@dataclass(slots=True)
class Type:
    """The name of a type that is not built in."""

    oid: int
    namespace: str
    name: str


@dataclass(slots=True)
class Insert:
    """A new row, one value for each column of the relation."""

    relation: int
    new: tuple[Value, ...]


@dataclass(slots=True)
class Update:
    """A changed row. `old` is the whole old row (`full`), only its key columns (the others read None), or not sent."""

    relation: int
    new: tuple[Value, ...]
    old: tuple[Value, ...] | None
    full: bool


@dataclass(slots=True)
class Delete:
    """A deleted row: all of it (`full`), or only its key columns (the others read None)."""

    relation: int
    old: tuple[Value, ...]
    full: bool


@dataclass(slots=True)
class Truncate:
    """Tables emptied by one statement."""

    relations: list[int]
    cascade: bool
    restart_identity: bool


@dataclass(slots=True)
class LogicalMessage:
    """What `pg_logical_emit_message` wrote. One that is not transactional may stand outside of any transaction."""

    transactional: bool
    lsn: int
    prefix: str
    content: bytes


Message: TypeAlias = (
    Insert | Update | Delete | Begin | Commit | LogicalMessage | Relation | Truncate | ReplicationOrigin | Type
)


class MalformedStreamError(ValueError):
    """Bytes that no Postgres sends. `offset_bytes` counts from the first byte the decoder was given."""

    def __init__(self, problem: str, offset_bytes: int) -> None:
        super().__init__(f"{problem} at byte {offset_bytes}")
        self.problem = problem
        self.offset_bytes = offset_bytes


class _IncompleteError(Exception):
    """The message goes on after the bytes at hand."""


_INCOMPLETE: Final = _IncompleteError()

# A tuple's columns are a kind byte and, for text, a length: reading both at once is the cheapest way in Python, but it
# may look four bytes past a last NULL. Hence the padding, which no message may count on: every parser checks the end.
_PADDING: Final = b"\0\0\0\0"
_column = struct.Struct(">BI").unpack_from
_relation_and_kind = struct.Struct(">IB").unpack_from
_begin = struct.Struct(">QqI").unpack_from
_commit = struct.Struct(">BQQq").unpack_from
_count = struct.Struct(">H").unpack_from
_long = struct.Struct(">Q").unpack_from
_int = struct.Struct(">I").unpack_from
_type_of_column = struct.Struct(">Ii").unpack_from
_truncate = struct.Struct(">IB").unpack_from
_message = struct.Struct(">BQ").unpack_from

_TEXT: Final = ord("t")
_NULL: Final = ord("n")
_KEPT: Final = ord("u")
_BINARY: Final = ord("b")
_NEW: Final = ord("N")
_KEY: Final = ord("K")
_OLD: Final = ord("O")
TUPLE_START: Final = 8  # type, relation, kind of tuple, number of columns; then the values
_MAX_VALUE_BYTES: Final = 1 << 30  # Postgres's own limit of a field


def _values(data: bytes, at: int, end: int) -> tuple[tuple[Value, ...], int]:
    """A TupleData: one value per column. May return a position past the end, which the caller refuses."""
    (count,) = _count(data, at)
    at += 2
    values: list[Value] = []
    append = values.append
    for _ in range(count):
        kind, size = _column(data, at)
        if kind == _TEXT:
            start = at + 5
            at = start + size
            append(data[start:at])
        elif at >= end:
            raise _INCOMPLETE
        elif kind == _NULL:
            append(None)
            at += 1
        elif kind == _KEPT:
            append(UNCHANGED)
            at += 1
        elif kind == _BINARY:
            raise MalformedStreamError("a binary value, though text was asked for,", at)
        else:
            raise MalformedStreamError(f"unknown kind of value {bytes((kind,))!r}", at)
    if at - end > _MAX_VALUE_BYTES:
        raise MalformedStreamError("a value longer than any in Postgres", end)
    return tuple(values), at  # the garbage collector stops looking at a tuple of bytes; the ring holds millions


def leading_values(data: bytes, count: int) -> list[Value]:
    """The first `count` values of the first tuple of an Insert, Update or Delete as it came, without decoding the rest.

    Raises MalformedStreamError when there are not so many.
    """
    end = len(data)
    at = TUPLE_START
    values: list[Value] = []
    try:
        for _ in range(count):
            kind = data[at]
            if kind == _TEXT:
                start = at + 5
                at = start + _int(data, at + 1)[0]
                values.append(data[start:at])
            elif kind == _NULL:
                values.append(None)
                at += 1
            elif kind == _KEPT:
                values.append(UNCHANGED)
                at += 1
            else:
                raise MalformedStreamError(f"unknown kind of value {bytes((kind,))!r}", at)
    except (IndexError, struct.error):
        at = end + 1
    if at > end:
        raise MalformedStreamError(f"a message of type {data[:1]!r} that stops early", end)
    return values


def tuple_encoder(fields: Sequence[tuple[int, bytes, bytes, Encoder]]) -> Callable[[bytes], bytes]:
    """The function from an Insert or an Update without an old tuple, as it came, to the JSON object of its row.

    `fields` are those of `pgsync.values.field_encoders`. Gives what decoding the message and encoding its row would
    give, in less time; and until somebody asks, the message is all that has to be kept.
    """
    places = {index: place for place, (index, *_) in enumerate(fields)}
    columns = [
        (places[index], *fields[places[index]][1:]) if index in places else None
        for index in range(max(places, default=-1) + 1)
    ]
    is_ordered = [column[0] for column in columns if column is not None] == list(range(len(fields)))

    def encode(message: bytes) -> bytes:
        data = message + _PADDING
        at = TUPLE_START
        parts: list[bytes] = []
        order: list[int] = []
        for column in columns:
            kind, size = _column(data, at)
            if kind == _TEXT:
                start = at + 5
                at = start + size
                if column is not None:
                    value = data[start:at]
                    try:
                        parts.append(column[1] + column[3](value))
                    except ValueError:
                        parts.append(column[1] + as_text(value))
                    order.append(column[0])
            else:
                if kind == _NULL and column is not None:
                    parts.append(column[2])
                    order.append(column[0])
                at += 1
        if not is_ordered:
            parts = [part for _, part in sorted(zip(order, parts, strict=True))]
        return b"{%b}" % b",".join(parts)

    return encode


def _string(data: bytes, at: int, end: int) -> tuple[str, int]:
    stop = data.find(b"\0", at, end)
    if stop < 0:
        raise _INCOMPLETE
    return data[at:stop].decode(errors="replace"), stop + 1


def _parse_insert(data: bytes, at: int, end: int) -> tuple[Insert, int]:
    relation, kind = _relation_and_kind(data, at)
    if kind != _NEW:
        if at + 4 >= end:
            raise _INCOMPLETE
        raise MalformedStreamError(f"INSERT with tuple {bytes((kind,))!r} instead of b'N'", at + 4)
    new, at = _values(data, at + 5, end)
    return Insert(relation, new), at


def _parse_update(data: bytes, at: int, end: int) -> tuple[Update, int]:
    relation, kind = _relation_and_kind(data, at)
    if kind == _NEW:
        new, at = _values(data, at + 5, end)
        return Update(relation, new, None, False), at
    if kind != _OLD and kind != _KEY:
        if at + 4 >= end:
            raise _INCOMPLETE
        raise MalformedStreamError(f"UPDATE with tuple {bytes((kind,))!r} instead of b'K', b'O' or b'N'", at + 4)
    old, at = _values(data, at + 5, end)
    if at >= end:
        raise _INCOMPLETE
    if data[at] != _NEW:
        raise MalformedStreamError(f"UPDATE with tuple {data[at : at + 1]!r} instead of b'N'", at)
    new, at = _values(data, at + 1, end)
    return Update(relation, new, old, kind == _OLD), at


def _parse_delete(data: bytes, at: int, end: int) -> tuple[Delete, int]:
    relation, kind = _relation_and_kind(data, at)
    if kind != _OLD and kind != _KEY:
        if at + 4 >= end:
            raise _INCOMPLETE
        raise MalformedStreamError(f"DELETE with tuple {bytes((kind,))!r} instead of b'K' or b'O'", at + 4)
    old, at = _values(data, at + 5, end)
    return Delete(relation, old, kind == _OLD), at


def _parse_begin(data: bytes, at: int, end: int) -> tuple[Begin, int]:
    return Begin(*_begin(data, at)), at + 20


def _parse_commit(data: bytes, at: int, end: int) -> tuple[Commit, int]:
    _, commit_lsn, end_lsn, committed_at = _commit(data, at)
    return Commit(commit_lsn, end_lsn, committed_at), at + 25


def _parse_origin(data: bytes, at: int, end: int) -> tuple[ReplicationOrigin, int]:
    (commit_lsn,) = _long(data, at)
    name, at = _string(data, at + 8, end)
    return ReplicationOrigin(commit_lsn, name), at


def _parse_relation(data: bytes, at: int, end: int) -> tuple[Relation, int]:
    (oid,) = _int(data, at)
    namespace, at = _string(data, at + 4, end)
    name, at = _string(data, at, end)
    identity = chr(data[at])
    (count,) = _count(data, at + 1)
    at += 3
    columns: list[Column] = []
    for _ in range(count):
        is_key = data[at] == 1
        column, at = _string(data, at + 1, end)
        type_oid, modifier = _type_of_column(data, at)
        at += 8
        columns.append(Column(column, is_key, type_oid, modifier))
    return Relation(oid, namespace or "pg_catalog", name, identity, columns), at


def _parse_type(data: bytes, at: int, end: int) -> tuple[Type, int]:
    (oid,) = _int(data, at)
    namespace, at = _string(data, at + 4, end)
    name, at = _string(data, at, end)
    return Type(oid, namespace or "pg_catalog", name), at


def _parse_truncate(data: bytes, at: int, end: int) -> tuple[Truncate, int]:
    count, options = _truncate(data, at)
    at += 5
    if at + 4 * count > end:
        raise _INCOMPLETE
    relations = list(struct.unpack_from(f">{count}I", data, at))
    return Truncate(relations, bool(options & 1), bool(options & 2)), at + 4 * count


def _parse_message(data: bytes, at: int, end: int) -> tuple[LogicalMessage, int]:
    flags, lsn = _message(data, at)
    prefix, at = _string(data, at + 9, end)
    (size,) = _int(data, at)
    at += 4
    return LogicalMessage(bool(flags & 1), lsn, prefix, data[at : at + size]), at + size


_PARSERS: Final[dict[int, Callable[[bytes, int, int], tuple[Message, int]]]] = {
    ord("I"): _parse_insert,
    ord("U"): _parse_update,
    ord("D"): _parse_delete,
    ord("B"): _parse_begin,
    ord("C"): _parse_commit,
    ord("M"): _parse_message,
    ord("R"): _parse_relation,
    ord("T"): _parse_truncate,
    ord("O"): _parse_origin,
    ord("Y"): _parse_type,
}


def _parse(data: bytes, at: int, end: int) -> tuple[Message, int]:
    """The message at `at` of padded data that ends at `end`, and where the next one starts."""
    parser = _PARSERS.get(data[at])
    if parser is None:
        raise MalformedStreamError(f"unknown message type {data[at : at + 1]!r}", at)
    try:
        message, stop = parser(data, at + 1, end)
    except (IndexError, struct.error):
        raise _INCOMPLETE from None
    if stop > end:
        raise _INCOMPLETE
    return message, stop


def decode_message(data: bytes) -> Message:
    """The one message that `data` is. Raises MalformedStreamError when it is less or more than one."""
    end = len(data)
    if not end:
        raise MalformedStreamError("an empty message", 0)
    # as in `_parse`, whose call would be felt: this runs for every message of the database
    parser = _PARSERS.get(data[0])
    if parser is None:
        raise MalformedStreamError(f"unknown message type {data[:1]!r}", 0)
    try:
        message, stop = parser(data + _PADDING, 1, end)
    except (IndexError, struct.error, _IncompleteError):
        stop = end + 1
    if stop > end:
        raise MalformedStreamError(f"a message of type {data[:1]!r} that stops early", end)
    if stop < end:
        raise MalformedStreamError(f"{end - stop} bytes after a message of type {data[:1]!r}", stop)
    return message


class Decoder:
    """Messages out of their concatenated bytes, wherever the pieces are cut.

    After MalformedStreamError the decoder has no way to find the next message and must be thrown away.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._consumed = 0

    @property
    def pending_bytes(self) -> int:
        """How much of a message has arrived without its end."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[Message]:
        """The messages that these bytes complete, in order."""
        data = self._rest + data
        end = len(data)
        padded = data + _PADDING
        messages: list[Message] = []
        at = 0
        try:
            while at < end:
                message, at = _parse(padded, at, end)
                messages.append(message)
        except _IncompleteError:
            pass
        except MalformedStreamError as error:
            raise MalformedStreamError(error.problem, self._consumed + error.offset_bytes) from None
        self._rest = data[at:]
        self._consumed += at
        return messages
