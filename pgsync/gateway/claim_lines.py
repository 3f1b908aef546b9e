"""The claims of the rows that connected clients are told about, as the database last said.

Every claim event puts a hint into the log: the row and the claim, no more. Whoever wrote it, it only
has the row's claims read again, once for all clients of this gateway however many hints came meanwhile, and only when
somebody of the organization is connected. What clients are told is what was read, never what a hint said. A periodic
reading makes up for hints that were missed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import orjson
import psycopg

from pgsync import wire
from pgsync.expression import Reader, compile_rule, rule_of
from pgsync.gateway.active_schema import ServedSchema
from pgsync.gateway.connection import Call, Statement
from pgsync.gateway.database import Database, DatabaseUnavailableError
from pgsync.gateway.member import Member, Members, Participant, in_order
from pgsync.log import Event, emit
from pgsync.models import ActiveSchema, Model
from pgsync.stream.ring import DEFAULT_GROUP
from pgsync.stream.timeline import Snapshot
from pgsync.stream.transaction import Notice
from pgsync.tasks import TaskGroup

BEAT_SECONDS: Final = 5.0  # a ticket lasts 15 seconds without one
REFRESH_SECONDS: Final = 15.0
RETRY_SECONDS: Final = 1.0
PACE_SECONDS: Final = 0.02
VISIBLE_SECONDS: Final = 0.005
# A lease that was extended is told anew when the end that was told before is this near.
EXTENDED_SECONDS: Final = 20.0
BATCH: Final = 100
TICKETS: Final = 1000
MAX_LINES: Final = 10_000
MAX_DIRTY: Final = 20_000

_LINES = Statement(b"SELECT pgsync.claim_lines_v1($1::jsonb)", b"claim_lines_v1")
_ROWS = Statement(b"SELECT pgsync.claimed_rows_v1($1::text, $2::integer)", b"claimed_rows_v1")
_KEEP = Statement(b"SELECT pgsync.keep_tickets_v1($1::jsonb)", b"keep_tickets_v1")
_BEAT = Statement(
    b"SELECT pgsync.heartbeat_claim_v1($1::jsonb, $2::text, NULL, NULL, '{}')", b"heartbeat_claim_v1_plain"
)

Target = tuple[str, str, str]
"""Scope (the organization, or "" for a model that all share), model's name in SQL, row id.

