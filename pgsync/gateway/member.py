"""Connected clients as claims and presence know them: who they are, what they may see, and what waits to be sent.

What is told to many is not queued for each of them without bound: a frame that says more than an earlier one of its key
takes its place, and a client that does not read for so long that too much waits is let go.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import orjson

from pgsync.gateway.authenticate import Credential

MAX_WAITING: Final = 4096

_Key = TypeVar("_Key")

Participant = tuple[str, str, str]
"""Organization, kind and id."""

Frame = bytes | Callable[[], bytes | None] | Callable[[], Awaitable[bytes | None]]
"""A frame, or what makes it when its turn to be sent has come; None: there is nothing to say any more."""


def in_order(participants: Iterable[Participant]) -> list[Participant]:
    """By id: clients hear of several in the same order, whenever and at whichever gateway those have come."""
    return sorted(participants, key=lambda participant: (participant[2], participant[1]))


@dataclass(slots=True)
class _Waiting:
    frame: Frame
    sent: Callable[[], Awaitable[None]] | None
    done: asyncio.Future[None] | None


class Outbox:
    """Frames that wait to be sent to one client, in their order.

    `on_overflow` is called when more than `MAX_WAITING` wait, once.
    """

    def __init__(self, on_overflow: Callable[[], object]) -> None:
        self._waiting: OrderedDict[Hashable, _Waiting] = OrderedDict()
        self._wake: asyncio.Future[None] | None = None
        self._on_overflow: Callable[[], object] | None = on_overflow
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    def waiting(self, key: Hashable) -> Frame | None:
        """The frame of this key that has not been sent."""
        found = self._waiting.get(key)
        return None if found is None else found.frame

    def put(
        self, frame: Frame, *, key: Hashable | None = None, sent: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Sends the frame soon, in place of one of the same key that still waits. `sent` is awaited after it."""
        self._put(object() if key is None else key, _Waiting(frame, sent, None))

    def post(self, frame: Frame) -> asyncio.Future[None]:
        """Sends the frame in its order; done when it is sent: who asks much and reads little has to wait."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._is_closed:
            done.set_result(None)
        else:
            self._put(object(), _Waiting(frame, None, done))
        return done

    def close(self) -> None:
        """Nobody reads any more: what waits is forgotten, and so is what comes."""
        self._is_closed = True
        for waiting in self._waiting.values():
            if waiting.done is not None and not waiting.done.done():
                waiting.done.set_result(None)
        self._waiting.clear()

    def _put(self, key: Hashable, waiting: _Waiting) -> None:
        if self._is_closed:
            return
        old = self._waiting.get(key)
        self._waiting[key] = waiting if old is None else _Waiting(waiting.frame, waiting.sent or old.sent, None)
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
        if len(self._waiting) > MAX_WAITING and self._on_overflow is not None:
            overflow, self._on_overflow = self._on_overflow, None
            overflow()

    async def run(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Sends what is put in until it is cancelled."""
        while True:
            while not self._waiting:
                self._wake = asyncio.get_running_loop().create_future()
                try:
                    await self._wake
                finally:
                    self._wake = None
            _, waiting = self._waiting.popitem(last=False)
            made: Any = waiting.frame if isinstance(waiting.frame, bytes) else waiting.frame()
            frame: bytes | None = await made if inspect.isawaitable(made) else made
            if frame is not None:
                await send(frame)
                if waiting.sent is not None:
                    await waiting.sent()
            if waiting.done is not None and not waiting.done.done():
                waiting.done.set_result(None)


class Member:
    """One connected client. `groups` are those of its subscription, `reader` is whom read rules are judged for, with
    all groups that it has; set them through `Coordination.regroup`.

    `catch_up` sends what the stream has for the client and gives the sync id up to which it has everything then, None
    when that cannot be said.
    """

    __slots__ = ("_operations", "catch_up", "credential", "groups", "outbox", "participant", "reader")

    def __init__(
        self,
        credential: Credential,
        groups: frozenset[str],
        *,
        on_overflow: Callable[[], object],
        catch_up: Callable[[], Awaitable[int | None]],
    ) -> None:
        self.credential = credential
        self.participant: Participant = (
            credential.organization_id,
            credential.participant_kind,
            credential.participant_id,
        )
        self.groups = groups
        self.reader = credential.reader
        self.outbox = Outbox(on_overflow)
        self.catch_up = catch_up
        identity = orjson.loads(credential.identity_json)
        operations = identity.get("operations") or ["*.read"]
        self._operations = frozenset[str]() if identity.get("controlPlaneOnly") else frozenset(operations)

    @contextmanager
    def having(self, groups: frozenset[str]) -> Iterator[None]:
        """What it sees with other groups; nothing may be awaited meanwhile."""
        own, self.groups = self.groups, groups
        try:
            yield
        finally:
            self.groups = own

    @property
    def organization(self) -> str:
        """The organization's id."""
        return self.participant[0]

    def may_read(self, model: str) -> bool:
        """Whether its grants let it read a model, by its lower-cased typename."""
        return self.credential.readable is None or model in self.credential.readable

    def has_grant(self, model: str) -> bool:
        """Whether it has any grant on a model, by its lower-cased typename: then it is shown claims on it."""
        return any(operation.rpartition(".")[0] in (model, "*") for operation in self._operations)


class Members:
    """The connected clients of this gateway, by organization and by participant."""

    def __init__(self) -> None:
        self._organizations: dict[str, set[Member]] = {}
        self._participants: dict[Participant, set[Member]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._organizations.values()))

    def __bool__(self) -> bool:
        return bool(self._organizations)

    def organizations(self) -> Iterator[str]:
        """Those of which somebody is connected."""
        return iter(list(self._organizations))

    def has(self, organization: str) -> bool:
        """Whether somebody of the organization is connected."""
        return organization in self._organizations

    def of(self, organization: str) -> list[Member]:
        """The clients of an organization."""
        return list(self._organizations.get(organization, ()))

    def of_participant(self, participant: Participant) -> list[Member]:
        """The clients of a participant: its tabs."""
        return list(self._participants.get(participant, ()))

    def add(self, member: Member) -> bool:
        """Whether it is the first of its organization."""
        is_first = not self.has(member.organization)
        self._organizations.setdefault(member.organization, set()).add(member)
        self._participants.setdefault(member.participant, set()).add(member)
        return is_first

    def remove(self, member: Member) -> bool:
        """Whether it was the last of its organization."""
        _discard(self._organizations, member.organization, member)
        _discard(self._participants, member.participant, member)
        return not self.has(member.organization)


def _discard(index: dict[_Key, set[Member]], key: _Key, member: Member) -> None:
    members = index.get(key, set())
    members.discard(member)
    if not members:
        index.pop(key, None)
