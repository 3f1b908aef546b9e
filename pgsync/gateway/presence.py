"""Who is there: what connected clients say of themselves, told to those who share a group with them, on every gateway.

A participant is present while it has a session that has said so, on whichever gateway, or holds a claim. What it holds
comes from the claims themselves, not from what clients say.

Gateways tell each other through the log, and only when there is another: one whose first client connects *asks*, those
who hear it tell all that they have, and from then on each tells changes, or that it lives. Messages are numbered; who
misses one asks again. A gateway that is silent for too long has died, and so its sessions have gone. Anybody who may
write into the log can lie about who is there, so what comes from it is checked, bounded, and only ever shown.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import orjson
import psycopg

from pgsync import wire
from pgsync.gateway.claim_lines import ClaimLines, LiveClaim
from pgsync.gateway.connection import Call, Statement
from pgsync.gateway.database import Database, DatabaseUnavailableError
from pgsync.gateway.member import Member, Members, Participant, in_order
from pgsync.log import Event, emit
from pgsync.stream.transaction import Notice

THROTTLE_SECONDS: Final = 1.0
PACE_SECONDS: Final = 0.1
# A frame has all that a participant holds, so the more that is, the less often it is told.
CLAIMS_PER_SECOND: Final = 500
MAX_SHOWN_CLAIMS: Final = 1000
HEARTBEAT_SECONDS: Final = 3.0
EXPIRY_SECONDS: Final = 10.0
ASK_SECONDS: Final = 1.0
CLOSE_SECONDS: Final = 1.0
MAX_PAYLOAD_BYTES: Final = 4096
MAX_TEXT: Final = 1000
MAX_GROUPS: Final = 1000
MAX_PEERS: Final = 256
MAX_REMOTE_SESSIONS: Final = 100_000
SESSIONS_PER_MESSAGE: Final = 100

_SAY = Statement(b"SELECT pgsync.say_presence_v1($1::jsonb)", b"say_presence_v1")
_KINDS: Final = frozenset({"user", "agent", "system"})
_LAST_MS: Final = (1 << 53) - 1
_OFFLINE: Final = "offline"

# What the server says and no client may.
_STAMPED: Final = frozenset(
    {"kind", "userId", "syncGroups", "timestamp", "isAgent", "participantKind", "activeClaims", "delegatedFrom"}
)
_TEXTS: Final = ("status", "timezone", "customStatus")
_SHAPED: Final = frozenset({*_TEXTS, "activity"})


def payload_of(said: Mapping[str, Any]) -> dict[str, Any]:
    """What a client says of itself, as others may hear it: fields of the contract only in their shape, others as long
    as all of it is small.
    """
    payload: dict[str, Any] = {"status": "online"}
    for key in _TEXTS:
        if isinstance(said.get(key), str) and 0 < len(said[key]) <= MAX_TEXT:
            payload[key] = said[key]
    activity = _activity(said.get("activity"))
    if activity is not None:
        payload["activity"] = activity
    more = {key: value for key, value in said.items() if key not in _STAMPED and key not in _SHAPED}
    if more and _size(payload | more) <= MAX_PAYLOAD_BYTES:
        payload |= more
    if _size(payload) > MAX_PAYLOAD_BYTES:
        payload.pop("activity", None)
    if _size(payload) > MAX_PAYLOAD_BYTES:
        payload = {"status": "online"}
    return payload


def _activity(said: object) -> dict[str, Any] | None:
    if not isinstance(said, dict):
        return None
    if not all(isinstance(said.get(key), str) and said[key] for key in ("entityType", "entityId", "action")):
        return None
    fields = said.get("fields")
    shapes: dict[str, bool] = {
        "field": isinstance(said.get("field"), str),
        "fields": isinstance(fields, list) and all(isinstance(name, str) for name in fields),
        "meta": isinstance(said.get("meta"), dict),
        "detail": isinstance(said.get("detail"), str),
        "loadFactor": isinstance(said.get("loadFactor"), int | float) and not isinstance(said["loadFactor"], bool),
        "acceptingNewWork": isinstance(said.get("acceptingNewWork"), bool),
    }
    known = ("entityType", "entityId", "action", *(key for key, fits in shapes.items() if fits))
    return {key: said[key] for key in known}


def _size(payload: Mapping[str, Any]) -> int:
    try:  # as deep as it lies in what gateways tell each other: what cannot be told there is too much
        return len(orjson.dumps([[[[[[[[payload]]]]]]]])) - 16
    except TypeError:
        return MAX_PAYLOAD_BYTES + 1


@dataclass(frozen=True, slots=True, eq=False)
class _Session:
    """One session of a participant and what it said last, `at` in milliseconds since 1970."""

    participant: Participant
    groups: frozenset[str]
    payload: Mapping[str, Any]
    delegated_from: str | None
    at: int

    def to_json(self, session_id: str) -> list[Any]:
        groups = sorted(self.groups)[:MAX_GROUPS]
        return [session_id, *self.participant, groups, self.payload, self.delegated_from, self.at]

    @classmethod
    def from_json(cls, said: object) -> tuple[str, _Session] | None:
        """None for what no gateway says."""
        match said:
            case [
                str(session_id),
                str(organization),
                str(kind),
                str(participant_id),
                list(groups),
                dict(payload),
                (str() | None) as delegated_from,
                int(at),
            ] if kind in _KINDS and len(groups) <= MAX_GROUPS and len(session_id) <= 64 and participant_id:
                if not all(isinstance(group, str) for group in groups) or not 0 <= at <= _LAST_MS:
                    return None
                participant = (organization, kind, participant_id)
                return session_id, cls(participant, frozenset(groups), payload_of(payload), delegated_from, at)
        return None


MayHear = Callable[[Member, Mapping[str, Any], list[LiveClaim]], bool]
"""Whether a member may be told what somebody is busy with, who has these claims for all that the member is shown."""


@dataclass(slots=True)
class _Shown:
    """What others were told last of a participant."""

    is_present: bool = False
    groups: frozenset[str] = frozenset()
    claims: tuple[LiveClaim, ...] = ()

    def is_seen_by(self, member: Member) -> bool:
        if not self.is_present:
            return False
        return not self.groups.isdisjoint(member.groups) or any(claim.seen_by(member) for claim in self.claims)


class _Person:
    """A participant with its sessions, by gateway and id."""

    __slots__ = ("_frames", "_may_hear", "participant", "sessions", "shown", "timer", "told_at")

    def __init__(self, participant: Participant, may_hear: MayHear) -> None:
        self.participant = participant
        self._may_hear = may_hear
        self.sessions: dict[Hashable, _Session] = {}
        self.shown = _Shown()
        self.told_at = float("-inf")
        self.timer: asyncio.TimerHandle | None = None
        self._frames: dict[tuple[Any, ...], bytes] = {}

    def show(self, shown: _Shown) -> None:
        self.shown = shown
        self._frames = {}

    def seen_as(self, member: Member, shown: _Shown) -> tuple[frozenset[str], list[LiveClaim]]:
        """What of it a member is told: groups that the member has, too, and claims that it is shown."""
        claims = [claim for claim in shown.claims if claim.seen_by(member)]
        rows = frozenset[str]().union(*(claim.groups for claim in claims))
        return (shown.groups | rows) & member.groups, claims

    def frame(self, kind: str, member: Member, shown: _Shown) -> bytes:
        """What a member is told."""
        groups, claims = self.seen_as(member, shown)
        if kind == "leave":
            claims = []
        newest = max(self.sessions.values(), key=lambda session: session.at, default=None)
        activity = None if newest is None else newest.payload.get("activity")
        hears_activity = activity is not None and self._may_hear(member, activity, claims)
        key = (kind, groups, hears_activity, *(claim.claim_id for claim in claims))
        frame = self._frames.get(key)
        if frame is None:
            frame = self._frames[key] = self._encode(kind, groups, claims, newest, hears_activity=hears_activity)
        return frame

    def _encode(
        self,
        kind: str,
        groups: frozenset[str],
        claims: list[LiveClaim],
        newest: _Session | None,
        *,
        hears_activity: bool,
    ) -> bytes:
        payload: dict[str, Any] = {}
        if kind == "leave":
            payload["status"] = _OFFLINE
        else:
            payload |= {"status": "online"} if newest is None else newest.payload
            if not hears_activity:
                payload.pop("activity", None)
        payload |= {
            "kind": kind,
            "userId": self.participant[2],
            "participantKind": self.participant[1],
            "isAgent": self.participant[1] == "agent",
            "syncGroups": sorted(groups),
            "timestamp": _now_ms(),
            "activeClaims": [{**claim.summary, "status": "active"} for claim in claims],
        }
        if newest is not None and newest.delegated_from is not None:
            payload["delegatedFrom"] = newest.delegated_from
        return wire.frame(b"presence_update", orjson.dumps(payload))


class _News:
    """That a participant has come, has changed or has gone, made into a frame when it is sent.

    `knows`: when it is sent, the client believes that the participant is there. News may take the place of others that
    were never sent, so that is not what the news itself says.
    """

    __slots__ = ("_left", "_member", "_person", "knows")

    def __init__(self, person: _Person, member: Member, left: bytes | None, *, knows: bool) -> None:
        self.knows = knows
        self._person = person
        self._member = member
        self._left = left

    def __call__(self) -> bytes | None:
        if self._left is not None:
            return self._left if self.knows else None
        if not self._person.shown.is_seen_by(self._member):
            return None
        return self._person.frame("update" if self.knows else "enter", self._member, self._person.shown)


@dataclass(slots=True)
class _Local:
    """What a client of this gateway has said; `waiting` is what it said since less than a second ago."""

    session_id: str
    said_at: float = float("-inf")
    waiting: Mapping[str, Any] | None = None
    timer: asyncio.TimerHandle | None = None
    payload: Mapping[str, Any] | None = None
    at: int = 0


@dataclass(slots=True)
class _Peer:
    """Another gateway: the number of its last message, when it came, and whose its sessions are."""

    number: int
    heard_at: float
    sessions: dict[str, Participant] = field(default_factory=dict)


class Presence:
    """Tells the clients of this gateway who is there, and the other gateways who is here.

    `is_listening` says whether the log is being read: while it is not, nobody is taken for dead.
    """

    def __init__(
        self, database: Database, members: Members, lines: ClaimLines, *, is_listening: Callable[[], bool]
    ) -> None:
        self.gateway_id = os.urandom(8).hex()
        self._database = database
        self._members = members
        self._lines = lines
        self._is_listening = is_listening
        self._people: dict[Participant, _Person] = {}
        self._organizations: dict[str, set[Participant]] = {}
        self._local: dict[Member, _Local] = {}
        self._sessions = 0
        self._peers: dict[str, _Peer] = {}
        self._remote_sessions = 0
        # What the other gateways have not been told.
        self._number = 0
        self._changed: dict[str, Member | None] = {}
        self._asks = False
        self._tells_all = False
        self._said_at = self._asked_at = self._deaf_until = float("-inf")
        self._due = asyncio.Event()
        lines.on_held = self._claims_changed

    # --- clients of this gateway --------------------------------------------------------------------------------------

    def joined(self, member: Member) -> None:
        """A client has connected: it hears who is there."""
        if not self._local:
            self._asks = True
            self._due.set()
        self._sessions += 1
        self._local[member] = _Local(f"{self._sessions}")
        for participant in in_order(self._organizations.get(member.organization, ())):
            person = self._people[participant]
            if participant != member.participant and person.shown.is_seen_by(member):
                self._tell(member, "enter", person)

    def said(self, member: Member, said: Mapping[str, Any]) -> None:
        """A `presence_update` frame: told at once, but at most once a second; of several the last."""
        local = self._local.get(member)
        if local is None:
            return
        local.waiting = said
        wait_seconds = local.said_at + THROTTLE_SECONDS - time.monotonic()
        if wait_seconds <= 0:
            self._take(member)
        elif local.timer is None:
            local.timer = asyncio.get_running_loop().call_later(wait_seconds, self._take, member)

    def _take(self, member: Member) -> None:
        local = self._local.get(member)
        if local is None or local.waiting is None:
            return
        local.said_at, local.timer = time.monotonic(), None
        payload, local.waiting = payload_of(local.waiting), None
        newest = max((session.at for session in self._person(member.participant).sessions.values()), default=-1)
        if payload != local.payload or newest > local.at:
            # What was said last counts, also within a millisecond, and when another gateway's clock is ahead.
            local.payload, local.at = payload, min(max(_now_ms(), newest + 1), _LAST_MS)
            self._put_local(member, local)

    def _put_local(self, member: Member, local: _Local) -> None:
        assert local.payload is not None
        behalf = orjson.loads(member.credential.identity_json).get("onBehalfOf")
        delegated_from = behalf.get("id") if isinstance(behalf, dict) else None
        session = _Session(member.participant, member.groups, local.payload, delegated_from, local.at)
        self._person(member.participant).sessions[member] = session
        self._refresh(member.participant)
        self._changed[local.session_id] = member
        self._due.set()

    def regrouped(self, member: Member, before: frozenset[str]) -> None:
        """A client has other groups: it sees others, and others see it."""
        local = self._local.get(member)
        if local is None:
            return
        for participant in in_order(self._organizations.get(member.organization, ())):
            person = self._people[participant]
            if participant == member.participant:
                continue
            with member.having(before):
                was_seen, before_key = person.shown.is_seen_by(member), person.seen_as(member, person.shown)
                left = person.frame("leave", member, person.shown) if was_seen else b""
            is_seen = person.shown.is_seen_by(member)
            if is_seen != was_seen:
                self._tell(member, "enter" if is_seen else "leave", person, left)
            elif is_seen and person.seen_as(member, person.shown) != before_key:
                self._tell(member, "update", person)
        if local.payload is not None:
            self._put_local(member, local)

    def left(self, member: Member, *, is_last: bool) -> None:
        """A client has gone."""
        local = self._local.pop(member, None)
        if local is None:
            return
        if local.timer is not None:
            local.timer.cancel()
        if local.payload is not None:
            person = self._people.get(member.participant)
            if person is not None:
                person.sessions.pop(member, None)
            self._changed[local.session_id] = None
            self._due.set()
        self._refresh(member.participant)
        if is_last:  # nobody is told any more what those hold who are not connected
            for participant in in_order(self._organizations.get(member.organization, ())):
                self._refresh(participant)

    # --- who is told what ---------------------------------------------------------------------------------------------

    def _person(self, participant: Participant) -> _Person:
        person = self._people.get(participant)
        if person is None:
            person = self._people[participant] = _Person(participant, self._lines.may_hear)
            self._organizations.setdefault(participant[0], set()).add(participant)
        return person

    def _claims_changed(self, participant: Participant) -> None:
        person = self._people.get(participant)
        refresh = partial(self._refresh, participant, only_claims=True)
        if person is None:
            refresh()
        elif person.timer is None:
            wait_seconds = person.told_at + len(person.shown.claims) / CLAIMS_PER_SECOND - time.monotonic()
            if wait_seconds <= 0:
                refresh()
            else:
                person.timer = asyncio.get_running_loop().call_later(wait_seconds, refresh)

    def _refresh(self, participant: Participant, *, only_claims: bool = False) -> None:
        """Tells everybody concerned what has changed with a participant; of claims those who are shown them."""
        claims = tuple(self._lines.held_by(participant)[:MAX_SHOWN_CLAIMS])
        if not claims and participant not in self._people:
            return
        person = self._person(participant)
        if person.timer is not None:
            person.timer.cancel()
            person.timer = None
        person.told_at = time.monotonic()
        groups = frozenset[str]().union(*(session.groups for session in person.sessions.values()))
        before, after = person.shown, _Shown(bool(person.sessions or claims), groups, claims)
        left: dict[Member, bytes] = {}
        concerned: list[tuple[Member, str]] = []
        for member in self._members.of(participant[0]):
            if member.participant == participant:
                continue
            was_seen, is_seen = before.is_seen_by(member), after.is_seen_by(member)
            if is_seen:
                if was_seen and only_claims and person.seen_as(member, before) == person.seen_as(member, after):
                    continue
                concerned.append((member, "update" if was_seen else "enter"))
            elif was_seen:
                concerned.append((member, "leave"))
                left[member] = person.frame("leave", member, before)
        person.show(after)
        for member, kind in concerned:
            self._tell(member, kind, person, left.get(member))
        if not after.is_present:
            del self._people[participant]
            others = self._organizations[participant[0]]
            others.discard(participant)
            if not others:
                del self._organizations[participant[0]]

    def _tell(self, member: Member, kind: str, person: _Person, left: bytes | None = None) -> None:
        key = ("presence", person.participant)
        waiting = member.outbox.waiting(key)
        knows = waiting.knows if isinstance(waiting, _News) else kind != "enter"
        member.outbox.put(_News(person, member, left if kind == "leave" else None, knows=knows), key=key)

    # --- other gateways -----------------------------------------------------------------------------------------------

    def notice(self, notice: Notice) -> None:
        """What a gateway says; every part of it is checked, whoever wrote it."""
        said = notice.said
        gateway, number = said.get("g"), said.get("n")
        if not isinstance(gateway, str) or not 0 < len(gateway) <= 64 or gateway == self.gateway_id:
            return
        if not isinstance(number, int) or isinstance(number, bool):
            return
        now = time.monotonic()
        peer = self._peers.get(gateway)
        if said.get("bye") is True:
            self._lose(gateway)
            return
        if peer is not None and number <= peer.number:
            return  # heard before
        if peer is None and len(self._peers) >= MAX_PEERS:
            return
        resets = said.get("reset") is True
        if not resets and (peer is None or number != peer.number + 1):
            self._asks = True
            self._due.set()
        if peer is None:
            peer = self._peers[gateway] = _Peer(number, now)
            self._tells_all = True
        peer.number, peer.heard_at = number, now
        if said.get("ask") is True:
            self._tells_all = True
        gone = set(peer.sessions) if resets else set[str]()
        touched: set[Participant] = set()
        for entry in _list(said.get("on")):
            session = _Session.from_json(entry)
            if session is not None:
                gone.discard(session[0])
                self._put_remote(gateway, peer, *session, touched)
        gone.update(session_id for session_id in _list(said.get("off")) if isinstance(session_id, str))
        for session_id in gone:
            self._drop_remote(gateway, peer, session_id, touched)
        for participant in in_order(touched):
            self._refresh(participant)
        if self._tells_all:
            self._due.set()

    def _put_remote(
        self, gateway: str, peer: _Peer, session_id: str, session: _Session, touched: set[Participant]
    ) -> None:
        old = peer.sessions.get(session_id)
        if old is not None and old != session.participant:
            self._drop_remote(gateway, peer, session_id, touched)
            old = None
        if old is None:
            if self._remote_sessions >= MAX_REMOTE_SESSIONS:
                return
            self._remote_sessions += 1
            peer.sessions[session_id] = session.participant
        self._person(session.participant).sessions[gateway, session_id] = session
        touched.add(session.participant)

    def _drop_remote(self, gateway: str, peer: _Peer, session_id: str, touched: set[Participant]) -> None:
        participant = peer.sessions.pop(session_id, None)
        if participant is None:
            return
        self._remote_sessions -= 1
        person = self._people.get(participant)
        if person is not None:
            person.sessions.pop((gateway, session_id), None)
        touched.add(participant)

    def _lose(self, gateway: str) -> None:
        """Another gateway has ended, and with it its sessions."""
        peer = self._peers.pop(gateway, None)
        if peer is None:
            return
        touched: set[Participant] = set()
        for session_id in list(peer.sessions):
            self._drop_remote(gateway, peer, session_id, touched)
        for participant in in_order(touched):
            self._refresh(participant)

    def ask(self) -> None:
        """Messages may have been missed: the other gateways shall tell everything again."""
        if self._members:
            self._asks = True
            self._due.set()

    async def run(self) -> None:
        """Tells the other gateways what happens here, and notices when one is silent; until it is cancelled."""
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS / 3):
                    await self._due.wait()
            except TimeoutError:
                pass
            self._due.clear()
            self._expire(time.monotonic())
            try:
                await self._speak()
            except (DatabaseUnavailableError, psycopg.Error) as error:
                emit(Event.DATABASE_UNAVAILABLE, error=error)
                self._tells_all = True  # what of it has arrived is not known
                await asyncio.sleep(ASK_SECONDS)
            await asyncio.sleep(PACE_SECONDS)

    def _expire(self, now: float) -> None:
        if not self._is_listening():
            self._deaf_until = now
            return
        for gateway, peer in list(self._peers.items()):
            if now - max(peer.heard_at, self._deaf_until) > EXPIRY_SECONDS:
                self._lose(gateway)

    async def _speak(self) -> None:
        now = time.monotonic()
        asks = self._asks and bool(self._members)
        if asks and now - self._asked_at < ASK_SECONDS:
            asks = False  # soon
        else:
            self._asks = False
        if not asks and not self._peers:
            self._changed.clear()  # nobody is there to be told; who comes asks
            self._tells_all = False
            return
        changed, self._changed = self._changed, {}
        if asks or self._tells_all:
            self._tells_all = False
            if asks:
                self._asked_at = now
            if not asks and not self._members:
                return
            sessions = [
                session.to_json(local.session_id)
                for member, local in self._local.items()
                if (session := self._session_of(member)) is not None
            ]
            first: dict[str, Any] = {"reset": True, "on": sessions[:SESSIONS_PER_MESSAGE]}
            await self._say(first | {"ask": True} if asks else first)
            for start in range(SESSIONS_PER_MESSAGE, len(sessions), SESSIONS_PER_MESSAGE):
                await self._say({"on": sessions[start : start + SESSIONS_PER_MESSAGE]})
        elif changed:
            items = list(changed.items())
            for start in range(0, len(items), SESSIONS_PER_MESSAGE):
                part = items[start : start + SESSIONS_PER_MESSAGE]
                found = [(key, None if member is None else self._session_of(member)) for key, member in part]
                on = [session.to_json(key) for key, session in found if session is not None]
                await self._say({"on": on, "off": [key for key, session in found if session is None]})
        elif self._members and now - self._said_at >= HEARTBEAT_SECONDS:
            await self._say({})

    def _session_of(self, member: Member) -> _Session | None:
        person = self._people.get(member.participant)
        return None if person is None else person.sessions.get(member)

    async def _say(self, said: Mapping[str, Any]) -> None:
        self._number += 1
        raw = orjson.dumps({"g": self.gateway_id, "n": self._number, **said})
        await self._database.run([Call(_SAY, (raw,))])
        self._said_at = time.monotonic()

    async def close(self) -> None:
        """Says goodbye, so that nobody has to wait for the silence."""
        if not self._peers:
            return
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._say({"bye": True})
        except (TimeoutError, DatabaseUnavailableError, psycopg.Error) as error:
            emit(Event.DATABASE_UNAVAILABLE, error=error)


def _list(said: object) -> list[Any]:
    return said if isinstance(said, list) else []


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