The claims of those who do not see a row that is there have a scope of their own, the same after `UNSEEN`.
"""

UNSEEN: Final = "\x1f"

ClaimKey = tuple[str, str]
"""Organization and claim id."""


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    """What decides who may see a row, by the same rules as on the stream. `values` is None when there is no row."""

    model: str
    values: Mapping[str, str | None] | None
    groups: frozenset[str]
    matches: Callable[[Mapping[str, str | None], Reader], bool] | None

    @classmethod
    def of(cls, model: Model, scope: str, texts: Mapping[str, str | None] | None) -> _Row:
        name = model.typename.lower()
        if texts is None:
            return cls(name, None, frozenset(), None)
        values = {field.column: texts.get(field.name) for field in model.fields}
        if model.groups:
            groups = [f"{group.kind}:{value}" for group in model.groups if (value := values.get(group.column))]
        else:
            organization = _organization(scope)
            groups = [f"org:{organization}" if organization else DEFAULT_GROUP]
        rule = rule_of(model)
        return cls(name, values, frozenset(groups), None if rule is None else compile_rule(rule))

    def seen_by(self, member: Member) -> bool:
        if self.values is None or not member.may_read(self.model):
            return False
        if self.groups.isdisjoint(member.groups) and DEFAULT_GROUP not in self.groups:
            return False
        try:
            return self.matches is None or self.matches(self.values, member.reader)
        except (KeyError, ValueError):  # a column of the rule that the model does not have, or a value that is none
            return False


@dataclass(frozen=True, slots=True, eq=False)
class LiveClaim:
    """A claim that is held or waits. `summary` is that of contract 1.13; `position` of one that waits."""

    organization: str
    claim_id: str
    is_held: bool
    participant: Participant
    fence_token: int | None
    position: int | None
    summary: Mapping[str, Any]
    row: _Row
    row_seen: bool
    is_unseen: bool

    @property
    def key(self) -> ClaimKey:
        return self.organization, self.claim_id

    @property
    def groups(self) -> frozenset[str]:
        """The sync groups of its row."""
        return self.row.groups

    def seen_by(self, member: Member) -> bool:
        """Whether a client is shown it, as `pgsync_private.sees_claim` decides for reads."""
        if member.organization != self.organization:
            return False
        if member.participant == self.participant:
            return True
        if not member.has_grant(self.row.model):
            return False
        if self.is_unseen:
            return not self.row.seen_by(member)
        return not self.row_seen or self.row.seen_by(member)

    def target(self, entity_type: str | None = None) -> dict[str, Any]:
        """The row and the parts of it, as claim frames name them."""
        return _target(self.summary, entity_type)

    def queued_json(self) -> dict[str, Any]:
        """As an entry of `claim_queue` frames."""
        target = {key: self.summary[key] for key in ("field", "fields", "meta") if key in self.summary}
        return {
            "object": "claim",
            "id": self.claim_id,
            "status": "queued",
            "target": {"type": self.row.model, "id": self.summary["entityId"], **target},
            "description": self.summary["description"],
            "heldBy": self.participant[2],
            "participantKind": self.participant[1],
            "position": self.position,
            "expiresAt": self.summary["expiresAt"],
        }

    def says_more_than(self, other: LiveClaim) -> bool:
        """Whether those who were told of `other` have to hear of this."""
        ours, theirs = self.summary["expiresAt"], other.summary["expiresAt"]
        if ours != theirs and theirs < (time.time() + EXTENDED_SECONDS) * 1000:
            return True
        same = {**self.summary, "expiresAt": 0} == {**other.summary, "expiresAt": 0}
        return not same or self.row.values != other.row.values


@dataclass(slots=True, eq=False)
class Own:
    """A claim that a client has asked for on its socket. `status` is what it was told: asked, queued or held."""

    member: Member
    claim_id: str
    entity_type: str
    status: str = "asked"
    target: Target | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    """A row whose claims are read. `xids` must be visible to the answer; it must account for the claims in `known`."""

    target: Target
    model: Model
    xids: set[int]
    known: set[ClaimKey]

    def to_json(self) -> dict[str, Any]:
        scope, model, row_id = self.target
        name = self.model.typename.lower()
        return {"scope": scope, "model": model, "id": row_id, "type": name, "known": sorted(self.known)}


@dataclass(slots=True)
class _Line:
    claims: list[LiveClaim] = field(default_factory=list)


class ClaimLines:
    """Follows the claims of the organizations whose clients are connected.

    `on_held` is called with a participant when what it holds has changed.
    """

    def __init__(self, reads: Database, writes: Database, schema: ServedSchema, members: Members) -> None:
        self._reads = reads
        self._writes = writes
        self._schema = schema
        self._members = members
        self._models: tuple[ActiveSchema, dict[str, Model]] = (schema.current, {})
        self._lines: dict[Target, _Line] = {}
        self._held: dict[Participant, dict[ClaimKey, LiveClaim]] = {}
        self._own: dict[ClaimKey, list[Own]] = {}
        self._own_of_member: dict[Member, dict[str, Own]] = {}
        self._own_of_target: dict[Target, set[ClaimKey]] = {}
        self._dirty: dict[Target, set[int]] = {}
        self._to_load: set[str] = set()
        self._changed: set[Participant] = set()
        self._wake = asyncio.Event()
        self.on_held: Callable[[Participant], None] = lambda participant: None

    # --- for the rest of the gateway ----------------------------------------------------------------------------------

    def held_by(self, participant: Participant) -> list[LiveClaim]:
        """What a participant holds."""
        return list(self._held.get(participant, {}).values())

    def holders(self, organization: str) -> list[Participant]:
        """Who holds something in an organization."""
        return [participant for participant in self._held if participant[0] == organization]

    def may_hear(self, member: Member, activity: Mapping[str, Any], claims: Iterable[LiveClaim]) -> bool:
        """Whether a client may be told that somebody is busy with a row.

        Where groups or a rule decide who sees a row, only if it is shown one of `claims` on it: for those it is known.
        """
        model = self._schema.current.find(activity["entityType"])
        if model is None:
            return True  # it is about something else
        name = model.typename.lower()
        if model.groups or model.rule is not None:
            about = (name, activity["entityId"])
            return any((claim.row.model, claim.summary["entityId"]) == about for claim in claims)
        is_in = model.tenant_column is None or f"org:{member.organization}" in member.reader.groups
        return is_in and member.has_grant(name)

    def notice(self, notice: Notice) -> None:
        """A hint from the log."""
        said = notice.said
        scope, model, row_id = said.get("scope"), said.get("model"), said.get("id")
        if isinstance(scope, str) and isinstance(model, str) and isinstance(row_id, str):
            self.touch((scope, model, row_id), notice.xid)

    def touch(self, target: Target, xid: int | None = None) -> None:
        """Has the claims of a row read again, when the transaction can be seen."""
        if organization := _organization(target[0]):
            if not self._members.has(organization):
                return
        elif not self._members:
            return
        xids = self._dirty.get(target)
        if xids is None:
            if len(self._dirty) >= MAX_DIRTY:
                return  # the periodic reading comes by
            xids = self._dirty[target] = set()
        if xid is not None:
            xids.add(xid)
        self._wake.set()

    def reload(self) -> None:
        """Hints may have been missed: everything is read again."""
        self._to_load.update(self._members.organizations())
        for target in [*self._lines, *self._own_of_target]:
            self.touch(target)
        self._wake.set()

    def joined(self, member: Member, *, is_first: bool) -> None:
        """A client has connected: it hears who waits for what it may see."""
        if is_first:
            self._to_load.add(member.organization)
            self._wake.set()
            return
        for target, line in self._lines.items():
            if any(not claim.is_held and claim.organization == member.organization for claim in line.claims):
                self._tell_line(target, [], line.claims, [member])

    def left(self, member: Member, *, is_last: bool) -> None:
        """A client has gone: its tickets are not kept any more, what it holds lasts as long as it was taken for."""
        for own in list(self._own_of_member.get(member, {}).values()):
            self.forget(own)
        if is_last:
            organization = member.organization
            for target in [t for t in self._lines if _organization(t[0]) == organization or not self._members]:
                del self._lines[target]
            for line in self._lines.values():
                line.claims = [claim for claim in line.claims if claim.organization != organization]
            for participant in self.holders(organization):
                del self._held[participant]

    def regrouped(self, member: Member, before: frozenset[str]) -> None:
        """A client has other groups: it hears of the lines that it begins to see."""
        for target, line in self._lines.items():
            if any(not claim.is_held and claim.organization == member.organization for claim in line.claims):
                with member.having(before):
                    old = [claim for claim in line.claims if claim.seen_by(member)]
                self._tell_line(target, old, line.claims, [member])

    # --- claims that clients have asked for ---------------------------------------------------------------------------

    def expect(self, member: Member, claim_id: str, entity_type: str) -> Own:
        """A client asks for a claim; of the same one asked for again, what is known is kept."""
        found = self.of_client(member, claim_id)
        if found is None:
            found = Own(member, claim_id, entity_type)
            self._own.setdefault((member.organization, claim_id), []).append(found)
            self._own_of_member.setdefault(member, {})[claim_id] = found
        return found

    def own_count(self, member: Member) -> int:
        """How many claims of a client are known."""
        return len(self._own_of_member.get(member, ()))

    def granted(self, own: Own, target: Target, *, is_held: bool) -> None:
        """The database has answered: the client holds the claim or waits."""
        own.status, own.target = "held" if is_held else "queued", target
        self._own_of_target.setdefault(target, set()).add((own.member.organization, own.claim_id))
        if not is_held:  # its turn may have come since
            self.touch(target)

    def forget(self, own: Own) -> None:
        """The claim is none of the client's business any more."""
        key = (own.member.organization, own.claim_id)
        mine = self._own_of_member.get(own.member, {})
        mine.pop(own.claim_id, None)
        if not mine:
            self._own_of_member.pop(own.member, None)
        owns = self._own.get(key, [])
        if own in owns:
            owns.remove(own)
        if not owns:
            self._own.pop(key, None)
            keys = self._own_of_target.get(own.target) if own.target is not None else None
            if keys is not None and own.target is not None:
                keys.discard(key)
                if not keys:
                    del self._own_of_target[own.target]

    def of_client(self, member: Member, claim_id: str) -> Own | None:
        """What is known of a claim that a client has asked for."""
        return self._own_of_member.get(member, {}).get(claim_id)

    # --- reading ------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Reads what hints are about, keeps tickets, and reads everything now and then; until it is cancelled."""
        async with TaskGroup() as tasks:
            tasks.create_task(self._read_hinted())
            tasks.create_task(self._keep_tickets())
            tasks.create_task(self._refresh())

    async def _read_hinted(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                for organization in list(self._to_load):
                    await self._load(organization)
                while self._dirty:
                    await self._read_batch()
                    await asyncio.sleep(PACE_SECONDS)  # what comes meanwhile is read at once
            except (DatabaseUnavailableError, psycopg.Error) as error:
                emit(Event.DATABASE_UNAVAILABLE, error=error)
                await asyncio.sleep(RETRY_SECONDS)
                self._wake.set()

    async def _load(self, organization: str) -> None:
        (result,) = await self._reads.run([Call(_ROWS, (organization.encode(), b"%d" % MAX_LINES))])
        for scope, model, row_id in orjson.loads(result.get_value(0, 0) or b"[]"):
            self.touch((scope, model, row_id))
        self._to_load.discard(organization)

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            for target in [*self._lines, *self._own_of_target]:
                self.touch(target)

    def _model(self, name: str) -> Model | None:
        schema = self._schema.current
        if self._models[0] is not schema or not self._models[1]:
            self._models = (schema, {model.name: model for model in schema.models})
        return self._models[1].get(name)

    async def _read_batch(self) -> None:
        batch: list[_Question] = []
        for target in list(self._dirty)[:BATCH]:
            xids = self._dirty.pop(target)
            model = self._model(target[1])
            if model is not None and not any("\0" in part for part in target):
                line = self._lines.get(target)
                known = {claim.key for claim in line.claims} if line is not None else set()
                batch.append(_Question(target, model, xids, known | self._own_of_target.get(target, set())))
        if batch:
            await self._read(batch)

    async def _read(self, batch: list[_Question]) -> None:
        try:
            (result,) = await self._reads.run([Call(_LINES, (orjson.dumps([one.to_json() for one in batch]),))])
        except (DatabaseUnavailableError, psycopg.OperationalError):
            for one in batch:
                self._dirty.setdefault(one.target, set()).update(one.xids)
            raise
        except psycopg.Error as error:
            if len(batch) == 1:  # a table that was changed by hand, say; the other rows' claims go on
                emit(Event.DATABASE_UNAVAILABLE, error=error)
                return
            for one in batch:
                await self._read([one])
            return
        answer = orjson.loads(result.get_value(0, 0) or b"null")
        snapshot = Snapshot.parse(answer["snapshot"])
        is_late = False
        for one, line in zip(batch, answer["lines"], strict=True):
            unseen = {xid for xid in one.xids if not snapshot.sees(xid)}
            if unseen:
                self._dirty.setdefault(one.target, set()).update(unseen)
                is_late = True
            self._apply(one, _Row.of(one.model, one.target[0], line["row"]), line["claims"])
        changed, self._changed = self._changed, set()
        for participant in in_order(changed):
            self.on_held(participant)
        if is_late:
            await asyncio.sleep(VISIBLE_SECONDS)

    # --- what has changed ---------------------------------------------------------------------------------------------

    def _apply(self, asked: _Question, row: _Row, said: list[dict[str, Any]]) -> None:
        target = asked.target
        live: list[LiveClaim] = []
        reasons: dict[ClaimKey, str] = {}
        summaries: dict[ClaimKey, dict[str, Any]] = {}
        for one in said:
            organization, summary = one["organizationId"], one["summary"]
            summaries[organization, summary["claimId"]] = summary
            if "reason" in one:
                reasons[organization, summary["claimId"]] = one["reason"]
            elif self._members.has(organization):
                participant = (organization, one["participantKind"], one["participantId"])
                is_held = one["status"] == "active"
                live.append(
                    LiveClaim(
                        organization,
                        summary["claimId"],
                        is_held,
                        participant,
                        one.get("fenceToken"),
                        one.get("position"),
                        summary,
                        row,
                        one["rowSeen"],
                        target[0].startswith(UNSEEN),
                    )
                )
        line = self._lines.get(target)
        before = line.claims if line is not None else []
        if live and (line is not None or len(self._lines) < MAX_LINES):
            self._lines[target] = _Line(live)
        elif line is not None:
            del self._lines[target]
        self._tell_owners(asked, before, live, reasons, summaries)
        self._tell_line(target, before, live, self._audience(target))
        self._note_held(before, live)

    def _audience(self, target: Target) -> list[Member]:
        if organization := _organization(target[0]):
            return self._members.of(organization)
        return [member for organization in self._members.organizations() for member in self._members.of(organization)]

    def _tell_owners(
        self,
        asked: _Question,
        before: list[LiveClaim],
        live: list[LiveClaim],
        reasons: Mapping[ClaimKey, str],
        summaries: Mapping[ClaimKey, Mapping[str, Any]],
    ) -> None:
        now = {claim.key: claim for claim in live}
        # Leases of those who took them elsewhere, too: by HTTP, or in another tab.
        for claim in before:
            if claim.is_held and claim.key not in now:
                reason = reasons.get(claim.key, "expired")
                for member in self._members.of_participant(claim.participant):
                    own = self.of_client(member, claim.claim_id)
                    if own is None:
                        _tell_lost(member, claim.claim_id, reason, claim.summary, None)
        for key in asked.known:  # what a client took since may not be in the answer yet
            for own in list(self._own.get(key, ())):
                if own.target != asked.target:
                    continue
                found = now.get(key)
                if found is None:
                    reason = reasons.get(key, "expired")
                    was_held = own.status == "held"
                    summary = summaries.get(key, {"entityId": asked.target[2]})
                    self.forget(own)
                    if was_held:
                        _tell_lost(own.member, own.claim_id, reason, summary, own.entity_type)
                    else:
                        own.member.outbox.put(_frame(b"claim_expired", {"claimId": own.claim_id}))
                elif found.is_held and own.status == "queued":
                    own.status = "held"
                    make = partial(_granted_frame, own, found)
                    own.member.outbox.put(make, sent=partial(self._take_up, own))

    async def _take_up(self, own: Own) -> None:
        """The holder has heard of its turn: from now on the lease lasts as long as it was asked for."""
        if own.target is None:
            return
        call = Call(_BEAT, (own.member.credential.identity_json, own.claim_id.encode()))
        try:
            (result,) = await self._writes.run([call])
        except (DatabaseUnavailableError, psycopg.Error) as error:
            emit(Event.DATABASE_UNAVAILABLE, error=error)
            return
        if orjson.loads(result.get_value(0, 0) or b"{}").get("outcome") != "answered":
            self.touch(own.target)

    def _tell_line(
        self, target: Target, before: list[LiveClaim], live: list[LiveClaim], audience: Iterable[Member]
    ) -> None:
        old = [claim for claim in before if not claim.is_held]
        new = [claim for claim in live if not claim.is_held]
        if not old and not new:
            return
        frames: dict[tuple[Any, ...], bytes] = {}
        for member in audience:
            was = [(claim.claim_id, claim.position) for claim in old if claim.seen_by(member)]
            seen = [claim for claim in new if claim.seen_by(member)]
            now = tuple((claim.claim_id, claim.position) for claim in seen)
            if list(now) == was:
                continue
            frame = frames.get(now)
            if frame is None:
                model = (new or old)[0].row.model
                line = {"target": {"type": model, "id": target[2]}, "queue": [claim.queued_json() for claim in seen]}
                frame = frames[now] = _frame(b"claim_queue", line)
            member.outbox.put(frame, key=("line", target))

    def _note_held(self, before: list[LiveClaim], live: list[LiveClaim]) -> None:
        now = {claim.key: claim for claim in live if claim.is_held}
        for claim in before:
            if claim.is_held and claim.key not in now:
                held = self._held.get(claim.participant, {})
                if held.pop(claim.key, None) is not None:
                    self._changed.add(claim.participant)
                if not held:
                    self._held.pop(claim.participant, None)
        for key, claim in now.items():
            held = self._held.setdefault(claim.participant, {})
            told = held.get(key)
            if told is None or claim.says_more_than(told):
                held[key] = claim
                self._changed.add(claim.participant)

    # --- tickets ------------------------------------------------------------------------------------------------------

    async def _keep_tickets(self) -> None:
        """Clients that wait on their socket need not beat; it is enough that they are connected."""
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            waiting = [(key, own) for key, owns in self._own.items() for own in owns if own.status == "queued"]
            tickets = {key: own.target for key, own in waiting if own.target is not None}
            keys = list(tickets)
            for first in range(0, len(keys), TICKETS):
                try:
                    (result,) = await self._writes.run([Call(_KEEP, (orjson.dumps(keys[first : first + TICKETS]),))])
                except (DatabaseUnavailableError, psycopg.Error) as error:
                    emit(Event.DATABASE_UNAVAILABLE, error=error)
                    break
                for organization, claim_id in orjson.loads(result.get_value(0, 0) or b"[]"):
                    self.touch(tickets[organization, claim_id])


def _organization(scope: str) -> str:
    return scope.removeprefix(UNSEEN)


def _tell_lost(member: Member, claim_id: str, reason: str, summary: Mapping[str, Any], entity_type: str | None) -> None:
    if reason in ("expired", "preempted", "revoked"):
        shown = "preempted" if reason == "preempted" else "expired"  # the contract has no other word
        lost = {"claimId": claim_id, "reason": shown, "target": _target(summary, entity_type)}
        member.outbox.put(_frame(b"claim_lost", lost))
    elif entity_type is not None:  # given back elsewhere by the participant itself
        member.outbox.put(_frame(b"claim_expired", {"claimId": claim_id}))


async def _granted_frame(own: Own, claim: LiveClaim) -> bytes:
    # What the one before has written comes first, so that the new holder builds on it.
    read_at = await own.member.catch_up()
    return granted_frame(b"claim_granted", own.claim_id, claim.target(own.entity_type), claim.fence_token, read_at)


def granted_frame(
    kind: bytes, claim_id: str, target: Mapping[str, Any], fence_token: int | None, read_at: int | None
) -> bytes:
    """A `claim_acquired` or `claim_granted` frame."""
    payload: dict[str, Any] = {"claimId": claim_id, "target": target}
    if fence_token is not None:
        payload["fenceToken"] = fence_token
    if read_at is not None:
        payload["readAt"] = read_at
    return _frame(kind, payload)


def _target(summary: Mapping[str, Any], entity_type: str | None) -> dict[str, Any]:
    target = {
        "entityType": entity_type if entity_type is not None else summary["entityType"],
        "entityId": summary["entityId"],
    }
    return target | {key: summary[key] for key in ("field", "fields", "meta") if key in summary}


def _frame(kind: bytes, payload: Mapping[str, Any]) -> bytes:
    return wire.frame(kind, orjson.dumps(payload))
