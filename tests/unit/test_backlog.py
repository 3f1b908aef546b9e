"""A reader of the backlog gets what a slot would have given it, wherever it begins and however the stream was cut."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from pgsync.stream.backlog import BLOCK_BYTES, Backlog, pack, skip_to, unpack

TABLES = [b"R" + struct.pack(">I", oid) for oid in range(3)]


@dataclass
class Server:
    """Transactions as a walsender sends them: a table is described before its first change of a connection."""

    transactions: list[tuple[int, int, list[tuple[int, bytes]]]] = field(default_factory=list)
    lsn: int = 100

    def commit(self, changes: list[tuple[int, bytes]]) -> None:
        self.transactions.append((self.lsn + 10, self.lsn + 20, changes))
        self.lsn += 20

    def connection(self, from_lsn: int) -> list[bytes]:
        messages: list[bytes] = []
        described: set[int] = set()
        for commit_lsn, end_lsn, changes in self.transactions:
            if commit_lsn < from_lsn:
                continue
            messages.append(b"B" + struct.pack(">Q", commit_lsn))
            for table, data in changes:
                if table not in described:
                    described.add(table)
                    messages.append(TABLES[table])
                messages.append(b"I" + struct.pack(">I", table) + data)
            messages.append(b"C\x00" + struct.pack(">QQ", commit_lsn, end_lsn))
        return messages


def changes_of(messages: list[bytes]) -> list[bytes]:
    """Everything but the descriptions, whose order among others may differ; each must precede its table's changes."""
    described = set()
    kept = []
    for message in messages:
        if message[:1] == b"R":
            described.add(message[1:5])
        else:
            assert message[:1] != b"I" or message[1:5] in described
            kept.append(message)
    return kept


def read_all(backlog: Backlog, from_lsn: int) -> tuple[list[bytes], int]:
    """As a reader does that starts at `from_lsn`, and the last `sent_lsn`."""
    block, missed = backlog.find(from_lsn)
    place = (block, 0)
    messages = list(missed)
    arrived = False
    sent_lsn = 0
    while True:
        packed, sent_lsn, after = backlog.read(*place)
        found = unpack(packed)
        if not arrived:
            found, arrived = skip_to(from_lsn, found)
        messages += found
        if after == place:
            return messages, sent_lsn
        place = after


changes = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, BLOCK_BYTES).map(lambda n: b"x" * n)), min_size=1, max_size=4
)


@given(
    transactions=st.lists(changes, min_size=1, max_size=8),
    cuts=st.lists(st.integers(1, 9), max_size=8),
    losses=st.lists(st.integers(0, 12), max_size=2),
    start=st.integers(0, 8),
    dropped=st.integers(0, 8),
)
def test_reader_gets_what_the_slot_would_have_given(
    transactions: list[list[tuple[int, bytes]]], cuts: list[int], losses: list[int], start: int, dropped: int
) -> None:
    server = Server()
    for transaction in transactions:
        server.commit(transaction)
    backlog = Backlog(100)
    sizes = [*cuts, 1]

    def stream(count: int | None) -> None:
        messages = server.connection(backlog.head_lsn)[:count]
        while messages:
            size = sizes[len(messages) % len(sizes)]
            backlog.append(messages[:size], 0)
            del messages[:size]

    for loss in losses:
        stream(loss)
        backlog.forget_open()
    stream(None)
    backlog.drop(before_lsn=100 + 20 * dropped, before_block=backlog.end[0])
    assert backlog.tail_lsn <= max(100 + 20 * dropped, 100)
    from_lsn = max(100 + 20 * start, backlog.tail_lsn)
    messages, _ = read_all(backlog, from_lsn)
    assert changes_of(messages) == changes_of(server.connection(from_lsn))
    assert backlog.head_lsn == server.lsn
    assert backlog.size_bytes == sum(len(b.packed) for b in backlog._blocks)


def test_backlog_shrinks_to_its_bound_and_tells_where_it_begins() -> None:
    server = Server()
    for _ in range(100):
        server.commit([(0, b"x" * 10_000)])
    backlog = Backlog(100)
    for message in server.connection(100):
        backlog.append([message], 0)
    assert not backlog.shrink(300_000, before_block=1), "a reader is still there"
    assert backlog.shrink(600_000, before_block=backlog.end[0])
    assert backlog.size_bytes <= 600_000
    assert backlog.tail_lsn > 100
    messages, _ = read_all(backlog, backlog.tail_lsn)
    assert changes_of(messages) == changes_of(server.connection(backlog.tail_lsn))


def test_position_moves_on_without_messages() -> None:
    backlog = Backlog(100)
    backlog.append([], 500)
    assert (backlog.head_lsn, backlog.sent_lsn) == (500, 500)
    place = backlog.end
    backlog.append([b"B" + struct.pack(">Q", 600)], 500)
    assert backlog.head_lsn == 500, "where it goes on if the transaction does not come whole"
    backlog.forget_open()
    assert backlog.head_lsn == 500
    assert backlog.read(*place) == (b"", 500, place)


def test_messages_are_packed_and_unpacked() -> None:
    messages = [b"", b"a", b"x" * 70_000]
    assert unpack(pack(messages)) == messages
