"""What one subscriber receives: a position in the ring, and from there the frames of the changes it may see.

Sessions that stand at the same place and see the same share their frames. Until the end of a transaction that comes in
several frames `position` and `cursor` stay before it, and whoever resumes there gets all of it again, which changes
nothing: a delta that is applied twice has the same effect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from pgsync.expression import Reader
from pgsync.stream.cursor import cursor_encode
from pgsync.stream.frames import FRAME_BYTES, PART_FRAME_BYTES, View, begins_after, collect
from pgsync.stream.passage import Passage, Turn
from pgsync.stream.ring import (
    ADDED,
    EVERYONE,
    Fallen,
    Held,
    Key,
    keys_of_member,
    keys_of_session,
    truncates_memberships,
)
from pgsync.stream.timeline import Snapshot
from pgsync.stream.transaction import Transaction

if TYPE_CHECKING:
    from pgsync.stream.route import Channel, Router


class Session:
    """One subscriber of one organization, opened with `Router.open` at the head of the stream.

    At most one task may wait in `next_batch`. Everything else may be called at any time from the event loop's thread.

    `ends` belongs to the frames that were given out last: for each the sync id of the transaction's end that is the
    frame's end, None for a frame that ends inside a transaction (see `Batch`). Those positions, and `position`, are the
    ones that a client may be told as places to resume from. `starts_after` is the sync id after which everything has
    been or will be given out.

    A session that follows the memberships of its participant (`member`) stops where it begins anywhere, and before each
    transaction that changes them: then it has a `turn`, and gives nothing until `know` or one of the `start_` methods.
    """

    __slots__ = (
        "_added",
        "_after",
        "_channels",
        "_closed",
        "_disarmed",
        "_filter_until",
        "_is_inside",
        "_keys",
        "_known_at",
        "_lost",
        "_member_keys",
        "_opened_at",
        "_passage",
        "_pending",
        "_place",
        "_position",
        "_readable",
        "_reader",
        "_router",
        "_snapshot",
        "_view",
        "_waiter",
        "acknowledged",
        "ends",
        "groups",
        "organization",
        "starts_after",
        "turn",
    )

    def __init__(
        self,
        router: Router,
        organization: str,
        groups: Iterable[str],
        readable: frozenset[str] | None = None,
        reader: Reader | None = None,
        view: View | None = None,
        member: str | None = None,
        *,
        is_newer: bool = False,
    ) -> None:
        self.organization = organization
        self.turn: Turn | None = None
        self._member_keys = () if member is None else keys_of_member(organization, member)
        # The snapshot in which the memberships were looked up; None while they are unknown.
        self._known_at: Snapshot | None = None
        self._passage: Passage | None = None
        self._place = (0, 0)
        self._view = view
        self._readable = readable
        self.groups = frozenset(groups)
        # `actor.groups` of a rule are all that the reader has, as in the rows that the session is bootstrapped with: by
        # fewer, a rule such as NOT (team = ANY (actor.groups)) would show more to who asks for less.
        self._reader = reader
        self.acknowledged = 0
        self.ends: list[int | None] = []
        self._router = router
        self._keys: tuple[Key, ...] = ()
        self._channels: dict[Key, Channel] = {}
        self._opened_at = router.ring.head
        self._disarmed: list[Channel] = []
        # Where to read on. None: everything held has been read, and the first match will be noted by `wake`.
        self._pending: tuple[int, int] | None = None
        self._position = router.ring.head
        self._is_inside = False
        self._lost = False
        self._closed = False
        self._waiter: asyncio.Future[None] | None = None
        # What it need not get: changes up to a sync id beyond the head, transactions that its snapshot showed it.
        self._after = 0
        self._snapshot: Snapshot | None = None
        self._filter_until: int | None = None
        self._added = (ADDED,) if is_newer else ()
        self._join(self._keys_of(self.groups))
        self.starts_after = router.ring.head
        self.start_at_head()

    @property
    def position(self) -> int:
        """The end of the last transaction that `next_batch` has given out whole, with everything before it."""
        if self.turn is not None and not self._lost:
            return max(self._position, self._after)
        if self._pending is None and not self._lost:
            return max(self._router.ring.head, self._after)
        return self._position

    @property
    def is_inside(self) -> bool:
        """Whether the frames that were given out end inside a transaction."""
        return self._is_inside

    @property
    def is_behind(self) -> bool:
        """Whether something waits to be taken."""
        return self._pending is not None or self._lost or self.turn is not None or self._router.is_retired

    @property
    def is_settled(self) -> bool:
        """Whether `position` says it all: nothing after it was in the snapshot that the session began with."""
        if (
            self.turn is None
            and self._snapshot is not None
            and self._pending is None
            and self._router.timeline.streamed_all(self._snapshot)
        ):
            self._snapshot = None
        return self._snapshot is None

    def cursor(self) -> str:
        """The resume cursor of `position`."""
        return cursor_encode(self._router.epoch, self.position)

    def update_groups(self, groups: Iterable[str], held: Iterable[str] | None = None) -> None:
        """Other groups from here on: of what has not been given out yet, the session gets what the new ones see.

        `held` are all groups that its reader has, None when they are those of before. What new groups show of the past
        is not sent: the client loads it after this call, so that nothing is missed.
        """
        self.groups = frozenset(groups)
        if self._reader is not None and held is not None:
            self._reader = replace(self._reader, groups=frozenset(held))
        self._join(self._keys_of(self.groups))
        self._is_inside = False  # the end of a transaction comes to those who found its beginning

    def is_told_by(self, snapshot: Snapshot) -> bool:
        """Whether memberships that are looked up in this snapshot are what the session waits for."""
        turn, timeline = self.turn, self._router.timeline
        if turn is None or (turn.xid is not None and not snapshot.sees(turn.xid)):
            return False
        after = self.starts_after if turn.transaction is None else turn.transaction.begins_after
        return timeline.position_at(snapshot) >= min(after, timeline.head)

    def has_streamed(self, snapshot: Snapshot) -> bool:
        """Whether everything that this snapshot sees is in the stream."""
        return self._router.timeline.streamed_all(snapshot)

    @property
    def begins(self) -> bool:
        """Whether it has begun somewhere and does not know the memberships yet."""
        return self.turn is not None and self.turn.transaction is None

    def waits_at(self, turn: Turn) -> bool:
        """Whether it still stands there, and somebody is interested."""
        return self.turn is turn and not self._closed and not self._lost and not self._router.is_retired

    def know(self, groups: Iterable[str], snapshot: Snapshot, held: Iterable[str] | None = None) -> None:
        """All its groups, with those of the memberships in this snapshot: goes on where it has begun.

        `held` as of `update_groups`.
        """
        self.turn = None
        self._known_at = snapshot
        self.update_groups(groups, held)
        ordinal, offset = self._place
        if ordinal < self._router.ring.first_ordinal:
            self._lost = True  # the new groups may have found something in what is gone
            self.notify()
        else:
            self._go_on(ordinal, offset)

    def pass_turn(
        self,
        groups: Iterable[str],
        snapshot: Snapshot,
        lost: Iterable[str],
        told: frozenset[tuple[str, str]],
        held: Iterable[str] | None = None,
    ) -> list[bytes]:
        """All its groups from an exact turn on, as `know`, without a break.

        `lost` are groups that it has no more, `told` the rows, by model and id, that the caller tells in the ids that
        are reserved behind the transaction: all that came and went by it, as the snapshot has them. Gives the frames of
        that transaction, to be sent before. Raises Fallen.
        """
        turn = self.turn
        assert turn is not None
        assert turn.transaction is not None
        assert turn.is_exact
        assert self._pending is not None
        kept = self._keys_of(self.groups.difference(lost))
        lost_keys = tuple((organization, group) for organization in (self.organization, None) for group in lost)
        self.turn = None
        self._known_at = snapshot
        self._passage = Passage(snapshot, (), kept, lost_keys, told)
        self.update_groups(groups, held)
        return self.take(turn.transaction.size_bytes + (1 << 30), through=self._pending[0])

    def start_at_head(self) -> None:
        """Skips what waits: for a client that has been told to bootstrap.

        In the middle of a transaction that comes in parts it starts with the first of them, if that is still held.
        """
        ring = self._router.ring
        if ring.holds_head:
            self._start(ring.locate(ring.head), 0, ring.head)
        else:
            self._start(ring.next_ordinal, 0, ring.appended)

    def start_after(self, sync_id: int) -> None:
        """Everything after `sync_id`, as for a client that resumes there.

        Raises Fallen beyond the window, and where rows have got more to say before the session was opened: whoever was
        connected then goes on without, but who comes back may know the new fields. (So may one who comes while the
        stream has yet to reach the version that added them: `is_newer`.)
        """
        ring = self._router.ring
        ordinal = ring.locate(sync_id)
        for found in ring.find((ADDED,), ordinal):
            if self._is_added(ring.get(found), sync_id):
                raise Fallen
        offset = 0
        is_inside = False
        if ordinal < ring.next_ordinal:
            transaction = ring.get(ordinal).transaction
            offset = max(sync_id + 1 - transaction.first_sync_id, 0)
            is_inside = sync_id > transaction.begins_after
        self._start(ordinal, offset, sync_id)
        self._after = sync_id if sync_id > ring.appended else 0
        # Only who finds more of that transaction will find its end.
        place = self._pending
        self._is_inside = is_inside and place is not None and ring.get(place[0]).transaction.xid == transaction.xid

    def _is_added(self, held: Held, sync_id: int) -> bool:
        readable = self._readable
        return any(
            change.action == "F"
            and sync_id < change.sync_id <= self._opened_at
            and (readable is None or change.model.typename.lower() in readable)
            for change in held.transaction.changes
        )

    def start_from_snapshot(self, snapshot: Snapshot) -> None:
        """Every held transaction that the snapshot does not see, and everything after: continues what was read with it.

        Raises Fallen when the snapshot is older than the window.
        """
        position = self._router.timeline.find(snapshot)
        if position is None:
            raise Fallen
        ring = self._router.ring
        torn = ring.torn
        if torn is not None and torn.begins_after <= position < ring.tail and snapshot.sees(torn.xid):
            ordinal = ring.first_ordinal  # what was let go of that transaction, it has seen
        else:
            ordinal = ring.locate(position)
        self._start(ordinal, 0, position)
        self._snapshot = snapshot

    async def next_batch(self, limit_bytes: int | None = None) -> list[bytes]:
        """Waits for changes and gives frames in commit order, about `limit_bytes` of them; see `take`.

        An empty list means that the session was closed, or has a `turn`. Raises Fallen, now and until one of the
        `start_` methods is called, when the session was too slow.
        """
        while await self.ready():
            frames = self.take(limit_bytes)
            if frames or self.turn is not None:
                return frames
            await asyncio.sleep(0)  # much was looked at and nothing seen: the others have their turn
        return []

    async def ready(self) -> bool:
        """Waits until there may be something to take; False: the session was closed."""
        while not self._closed and not self.is_behind:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return not self._closed

    def close(self) -> None:
        """Called by `Router.close`."""
        self._closed = True
        self._member_keys = ()
        self._passage = None
        self._join(())
        self.notify()

    def wake(self, channel: Channel, ordinal: int) -> None:
        """Called by `Router.offer`, which has disarmed the channel for this session."""
        self._disarmed.append(channel)
        if self._pending is None and not self._lost:
            self._position = self._router.ring.get(ordinal).transaction.begins_after
            self._pending = (ordinal, 0)
            self.notify()

    def take(self, limit_bytes: int | None = None, *, through: int | None = None) -> list[bytes]:
        """As `next_batch`, without waiting: [] when there is nothing to give, or nothing in what was looked at.

        Without `limit_bytes` it is as much as one session may keep others waiting for. `through`: an ordinal to end
        with.
        """
        if self._lost or self._router.is_retired:
            raise Fallen
        self.ends = []
        place = self._pending
        if place is None:
            return []
        router = self._router
        if place[0] < router.ring.first_ordinal:
            self._lost = True
            router.fallen += 1
            raise Fallen
        if self.turn is not None:
            return []
        if limit_bytes is None:
            limit_bytes = FRAME_BYTES if router.ring.get(place[0]).transaction.is_whole else PART_FRAME_BYTES
        skip = self._skip(place[0])
        until, change = self._next_turn(place[0]) if self._member_keys else (None, None)
        if through is not None and (until is None or until > through):
            until, change = through + 1, None
        passage = self._passage
        if passage is not None:
            passage.own = self._keys
            passage.kept = tuple(key for key in passage.kept if key in self._channels)  # what else it has let go since
        keys = router.ring.active((*self._keys, *(() if passage is None else passage.lost)), place[0])
        if skip is None and passage is None:
            alike = (*place, limit_bytes, keys, self._readable, self._view, self._is_inside, until)
            batch = router.shared(alike) or router.shared((*alike, self._reader))
            if batch is None:
                batch = collect(
                    router,
                    keys,
                    place,
                    limit_bytes,
                    None,
                    self._readable,
                    self._reader,
                    self._view,
                    is_inside=self._is_inside,
                    until=until,
                )
                router.share((*alike, self._reader) if batch.is_personal else alike, batch)
        else:
            batch = collect(
                router,
                keys,
                place,
                limit_bytes,
                skip,
                self._readable,
                self._reader,
                self._view,
                is_inside=self._is_inside,
                until=until,
                passage=passage,
            )
        self.ends = batch.ends
        self._is_inside = batch.is_inside
        self._pending = batch.following
        self._position = batch.position
        if until is not None and (batch.following is None or batch.following[0] >= until):
            if change is None:
                self._go_on(until, 0)
            else:
                is_exact = place[1] == 0 or until > place[0]
                self._pending = (until, 0)
                self._position = begins_after(router.ring, self._pending)
                self.turn = Turn(change, change.xid, is_exact and self._is_exact(until, change))
        elif batch.following is None:
            self._arm()
        return batch.frames

    def _next_turn(self, ordinal: int) -> tuple[int, Transaction] | tuple[None, None]:
        """Where to stop from here on, and for which transaction that changes the memberships.

        That is before it; at once, when the groups that are known are of after it, so that they are not those of what
        comes before. Not at all, when the rows that the session began with are of after it, too.
        """
        ring = self._router.ring
        passage = self._end_passage(ordinal)
        unclear = None
        if passage is not None:
            found = ring.find(passage.lost, ordinal)
            unclear = next((one for one in found if passage.is_unclear(ring.get(one))), None)
        until, change = self._next_change(ordinal, passage)
        if unclear is not None and (until is None or unclear < until):
            return unclear, ring.get(unclear).transaction
        return (None, None) if until is None or change is None else (until, change)

    def _end_passage(self, ordinal: int) -> Passage | None:
        passage, router = self._passage, self._router
        if passage is not None:
            ring = router.ring
            if passage.until is None and router.timeline.streamed_all(passage.snapshot):
                keys = (*self._keys, *self._member_keys, *passage.lost)
                seen = (
                    found
                    for found in ring.find(keys, ordinal)
                    if passage.snapshot.sees(ring.get(found).transaction.xid)
                )
                passage.until = max(seen, default=ordinal - 1) + 1
            if passage.until is not None and ordinal >= passage.until:
                self._passage = passage = None
                self._join(self._keys)
        return passage

    def _is_exact(self, ordinal: int, change: Transaction) -> bool:
        passage, known_at = self._passage, self._known_at
        return (
            change.is_whole
            and change.reserved > 0
            and known_at is not None
            and not known_at.sees(change.xid)
            and (passage is None or (passage.until is not None and ordinal >= passage.until))
            and not truncates_memberships(self._router.ring.get(ordinal))
        )

    def _next_change(self, ordinal: int, passage: Passage | None) -> tuple[int, Transaction] | tuple[None, None]:
        ring = self._router.ring
        for found in ring.find((*self._member_keys, EVERYONE), ordinal):
            held = ring.get(found)
            if not any(key in held.runs for key in self._member_keys) and not truncates_memberships(held):
                continue
            xid = held.transaction.xid
            rows_at, known_at = self._snapshot, self._known_at
            if known_at is not None and known_at.sees(xid):
                if (rows_at is not None and rows_at.sees(xid)) or (passage is not None and passage.snapshot.sees(xid)):
                    continue
                return ordinal, held.transaction
            return found, held.transaction
        return None, None

    def _skip(self, ordinal: int) -> Callable[[Held], int] | None:
        """What the session has already; None as soon as it can have nothing more of that."""
        router = self._router
        after, snapshot = self._after, self._snapshot
        if after and router.ring.appended >= after and router.ring.get(ordinal).transaction.first_sync_id > after:
            self._after = after = 0
        if snapshot is not None:
            if self._filter_until is None and router.timeline.streamed_all(snapshot):
                self._filter_until = router.ring.next_ordinal
            if self._filter_until is not None and ordinal >= self._filter_until:
                self._snapshot = snapshot = None
        if snapshot is None and not after:
            return None

        def skip(held: Held) -> int:
            changes = held.transaction.changes
            if snapshot is not None and snapshot.sees(held.transaction.xid):
                return len(changes)
            if held.transaction.first_sync_id > after:
                return 0
            return sum(change.sync_id <= after for change in changes)

        return skip

    def _start(self, ordinal: int, offset: int, sync_id: int) -> None:
        self.starts_after = sync_id
        self._lost = False
        self._is_inside = False
        self._after = 0
        self._snapshot = None
        self._filter_until = None
        self._place = (ordinal, offset)
        if self._passage is not None:
            self._passage = None
            self._join(self._keys)
        self._go_on(ordinal, offset)
        if self._member_keys and not self._closed:
            ring = self._router.ring
            newest = ring.get(ring.next_ordinal - 1).transaction if ring.appended > ring.head and len(ring) else None
            self._known_at = None
            self.turn = Turn(None, None if newest is None else newest.xid)
            self.notify()

    def _go_on(self, ordinal: int, offset: int) -> None:
        ring = self._router.ring
        lost = () if self._passage is None else self._passage.lost
        first = next(ring.find((*self._keys, *self._member_keys, *lost), ordinal), None)
        if first is None:
            self._pending = None
            self._position = ring.head
            self._arm()
        else:
            self._pending = (first, offset if first == ordinal else 0)
            self._position = begins_after(ring, self._pending)
            self.notify()

    def _keys_of(self, groups: Iterable[str]) -> tuple[Key, ...]:
        return (*keys_of_session(self.organization, groups), *self._added)

    def _join(self, keys: tuple[Key, ...]) -> None:
        joined = (*keys, *self._member_keys, *(() if self._passage is None else self._passage.lost))
        wanted = frozenset(joined)
        for key in [key for key in self._channels if key not in wanted]:
            channel = self._channels.pop(key)
            self._router.leave(self, key)
            self._disarmed = [other for other in self._disarmed if other is not channel]
        for key in joined:
            if key not in self._channels:
                self._channels[key] = self._router.join(self, key)
        self._keys = keys

    def _arm(self) -> None:
        for channel in self._disarmed:
            channel.armed.add(self)
        self._disarmed.clear()

    def notify(self) -> None:
        """Wakes whoever waits in `next_batch`."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
