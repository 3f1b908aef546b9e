"""Wakes the sessions that a transaction concerns, and no others.

An index from who-may-see-it to the sessions waiting for it: the cost of a change grows with the sessions that match it,
not with those connected, and a session that was woken is not visited again until it has read everything.

A session is in the index from the moment it exists, so it has to be opened before the client is told that it is
connected: what is committed in between waits in the ring.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from pgsync.expression import Reader
from pgsync.stream.frames import Batch, View
from pgsync.stream.ring import Held, Key, Ring
from pgsync.stream.session import Session
from pgsync.stream.timeline import Timeline

# Batches kept for other sessions that stand at the same place; this comes on top of the ring's own bound.
SHARED_BATCHES: Final = 64
SHARED_BATCHES_BYTES: Final = 16 * 1024 * 1024


class Channel:
    """The sessions that one key concerns. `armed` are those to be woken; the others have been and still read."""

    __slots__ = ("armed", "sessions")

    def __init__(self) -> None:
        self.sessions: set[Session] = set()
        self.armed: set[Session] = set()


class Router:
    """Knows the sessions of one gateway process. `epoch` names the database and its number line, for resume cursors."""

    def __init__(self, ring: Ring, timeline: Timeline, *, epoch: str) -> None:
        self.ring = ring
        self.timeline = timeline
        self.epoch = epoch
        self.is_retired = False
        self.fallen = 0  # how often a session was slower than the ring
        self._channels: dict[Key, Channel] = {}
        self._sessions: set[Session] = set()
        self._batches: OrderedDict[tuple[object, ...], Batch] = OrderedDict()
        self._batches_bytes = 0
        ring.listener = self.offer

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def shared_bytes(self) -> int:
        """Memory of the frames kept for sessions that stand at the same place."""
        return self._batches_bytes

    def open(
        self,
        organization: str,
        groups: Iterable[str],
        *,
        readable: frozenset[str] | None = None,
        reader: Reader | None = None,
        view: View | None = None,
        member: str | None = None,
        is_newer: bool = False,
    ) -> Session:
        """A session that receives everything from now on that its groups may see.

        `readable` are the lower-cased typenames of the models that it may read, None for all. `reader` is whom read
        rules are judged for; without one, models with a rule show nothing. `view` is the form of what it is given.
        `member` is the id of the participant whose memberships it follows, None for a session that follows none.
        `is_newer`: it is opened under a version of the schema that the stream has not reached.
        """
        session = Session(self, organization, groups, readable, reader, view, member, is_newer=is_newer)
        self._sessions.add(session)
        return session

    def close(self, session: Session) -> None:
        """Forgets a session; whoever waits in `next_batch` gets an empty list."""
        if session in self._sessions:
            self._sessions.discard(session)
            session.close()

    def retire(self) -> None:
        """The stream begins anew with another ring and router: every session has fallen and hears so at once."""
        self.is_retired = True
        for session in self._sessions:
            session.notify()

    def offer(self, held: Held) -> None:
        """Wakes the sessions that a transaction concerns."""
        for key in held.runs:
            channel = self._channels.get(key)
            if channel is not None and channel.armed:
                for session in channel.armed:
                    session.wake(channel, held.ordinal)
                channel.armed.clear()

    def join(self, session: Session, key: Key) -> Channel:
        """Puts a session into the index, to be woken."""
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = Channel()
        channel.sessions.add(session)
        channel.armed.add(session)
        return channel

    def leave(self, session: Session, key: Key) -> Channel:
        """Takes a session out of the index."""
        channel = self._channels[key]
        channel.sessions.discard(session)
        channel.armed.discard(session)
        if not channel.sessions:
            del self._channels[key]
        return channel

    def shared(self, place: tuple[object, ...]) -> Batch | None:
        """The batch that another session was given at this place, if it still is what this one would get."""
        batch = self._batches.get(place)
        if batch is None or (batch.following is None and batch.next_ordinal != self.ring.next_ordinal):
            return None
        self._batches.move_to_end(place)
        return batch

    def share(self, place: tuple[object, ...], batch: Batch) -> None:
        """Keeps a batch for other sessions at the same place."""
        old = self._batches.pop(place, None)
        if old is not None:
            self._batches_bytes -= old.size_bytes
        self._batches[place] = batch
        self._batches_bytes += batch.size_bytes
        while len(self._batches) > SHARED_BATCHES or (
            self._batches_bytes > SHARED_BATCHES_BYTES and len(self._batches) > 1
        ):
            self._batches_bytes -= self._batches.popitem(last=False)[1].size_bytes
