"""The messages of a slot since a position, as bytes, for readers that come at any time and read at their own pace.

Only the kind of a message is looked at, and the position of a transaction's commit: decoding is the readers' work.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

BLOCK_BYTES: Final = 1 << 18

_BEGIN: Final = ord("B")
_COMMIT: Final = ord("C")
_DESCRIPTIONS: Final = frozenset(b"RY")  # of a table, of a type: sent once, for everything that follows
_length = struct.Struct(">I")
_commit_lsn_of_begin = struct.Struct(">xQ").unpack_from
_end_lsn_of_commit = struct.Struct(">10xQ").unpack_from


def pack(messages: Iterable[bytes]) -> bytes:
    """Messages one after another, each with its length before it."""
    parts: list[bytes] = []
    length = _length.pack
    for message in messages:
        parts.append(length(len(message)))
        parts.append(message)
    return b"".join(parts)


def unpack(packed: bytes) -> list[bytes]:
    """The messages that were packed."""
    messages: list[bytes] = []
    at, end = 0, len(packed)
    length = _length.unpack_from
    while at < end:
        start = at + 4
        at = start + length(packed, at)[0]
        messages.append(packed[start:at])
    return messages


def skip_to(lsn: int, messages: Sequence[bytes]) -> tuple[list[bytes], bool]:
    """What a reader from `lsn` on needs of the messages, and whether it has arrived: it needs everything from then on.

    Of transactions that committed before it needs nothing but the descriptions of tables and types.
    """
    needed: list[bytes] = []
    for at, message in enumerate(messages):
        kind = message[0]
        if kind == _BEGIN and _commit_lsn_of_begin(message)[0] >= lsn:
            needed += messages[at:]
            return needed, True
        if kind in _DESCRIPTIONS:
            needed.append(message)
    return needed, False


@dataclass(slots=True, eq=False)
class Block:
    """Some messages, packed, perhaps in the middle of a transaction.

    What commits at or after `next_lsn` is in later blocks, whole. `sent_lsn`: see `Source`, at the end of the block.
    """

    next_lsn: int
    sent_lsn: int
    packed: bytearray = field(default_factory=bytearray)
    descriptions: list[bytes] = field(default_factory=list)


class Backlog:
    """Blocks of messages, numbered from 0 on. `lsn` is where the stream starts.

    Everything that commits at or after `tail_lsn` is held, as far as it has come; at `head_lsn` the stream goes on when
    its connection is lost: everything that committed before it is held, or was.
    """

    def __init__(self, lsn: int, *, block_bytes: int = BLOCK_BYTES) -> None:
        self._block_bytes = block_bytes
        self.tail_lsn = lsn
        self.size_bytes = 0
        self.first = 0
        self._blocks: deque[Block] = deque([Block(next_lsn=lsn, sent_lsn=0)])
        self.head_lsn = lsn
        self._descriptions: dict[bytes, bytes] = {}  # those before the first block, by kind and oid
        self._open: tuple[int, int] | None = None  # block and offset of a transaction whose commit has not come yet

    @property
    def sent_lsn(self) -> int:
        """See `Source`."""
        return self._blocks[-1].sent_lsn

    @property
    def end(self) -> tuple[int, int]:
        """Where the next message will be: block and offset."""
        return self.first + len(self._blocks) - 1, len(self._blocks[-1].packed)

    def append(self, messages: Sequence[bytes], sent_lsn: int) -> None:
        """What came next."""
        block = self._blocks[-1]
        last = self.first + len(self._blocks) - 1
        start = offset = len(block.packed)
        for message in messages:
            kind = message[0]
            if kind == _BEGIN:
                self._open = (last, offset)
                block.next_lsn = _commit_lsn_of_begin(message)[0] + 1
            elif kind == _COMMIT:
                self._open = None
                self.head_lsn = _end_lsn_of_commit(message)[0]
            elif kind in _DESCRIPTIONS:
                block.descriptions.append(message)
            offset += 4 + len(message)
        block.packed += pack(messages)
        block.sent_lsn = max(block.sent_lsn, sent_lsn)
        if self._open is None:
            self.head_lsn = max(self.head_lsn, block.sent_lsn)
        if len(block.packed) >= self._block_bytes:  # at once, so that whoever has read it is past it
            self._blocks.append(Block(next_lsn=block.next_lsn, sent_lsn=block.sent_lsn))
        self.size_bytes += offset - start

    def forget_open(self) -> None:
        """The connection is lost: a transaction that has not come whole comes again."""
        if self._open is None:
            return
        block, offset = self._open
        while self.first + len(self._blocks) - 1 > block:
            self.size_bytes -= len(self._blocks.pop().packed)
        last = self._blocks[-1]
        self.size_bytes -= len(last.packed) - offset
        del last.packed[offset:]
        last.next_lsn = min(last.next_lsn, self.head_lsn)
        self._open = None

    def find(self, lsn: int) -> tuple[int, list[bytes]]:
        """The block in which a reader from `lsn` on begins, and the descriptions that it has missed by then."""
        assert lsn >= self.tail_lsn
        at = 0
        while at < len(self._blocks) - 1 and self._blocks[at].next_lsn <= lsn:
            at += 1
        missed = dict(self._descriptions)
        for block in list(self._blocks)[:at]:
            _describe(missed, block.descriptions)
        return self.first + at, list(missed.values())

    def read(self, block: int, offset: int) -> tuple[bytes, int, tuple[int, int]]:
        """What follows a place, the `sent_lsn` after it, and the place after it; nothing at the end."""
        found = self._blocks[block - self.first]
        packed = bytes(memoryview(found.packed)[offset:])
        if block - self.first < len(self._blocks) - 1:
            return packed, found.sent_lsn, (block + 1, 0)
        return packed, found.sent_lsn, (block, offset + len(packed))

    def drop(self, *, before_lsn: int, before_block: int) -> None:
        """Lets go of whole blocks that are neither needed from `before_lsn` on nor at `before_block` or later."""
        while self._can_drop(before_block) and self._blocks[0].next_lsn <= before_lsn:
            self._drop_first()

    def shrink(self, max_bytes: int, *, before_block: int) -> bool:
        """Lets go of the oldest blocks before `before_block` until so much is held; whether that was enough."""
        while self.size_bytes > max_bytes and self._can_drop(before_block):
            self._drop_first()
        return self.size_bytes <= max_bytes

    def _can_drop(self, before_block: int) -> bool:
        return len(self._blocks) > 1 and self.first < before_block

    def _drop_first(self) -> None:
        block = self._blocks.popleft()
        self.first += 1
        self.size_bytes -= len(block.packed)
        self.tail_lsn = max(self.tail_lsn, block.next_lsn)
        _describe(self._descriptions, block.descriptions)


def _describe(known: dict[bytes, bytes], descriptions: Iterable[bytes]) -> None:
    for message in descriptions:
        known[message[:5]] = message  # kind and oid
