"""The pgoutput decoder against messages built by hand from the documented formats."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsync.stream.decode import (
    Begin,
    Column,
    Commit,
    Decoder,
    Delete,
    Insert,
    LogicalMessage,
    MalformedStreamError,
    Message,
    Relation,
    ReplicationOrigin,
    Truncate,
    Type,
    Update,
    decode_message,
)
from pgsync.values import UNCHANGED, Value


def _tuple(values: tuple[Value, ...]) -> bytes:
    out = struct.pack(">H", len(values))
    for value in values:
        if value is None:
            out += b"n"
        elif value is UNCHANGED:
            out += b"u"
        else:
            out += b"t" + struct.pack(">I", len(value)) + value
    return out


def _z(text: str) -> bytes:
    return text.encode() + b"\0"


def encode(message: Message) -> bytes:
    """The documented bytes of a message."""
    match message:
        case Begin(lsn, at, xid):
            return b"B" + struct.pack(">QqI", lsn, at, xid)
        case Commit(lsn, end, at):
            return b"C" + struct.pack(">BQQq", 0, lsn, end, at)
        case ReplicationOrigin(lsn, name):
            return b"O" + struct.pack(">Q", lsn) + _z(name)
        case Relation(oid, namespace, name, identity, columns):
            out = b"R" + struct.pack(">I", oid) + _z("" if namespace == "pg_catalog" else namespace) + _z(name)
            out += identity.encode() + struct.pack(">H", len(columns))
            for column in columns:
                out += struct.pack(">B", column.is_key) + _z(column.name)
                out += struct.pack(">Ii", column.type_oid, column.type_modifier)
            return out
        case Type(oid, namespace, name):
            return b"Y" + struct.pack(">I", oid) + _z(namespace) + _z(name)
        case Insert(relation, new):
            return b"I" + struct.pack(">I", relation) + b"N" + _tuple(new)
        case Update(relation, new, old, full):
            before = b"" if old is None else (b"O" if full else b"K") + _tuple(old)
            return b"U" + struct.pack(">I", relation) + before + b"N" + _tuple(new)
        case Delete(relation, gone, full):
            return b"D" + struct.pack(">I", relation) + (b"O" if full else b"K") + _tuple(gone)
        case Truncate(relations, cascade, restart):
            out = b"T" + struct.pack(">IB", len(relations), cascade | restart << 1)
            return out + struct.pack(f">{len(relations)}I", *relations)
        case LogicalMessage(transactional, lsn, prefix, content):
            out = b"M" + struct.pack(">BQ", transactional, lsn) + _z(prefix)
            return out + struct.pack(">I", len(content)) + content


_lsn = st.integers(0, 2**64 - 1)
_time = st.integers(-(2**63), 2**63 - 1)
_oid = st.integers(0, 2**32 - 1)
_name = st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
_value: st.SearchStrategy[Value] = st.none() | st.just(UNCHANGED) | st.binary(max_size=12)
_row = st.lists(_value, max_size=5).map(tuple)
_column = st.builds(Column, _name, st.booleans(), _oid, st.integers(-(2**31), 2**31 - 1))
_update = st.tuples(_oid, _row, st.none() | _row, st.booleans()).map(
    lambda parts: Update(parts[0], parts[1], parts[2], parts[2] is not None and parts[3])
)
_message: st.SearchStrategy[Message] = st.one_of(
    st.builds(Insert, _oid, _row),
    _update,
    st.builds(Delete, _oid, _row, st.booleans()),
    st.builds(Begin, _lsn, _time, _oid),
    st.builds(Commit, _lsn, _lsn, _time),
    st.builds(ReplicationOrigin, _lsn, _name),
    st.builds(Relation, _oid, _name.filter(bool), _name, st.sampled_from("dnfi"), st.lists(_column, max_size=3)),
    st.builds(Type, _oid, _name.filter(bool), _name),
    st.builds(Truncate, st.lists(_oid, max_size=4), st.booleans(), st.booleans()),
    st.builds(LogicalMessage, st.booleans(), _lsn, _name, st.binary(max_size=20)),
)

EXAMPLES: list[Message] = [
    Begin(0x16B3748, 798_000_000_000_000, 4_294_967_295),
    Commit(0x16B3748, 0x16B3778, -1),
    ReplicationOrigin(7, "elsewhere"),
    Relation(16400, "public", "tasks", "f", [Column("id", True, 25, -1), Column("price", False, 1700, 655366)]),
    Relation(1, "pg_catalog", "odd", "n", []),
    Type(16390, "public", "mood"),
    Insert(16400, (b"t1", None, b"", b"\x00\xff")),
    Insert(16400, ()),
    Update(16400, (b"t1", UNCHANGED, None), None, False),
    Update(16400, (b"t2", UNCHANGED), (b"t1", None), False),
    Update(16400, (b"t1", UNCHANGED), (b"t1", b"x" * 70_000), True),
    Delete(16400, (b"t1", None), False),
    Delete(16400, (b"t1", b"whole"), True),
    Truncate([16400, 16401], False, True),
    LogicalMessage(True, 23_900_000, "pgsync", b'{"t":"h"}'),
    LogicalMessage(False, 0, "", b""),
]


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_message_is_decoded(message: Message) -> None:
    assert decode_message(encode(message)) == message


def test_null_and_unchanged_are_told_apart() -> None:
    message = decode_message(encode(Insert(1, (None, UNCHANGED))))
    assert isinstance(message, Insert)
    assert message.new[0] is None
    assert message.new[1] is UNCHANGED


@given(st.lists(_message, max_size=6), st.data())
def test_any_split_of_the_bytes_decodes_as_the_whole(messages: list[Message], data: st.DataObject) -> None:
    stream = b"".join(map(encode, messages))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    decoder = Decoder()
    decoded: list[Message] = []
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        decoded += decoder.feed(stream[start:stop])
    assert decoded == messages
    assert decoder.pending_bytes == 0


@given(st.lists(_message, min_size=1, max_size=3))
def test_byte_by_byte_decodes_as_the_whole(messages: list[Message]) -> None:
    decoder = Decoder()
    stream = b"".join(map(encode, messages))
    decoded = [message for at in range(len(stream)) for message in decoder.feed(stream[at : at + 1])]
    assert decoded == messages


@given(_message)
def test_one_whole_message_decodes_as_in_a_stream(message: Message) -> None:
    assert decode_message(encode(message)) == message


@given(_message, st.data())
def test_message_cut_short_is_refused(message: Message, data: st.DataObject) -> None:
    whole = encode(message)
    with pytest.raises(MalformedStreamError):
        decode_message(whole[: data.draw(st.integers(0, len(whole) - 1))])


@given(_message)
def test_message_with_a_tail_is_refused(message: Message) -> None:
    with pytest.raises(MalformedStreamError, match="1 bytes after"):
        decode_message(encode(message) + b"\0")


@given(st.binary(max_size=60))
def test_garbage_never_raises_anything_else(garbage: bytes) -> None:
    for decode in (Decoder().feed, decode_message):
        offset = 0
        try:
            decode(garbage)
        except MalformedStreamError as error:
            offset = error.offset_bytes
        assert 0 <= offset <= len(garbage)


@pytest.mark.parametrize(
    ("data", "problem", "offset"),
    [
        (b"", "an empty message", 0),
        (b"S\0\0\0\1\1", "unknown message type b'S'", 0),
        (b"I\0\0\0\1X\0\0", "INSERT with tuple b'X'", 5),
        (b"D\0\0\0\1N\0\0", "DELETE with tuple b'N'", 5),
        (b"U\0\0\0\1X\0\0", "UPDATE with tuple b'X'", 5),
        (b"U\0\0\0\1K\0\0O\0\0", "UPDATE with tuple b'O'", 8),
        (b"I\0\0\0\1N\0\1x", "unknown kind of value b'x'", 8),
        (b"I\0\0\0\1N\0\1b\0\0\0\0", "a binary value", 8),
        (b"I\0\0\0\1N\0\1t\xff\xff\xff\xff", "a value longer than any in Postgres", 13),
    ],
)
def test_malformed_bytes_say_what_and_where(data: bytes, problem: str, offset: int) -> None:
    with pytest.raises(MalformedStreamError) as caught:
        decode_message(data)
    assert caught.value.problem.startswith(problem)
    assert caught.value.offset_bytes == offset


def test_offset_counts_from_the_start_of_the_stream() -> None:
    decoder = Decoder()
    good = encode(Begin(1, 2, 3))
    assert len(decoder.feed(good + good[:5])) == 1
    with pytest.raises(MalformedStreamError) as caught:
        decoder.feed(good[5:] + b"?")
    assert caught.value.offset_bytes == 2 * len(good)
