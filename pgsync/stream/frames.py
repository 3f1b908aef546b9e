"""From the changes that the ring holds to the frames of one batch.

Frames are those of the wire contract (2.4 and 2.6), in commit order, whole transactions together. A delta is encoded
once and its bytes are shared.

A transaction that is larger than a frame comes in several, one after another. The contract has no word for its end, so
a `sync_response` without deltas follows the last of them: its `currentSyncId` and `cursor` are the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import orjson

from pgsync.expression import Reader
from pgsync.stream.cursor import cursor_encode
from pgsync.stream.delta import RELOADS, encode_delta, seen_as
from pgsync.stream.passage import Passage, indices_of
from pgsync.stream.ring import Held, Key, Ring

if TYPE_CHECKING:
    from pgsync.stream.route import Router

# A frame holds whole transactions, as many as fit. One that is larger alone is sent in several frames of its own.
FRAME_BYTES: Final = 256 * 1024
# Of a transaction that comes in parts, so that nobody works on it for more than about two milliseconds at a time.
PART_FRAME_BYTES: Final = 64 * 1024
# What looking at a change that the reader does not see counts for, so that one turn of a reader ends.
UNSEEN_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class Batch:
    """Frames, and where to read on: `following` is (ordinal, index of the change), None when nothing more was held.

    `ends` has for each frame the sync id of the transaction's end that is the frame's end, None for a frame that ends
    inside a transaction. `next_ordinal` is where the ring ended, `position` the end of the last transaction that the
    frames account for. `is_inside`: the frames end inside a transaction.
    """

    frames: list[bytes]
    ends: list[int | None]
    following: tuple[int, int] | None
    next_ordinal: int
    position: int
    size_bytes: int
    is_personal: bool = False
    is_inside: bool = False


class Collector(Protocol):
    """Makes the frames of a batch, transaction by transaction; its attributes are those of the `Batch`."""

    frames: list[bytes]
    ends: list[int | None]
    size_bytes: int
    is_personal: bool
    is_inside: bool

    @property
    def total_bytes(self) -> int:
        """Of the frames, and of what will be the next one."""

    def add(self, held: Held, indices: Iterable[int], keys: frozenset[Key], limit_bytes: int) -> int | None:
        """Adds the changes of one transaction or part; the index to go on with when the limit was reached inside it."""

    def flush(self) -> None:
        """Ends the frame."""


class View(Protocol):
    """Another form than the frames of a WebSocket, or a choice among the changes. Sessions with equal views share."""

    def __hash__(self) -> int: ...

    def collector(self, router: Router, reader: Reader | None, *, is_inside: bool, exact: bool) -> Collector:
        """Collects one batch for this reader.

        `is_inside` as of `collect`. `exact`: the reader has all up to where it stands, and nothing of what follows.
        """


def delta_of(router: Router, held: Held, index: int, action: str, groups: tuple[str, ...]) -> bytes:
    """The delta of a change as `seen_as` says it is seen, encoded once for everybody."""
    delta = held.deltas.get((index, action))
    if delta is None:
        transaction = held.transaction
        delta = encode_delta(transaction.changes[index], action, groups, transaction.committed_at)
        router.ring.keep(held, index, action, delta)
    return delta


def frame_of(deltas: list[bytes]) -> bytes:
    """One frame of deltas."""
    if len(deltas) == 1:
        return b'{"type":"delta","payload":%b}' % deltas[0]
    return b'{"type":"delta","payload":{"deltas":[%b]}}' % b",".join(deltas)


class _Frames:
    """Collects deltas into frames. `is_inside`: deltas of the first transaction have been sent before."""

    def __init__(self, router: Router, reader: Reader | None = None, *, is_inside: bool = False) -> None:
        self.router = router
        self.reader = reader
        # Whether a read rule was asked: then only sessions of the same reader see the same.
        self.is_personal = False
        self.is_inside = is_inside
        self.frames: list[bytes] = []
        self.ends: list[int | None] = []
        self.size_bytes = 0
        self._deltas: list[bytes] = []
        self._deltas_bytes = 0
        self._end = 0
        self._unseen = 0

    def add(self, held: Held, indices: Iterable[int], keys: frozenset[Key], limit_bytes: int) -> int | None:
        """Adds the changes of one transaction or part; the index to go on with when the limit was reached inside it."""
        transaction = held.transaction
        changes = transaction.changes
        deltas: list[bytes] = []
        size = 0
        is_whole = transaction.is_whole
        frame_bytes = FRAME_BYTES if is_whole else PART_FRAME_BYTES
        for index in indices:
            change = changes[index]
            if change.action in RELOADS:
                if seen_as(change, keys, self.reader) is not None:
                    self._send_inside(deltas, size)
                    self.flush()
                    deltas, size = [], 0
                    self._add_frame(self._sync_response(transaction.begins_after, must_bootstrap=True), None)
                    self.is_inside = False  # the end of this one is nothing to wait for any more
                continue
            delta = self._delta(held, index, keys)
            if delta is None:
                self._unseen += 1
                if not is_whole and self.total_bytes + size >= limit_bytes:
                    self._send_inside(deltas, size)
                    return index + 1
                continue
            if size + len(delta) > frame_bytes and deltas:  # larger alone than a frame
                self._send_inside(deltas, size)
                deltas, size = [], 0
                if self.size_bytes + len(delta) > limit_bytes:
                    return index
            deltas.append(delta)
            size += len(delta)
        if not transaction.is_last:
            self._send_inside(deltas, size)
            return None
        end = transaction.last_sync_id
        if self.is_inside:
            self._send_inside(deltas, size)
            self._add_frame(self._sync_response(end), end)
            self.is_inside = False
            return None
        if self._deltas_bytes + size > FRAME_BYTES:
            self.flush()
        self._put(deltas, size)
        self._end = end
        return None

    def flush(self) -> None:
        """Ends the frame, which has whole transactions."""
        if self._deltas:
            self._add_frame(frame_of(self._deltas), self._end)
        self._deltas = []
        self._deltas_bytes = 0

    def _send_inside(self, deltas: list[bytes], size: int) -> None:
        """A frame of its own for some of a transaction."""
        if deltas:
            self.flush()
            self._add_frame(frame_of(deltas), None)
            self.is_inside = True

    @property
    def total_bytes(self) -> int:
        return self.size_bytes + self._deltas_bytes + self._unseen * UNSEEN_BYTES

    def _put(self, deltas: list[bytes], size: int) -> None:
        self._deltas += deltas
        self._deltas_bytes += size

    def _add_frame(self, frame: bytes, end: int | None) -> None:
        self.frames.append(frame)
        self.ends.append(end)
        self.size_bytes += len(frame)

    def _delta(self, held: Held, index: int, keys: frozenset[Key]) -> bytes | None:
        change = held.transaction.changes[index]
        if change.judged is not None:
            self.is_personal = True
        seen = seen_as(change, keys, self.reader)
        if seen is None:
            return None
        return delta_of(self.router, held, index, *seen)

    def _sync_response(self, sync_id: int, *, must_bootstrap: bool = False) -> bytes:
        """What no delta can say: the end of a transaction; or rows that have to be loaded anew, in commit order."""
        payload: dict[str, object] = {
            "deltas": [],
            "currentSyncId": sync_id,
            "cursor": cursor_encode(self.router.epoch, sync_id),
        }
        if must_bootstrap:
            payload["requiresBootstrap"] = True
        return orjson.dumps({"type": "sync_response", "payload": payload})


def collect(
    router: Router,
    keys: tuple[Key, ...],
    place: tuple[int, int],
    limit_bytes: int,
    skip: Callable[[Held], int] | None = None,
    readable: frozenset[str] | None = None,
    reader: Reader | None = None,
    view: View | None = None,
    *,
    is_inside: bool = False,
    until: int | None = None,
    passage: Passage | None = None,
) -> Batch:
    """The frames from `place` on for a session with these keys, up to about `limit_bytes`.

    `skip` gives, per transaction, how many of its changes the session has already; `readable` the models that it may
    read, None for all; `reader` whom read rules are judged for, None for nobody: then models with a rule show nothing;
    `view` the form of the frames, None for those of a WebSocket. `is_inside`: the session has had deltas of a
    transaction whose end it has not reached. `until` is the ordinal to stop before, None for the end.
    With a `passage`, that says what counts by which keys.
    """
    ring = router.ring
    limit_bytes = max(limit_bytes, 1)
    frames: Collector = (
        _Frames(router, reader, is_inside=is_inside)
        if view is None
        else view.collector(router, reader, is_inside=is_inside, exact=skip is None)
    )
    held_keys = frozenset(keys)
    ordinal, offset = place
    following: tuple[int, int] | None = None
    for found in ring.find(keys, ordinal):
        if frames.total_bytes >= limit_bytes or (until is not None and found >= until):
            following = (found, 0)
            break
        held = ring.get(found)
        start = offset if found == ordinal else 0
        if skip is not None:
            start = max(start, skip(held))
        if passage is None:
            indices = indices_of(held, keys, start)
        else:
            indices, passing = passage.indices(held, start)
            held_keys = frozenset(passing)
        if readable is not None:
            indices = _readable(held, indices, readable)
        rest = frames.add(held, indices, held_keys, limit_bytes)
        if rest is not None:
            following = (found, rest)
            break
    frames.flush()
    position = ring.head if following is None else begins_after(ring, following)
    return Batch(
        frames.frames,
        frames.ends,
        following,
        ring.next_ordinal,
        position,
        frames.size_bytes,
        frames.is_personal,
        frames.is_inside,
    )


def _readable(held: Held, indices: Iterable[int], models: frozenset[str]) -> Iterable[int]:
    """Those of the changes whose model, by its lower-cased typename, is one of these."""
    changes = held.transaction.changes
    return (index for index in indices if changes[index].model.typename.lower() in models)


def begins_after(ring: Ring, place: tuple[int, int]) -> int:
    """The position before the transaction at this place."""
    return ring.get(place[0]).transaction.begins_after
