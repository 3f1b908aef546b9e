"""Claims in the database: who holds, who waits, who yields, and that races change none of it."""

from __future__ import annotations

import json
import random
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
import pytest

from pgsync import names
from pgsync.push import push
from pgsync.schema import Field, Model, Ref, Schema
from tests.postgres import Database, Server

WAIT_SECONDS: Final = 30.0
STORM_SECONDS: Final = 4.0


class Project(Model):
    name: str | None = None


class Task(Model):
    title: str | None = None
    body: str | None = None
    n: int = 0


class Note(Model, rule="NOT private OR owner = actor.id"):
    private: bool = False
    owner: str | None = None


class Doc(Model, claims="enforced"):
    title: str | None = None
    body_text: str | None = None
    project_id: Ref[Project] | None = Field(None, on_delete="cascade")


class Secret(Model, claims="enforced", rule="owner = actor.id"):
    owner: str
    project_id: Ref[Project] | None = Field(None, on_delete="cascade")


class Loose(Model, conflict={"user": "overwrite", "agent": "overwrite", "system": "overwrite"}):
    name: str | None = None


class Strict(Model, conflict={"user": "reject", "agent": "reject", "system": "reject"}):
    name: str | None = None


class Telling(Model, conflict={"user": "notify", "agent": "notify", "system": "notify"}):
    name: str | None = None


class Rate(Model, tenant=None):
    name: str | None = None


class Shift(Model, preempt=True):
    title: str | None = None
    n: int = 0


class Fee(Model, tenant=None, preempt=True):
    name: str | None = None


SCHEMA: Final = Schema(Project, Task, Note, Doc, Secret, Loose, Strict, Telling, Rate, Shift, Fee)

EMPTY: Final = """
SET session_replication_role = replica; -- enforced claims do not bind it
TRUNCATE projects, tasks, notes, docs, secrets, looses, stricts, tellings, rates, shifts, fees;
TRUNCATE pgsync_private.claim, pgsync_private.claim_fence, pgsync_private.claim_event;
UPDATE pgsync_private.setting SET value = '0' WHERE name = 'claim_fence_floor';
"""

COLLISIONS: Final = """
SELECT count(*)
FROM pgsync_private.claim AS a
JOIN pgsync_private.claim AS b USING (scope, model, row_id)
WHERE a.status = 'active'
  AND b.status = 'active'
  AND (a.organization_id, a.participant_kind, a.participant_id)
    < (b.organization_id, b.participant_kind, b.participant_id)
  AND (a.parts IS NULL OR b.parts IS NULL OR a.parts && b.parts)
"""

FILL: Final = """
INSERT INTO pgsync_private.claim (
  organization_id, id, scope, model, model_key, row_id, participant_kind, participant_id, description, status, ttl,
  expires_at, ended_at, fence_token, granted_snapshot, row_seen
)
SELECT
  'acme', %(status)s || n, 'acme', 'task', 'tasks', COALESCE(%(row)s, 'x' || n), 'agent', 'p' || n, 'x', %(status)s,
  '1 hour', clock_timestamp() + interval '1 hour', CASE WHEN %(status)s = 'committed' THEN clock_timestamp() END, 1,
  '1:1:', false
"""


@dataclass(slots=True)
class Caller:
    """A participant with a connection of the gateway's role, or the one that it is given."""

    database: Database
    participant: str
    kind: str = "agent"
    organization: str = "acme"
    operations: tuple[str, ...] = ()
    capability: str = "cap_1"
    may_preempt: bool = False
    connection: psycopg.Connection[Any] = field(init=False)

    def __post_init__(self) -> None:
        self.connection = self.database.connect(names.GATEWAY)

    @property
    def identity(self) -> str:
        return json.dumps(
            {
                "organizationId": self.organization,
                "participantKind": self.kind,
                "participantId": self.participant,
                "syncGroups": [f"org:{self.organization}", f"{self.kind}:{self.participant}"],
                "operations": list(self.operations),
                "capabilityId": self.capability,
                "onBehalfOf": None,
                "mayPreempt": self.may_preempt,
            }
        )

    def call(self, function: str, *arguments: Any) -> Any:
        """The answer of a claim function, or the error that it refuses with."""
        places = ", ".join(["%s"] * (len(arguments) + 1))
        given = [json.dumps(a) if isinstance(a, dict) else a for a in arguments]
        statement = f"SELECT pgsync.{function}({places})"
        row = self.connection.execute(statement.encode(), [self.identity, *given]).fetchone()
        assert row is not None
        return row[0].get("answer", row[0].get("error", row[0]))

    def claim(self, row_id: str, model: str = "tasks", **request: Any) -> Any:
        return self.call("acquire_claim_v1", {"model": model, "id": row_id} | request)

    def beat(self, claim_id: str, **request: Any) -> Any:
        return self.call("heartbeat_claim_v1", claim_id, None, None, request)

    def release(self, row_id: str, model: str = "tasks") -> bool:
        return bool(self.call("release_row_claims_v1", model, row_id)["released"])

    def status(self, claim_id: str) -> str:
        return str(self.call("claim_v1", claim_id)["status"])

    def write(self, row_id: str, data: Any, model: str = "tasks", action: str = "update", **guards: Any) -> str:
        """`committed`, or the code of the refusal."""
        operation = {"action": action, "model": model, "id": row_id, "data": data} | guards
        request = json.dumps({"route": "commits", "operations": [operation]})
        row = self.connection.execute(
            b"SELECT pgsync.commit_v1(%s, %s, %s)", [self.identity, new_key(), request]
        ).fetchone()
        assert row is not None
        return str(row[0]["error"]["code"] if row[0]["outcome"] == "refused" else row[0]["outcome"])


@dataclass(slots=True)
class World:
    database: Database
    callers: list[Caller] = field(default_factory=list)

    def caller(self, participant: str, **more: Any) -> Caller:
        made = Caller(self.database, participant, **more)
        self.callers.append(made)
        return made

    def close(self) -> None:
        for caller in self.callers:
            caller.connection.close()

    def insert(self, table: str, row_id: str, organization: str = "acme", **values: Any) -> None:
        columns = {"organization_id": organization, "id": row_id} | values
        places = ", ".join(["%s"] * len(columns))
        self.database.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", list(columns.values()))

    def pass_time(self, claim_id: str) -> None:
        """Makes the claim one whose time has just run out."""
        self.database.execute(
            "UPDATE pgsync_private.claim SET expires_at = clock_timestamp() - interval '1 ms' WHERE id = %s", [claim_id]
        )


@pytest.fixture(scope="module")
def pushed(server: Server) -> Iterator[Database]:
    created = server.create_database()
    push(created.dsn, SCHEMA)
    yield created
    created.drop()


@pytest.fixture
def world(pushed: Database) -> Iterator[World]:
    """A database without rows and claims."""
    pushed.execute(EMPTY)
    made = World(pushed)
    yield made
    made.close()


def new_key() -> str:
    return secrets.token_hex(8)


def until(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + WAIT_SECONDS
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {WAIT_SECONDS} s: {what}")
    return found


def is_waiting(world: World, caller: Caller) -> bool:
    """Whether the caller's connection waits for a lock."""
    statement = "SELECT 1 FROM pg_locks WHERE pid = %s AND NOT granted"
    return bool(world.database.execute(statement, [caller.connection.info.backend_pid]))


def run_all(work: Callable[[int], Any], count: int) -> list[Any]:
    with ThreadPoolExecutor(count) as pool:
        return [f.result(WAIT_SECONDS * 4) for f in [pool.submit(work, n) for n in range(count)]]


# --- who holds and who waits ----------------------------------------------------------------------------------------


def test_only_colliding_claims_wait(world: World) -> None:
    a, b, c, d = (world.caller(name) for name in "abcd")
    assert a.claim("t", target={"fields": ["title", "n"]})["status"] == "active"
    assert b.claim("t", target={"field": "body"})["status"] == "active"
    assert c.claim("t", target={"fields": ["TITLE"]})["status"] == "queued"
    assert d.claim("t")["status"] == "queued"
    assert d.claim("other")["status"] == "active"
    assert d.claim("t", model="projects")["status"] == "active"


def test_newcomer_overtakes_nobody_it_collides_with(world: World) -> None:
    a, b, c, d = (world.caller(name) for name in "abcd")
    a.claim("t", target={"field": "title"})
    whole = b.claim("t")
    assert whole["status"] == "queued"
    late = c.claim("t", target={"field": "body"})  # disjoint from the holder, but not from the one in line
    assert (late["status"], late["position"], late["heldBy"]) == ("queued", 1, "b")
    assert d.claim("t", target={"field": "body"}, queue=False)["code"] == "entity_claimed"
    a.release("t")
    assert (b.status(whole["id"]), c.status(late["id"])) == ("active", "queued")
    b.release("t")
    assert c.status(late["id"]) == "active"


def test_release_lets_in_all_whose_turn_has_come(world: World) -> None:
    a, b, c, d = (world.caller(name) for name in "abcd")
    a.claim("t")
    title = b.claim("t", target={"field": "title"})["id"]
    body = c.claim("t", target={"field": "body"})["id"]
    again = d.claim("t", target={"fields": ["title", "body"]})["id"]
    a.release("t")
    assert [x.status(i) for x, i in ((b, title), (c, body), (d, again))] == ["active", "active", "queued"]
    b.release("t")
    assert d.status(again) == "queued"
    c.release("t")
    assert d.status(again) == "active"


def test_participant_enters_its_own_claim_with_any_credential(world: World) -> None:
    a, twin = world.caller("a"), world.caller("a", capability="cap_2")
    other_kind = world.caller("a", kind="system")
    held = a.claim("t", ttl="5s")
    assert other_kind.claim("t", queue=False)["code"] == "entity_claimed"
    assert twin.claim("t", target={"field": "title"})["id"] == held["id"]
    longer = twin.claim("t", ttl="10m")
    assert (longer["id"], longer["fenceToken"]) == (held["id"], held["fenceToken"])
    assert longer["expiresAt"] > held["expiresAt"]
    assert twin.claim("t", ttl="1s")["expiresAt"] >= longer["expiresAt"] - 1000
    assert twin.release("t") is True
    assert a.beat(held["id"])["code"] == "claim_lost"


def test_waiting_handles_of_one_participant_enter_together(world: World) -> None:
    a, b, twin, c = world.caller("a"), world.caller("b"), world.caller("b"), world.caller("c")
    a.claim("t")
    first, between = b.claim("t")["id"], c.claim("t")["id"]
    second = twin.claim("t", target={"field": "title"})["id"]
    assert first != second
    a.release("t")
    assert [b.status(first), c.status(between), twin.status(second)] == ["active", "queued", "active"]
    assert twin.call("release_claim_v1", second)["released"] is True
    assert b.status(first) == "active"
    b.release("t")
    assert c.status(between) == "active"


def test_repeated_acquire_finds_what_the_first_one_made(world: World) -> None:
    a, b = world.caller("a"), world.caller("b")
    first = a.call("acquire_claim_v1", {"model": "tasks", "id": "t"}, "clm_1")
    assert a.call("acquire_claim_v1", {"model": "tasks", "id": "t"}, "clm_1")["fenceToken"] == first["fenceToken"]
    waiting = b.call("acquire_claim_v1", {"model": "tasks", "id": "t"}, "clm_2")
    again = b.call("acquire_claim_v1", {"model": "tasks", "id": "t"}, "clm_2")
    assert (waiting["id"], again["id"], again["position"], again["heldBy"]) == ("clm_2", "clm_2", 0, "a")
    assert world.database.execute("SELECT count(*) FROM pgsync_private.claim") == [(2,)]


def test_silent_waiter_is_passed_over(world: World) -> None:
    a, b, c = (world.caller(name) for name in "abc")
    a.claim("t")
    silent, beating = b.claim("t")["id"], c.claim("t")["id"]
    world.pass_time(silent)
    a.release("t")
    assert (b.status(silent), c.status(beating)) == ("expired", "active")
    assert b.beat(silent)["code"] == "claim_lost"


def test_turn_that_nobody_takes_up_goes_to_the_next(world: World) -> None:
    a, b, c = (world.caller(name) for name in "abc")
    a.claim("t")
    gone, beating = b.claim("t", ttl="10m")["id"], c.claim("t")["id"]
    a.release("t")
    (left,) = world.database.execute(
        "SELECT expires_at - clock_timestamp() <= interval '15 s' FROM pgsync_private.claim WHERE id = %s", [gone]
    )
    assert left == (True,)
    world.pass_time(gone)
    assert c.beat(beating)["status"] == "held"
    assert b.status(gone) == "expired"


def test_beat_takes_up_a_turn_for_the_time_that_was_asked_for(world: World) -> None:
    a, b = world.caller("a"), world.caller("b")
    a.claim("t")
    ticket = b.claim("t", ttl="10m")["id"]
    a.release("t")
    assert b.beat(ticket)["expiresAt"] > time.time() * 1000 + 500_000


def test_holder_that_dies_is_passed_after_its_time(world: World) -> None:
    a, b = world.caller("a"), world.caller("b")
    held = a.claim("t", ttl="150ms")
    a.connection.close()
    waiting = b.claim("t")
    assert waiting["status"] == "queued"
    beat = until(lambda: (x := b.beat(waiting["id"]))["status"] == "held" and x, "the row is free")
    assert beat["expiresAt"] > held["expiresAt"]
    assert b.status(held["id"]) == "expired"


def test_full_line_takes_no_more(world: World) -> None:
    a, b = world.caller("a"), world.caller("b")
    a.claim("t")
    world.database.execute(FILL + "FROM generate_series(1, 999) AS n", {"row": "t", "status": "queued"})
    assert b.claim("t")["code"] == "queue_too_deep"


def test_sweep_settles_what_nobody_calls_about(world: World) -> None:
    a, b = world.caller("a"), world.caller("b")
    held = a.claim("t")["id"]
    waiting = b.claim("t")["id"]
    world.pass_time(held)
    assert world.database.execute("SELECT pgsync.sweep_claims_v1()") == [(1,)]
    assert world.database.execute("SELECT pgsync.sweep_claims_v1()") == [(0,)]
    assert b.status(waiting) == "active"


def test_turns_and_losses_are_announced(world: World) -> None:
    a, b = world.caller("a"), world.caller("b")
    with world.database.connect(names.GATEWAY) as listener:
        listener.execute("LISTEN pgsync")
        a.claim("t")  # nobody waits for it: nothing to announce
        ticket = b.claim("t")["id"]
        a.release("t")
        heard = [json.loads(n.payload) for n in listener.notifies(timeout=WAIT_SECONDS, stop_after=2)]
    target = {"t": "claim", "org": "acme", "model": "task", "id": "t", "claimId": ticket}
    assert heard == [target | {"event": "queued"}, target | {"event": "granted"}]


def test_administrator_ends_a_claim(world: World) -> None:
    a, b = world.caller("a"), world.caller("b")
    held, waiting = a.claim("t")["id"], b.claim("t")["id"]
    assert world.database.execute("SELECT pgsync.end_claim_v1('acme', %s)", [held]) == [(True,)]
    assert (a.status(held), b.status(waiting)) == ("expired", "active")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        b.connection.execute("SELECT pgsync.end_claim_v1('acme', 'x')")


# --- what one sees ---------------------------------------------------------------------------------------------------


def anonymous(answer: Any, row_id: str) -> str:
    """An answer without what differs from claim to claim, and whatever the row's id is."""
    text = json.dumps(answer, sort_keys=True).replace(row_id, "row")
    text = re.sub(r"clm_[0-9a-f]+", "clm", text)
    return re.sub(r'"(expiresAt|declaredAt)": \d+', r'"\1": 0', text)


def everything_about(world: World, row_id: str, me: Caller, mate: Caller, *, model: str = "notes") -> list[str]:
    """What two who do not see a row are told about it by whatever names it."""
    said: list[Any] = []
    listed = {"model": model, "id": row_id}

    def write(action: str, data: Any, **guards: Any) -> Any:
        operation = {"action": action, "model": model, "id": row_id, "data": data} | guards
        request = json.dumps({"route": "commits", "operations": [operation]})
        statement = "SELECT pgsync.commit_v1(%s, %s, %s)"
        (answer,) = me.connection.execute(statement, [me.identity, secrets.token_hex(8), request]).fetchone() or (None,)
        return answer

    def look(caller: Caller) -> None:
        said.append(caller.call("claims_v1", listed))
        with caller.connection.transaction():
            caller.connection.execute("SELECT pgsync.set_identity_v1(%s)", [caller.identity])
            said.append(caller.connection.execute("SELECT pgsync.row_claims_v1(%s, %s)", [model, row_id]).fetchone())

    look(me)
    said.append(write("update", {"private": False}))
    said.append(write("delete", {}))
    said.append(me.call("reorder_claims_v1", model, row_id, {"order": []}))
    said.append(me.claim(row_id, model=model, queue=False))
    held = said[-1]["id"]
    said.append(me.claim(row_id, model=model))
    said.append(me.beat(held))
    said.append(me.status(held))
    said.append(mate.call("claim_v1", held))
    said.append(mate.claim(row_id, model=model, queue=False))
    said.append(mate.claim(row_id, model=model))
    ticket = said[-1]["id"]
    said.append(mate.call("heartbeat_claims_v1", {}))
    look(me)
    look(mate)
    said.append(me.call("reorder_claims_v1", model, row_id, {"order": [{"claimId": ticket}]}))
    said.append(write("update", {"private": False}, claimId=held))
    said.append(write("update", {"private": False}, fenceToken=1))
    said.append(write("delete", {}, claimId=ticket))
    said.append(me.release(row_id, model=model))
    said.append(mate.beat(ticket))
    said.append(mate.call("release_claim_v1", ticket))
    look(me)
    said.append(me.beat(held))
    return [anonymous(one, row_id) for one in said]


@pytest.mark.parametrize("kind", ["agent", "user"])
def test_row_that_one_does_not_see_is_claimed_as_a_missing_one(world: World, kind: str) -> None:
    ada, dan = world.caller("ada", kind="user"), world.caller("ada", kind="agent")
    eve = world.caller("ada", kind="system")
    for row_id in ("n-free", "n-held", "n-waited"):
        world.insert("notes", row_id, private=True, owner="ada")
    held = ada.claim("n-held", model="notes")
    for caller in (ada, dan, eve):
        caller.claim("n-waited", model="notes")
    bob, carol = world.caller("bob", kind=kind), world.caller("carol", kind=kind)
    wanted = everything_about(world, "n-missing", bob, carol)
    for row_id in ("n-free", "n-held", "n-waited"):
        assert everything_about(world, row_id, bob, carol) == wanted, row_id
    assert ada.status(held["id"]) == "active"


def test_who_does_not_see_a_row_keeps_nobody_from_it_who_does(world: World) -> None:
    ada, dan, bob = world.caller("ada", kind="agent"), world.caller("ada", kind="user"), world.caller("bob")
    world.insert("notes", "n", private=True, owner="ada")
    blind = bob.claim("n", model="notes", ttl="1h")
    assert blind["status"] == "active"
    assert ada.call("claims_v1", {"model": "notes", "id": "n"})["data"] == []
    seen = ada.claim("n", model="notes")
    assert seen["status"] == "active"
    assert dan.claim("n", model="notes")["heldBy"] == "ada"
    world.database.execute("UPDATE notes SET private = false")
    # Now that he sees it: his claim is worth nothing, and who holds the row is no secret.
    again = bob.call("acquire_claim_v1", {"model": "notes", "id": "n", "claimId": blind["id"]})
    assert (again["code"], again["reason"]) == ("claim_lost", "expired")
    assert bob.claim("n", model="notes")["heldBy"] == "ada"


def test_claim_taken_before_there_was_a_row_says_the_same_of_it_after(world: World) -> None:
    bob, carol = world.caller("bob"), world.caller("carol")
    for row_id in ("n-born", "n-unborn"):
        bob.claim(row_id, model="notes", ttl="1h")
    world.insert("notes", "n-born", private=True, owner="ada")

    def said(row_id: str) -> list[str]:
        answers = [
            bob.claim(row_id, model="notes", ttl="1h"),
            carol.claim(row_id, model="notes", queue=False),
            carol.claim(row_id, model="notes"),
            carol.call("claims_v1", {"model": "notes", "id": row_id}),
            bob.release(row_id, model="notes"),
            carol.call("heartbeat_claims_v1", {}),
            carol.release(row_id, model="notes"),
        ]
        return [anonymous(one, row_id) for one in answers]

    assert said("n-born") == said("n-unborn")


def test_former_holder_who_does_not_see_the_row_any_more_is_not_told_who_holds_it(world: World) -> None:
    ada, bob = world.caller("ada", kind="user"), world.caller("bob", kind="user")
    world.insert("notes", "n", private=False, owner="ada")
    held = bob.claim("n", model="notes")["id"]
    ada.claim("n", model="notes")
    world.database.execute("UPDATE notes SET private = true")
    world.database.execute("SELECT pgsync.end_claim_v1('acme', %s)", [held])
    lost = bob.beat(held)
    assert (lost["code"], "heldBy" in lost, "heldByClaim" in lost) == ("claim_lost", False, False)
    assert bob.call("claims_v1", {"model": "notes", "id": "n"})["data"] == []


def test_claims_on_a_shared_model_meet_across_organizations_without_names(world: World) -> None:
    mine, foreign = world.caller("a"), world.caller("a", organization="rival")
    mine.claim("r", model="rates")
    refused = foreign.claim("r", model="rates", queue=False)
    assert refused == {"code": "entity_claimed", "message": "rates/r is claimed by another organization"}
    waiting = foreign.claim("r", model="rates")
    assert waiting.keys() == {"id", "object", "status", "position", "expiresAt"}
    assert foreign.call("claims_v1", {"model": "rates", "id": "r"})["data"][0]["id"] == waiting["id"]
    mine.release("r", model="rates")
    assert foreign.status(waiting["id"]) == "active"


def test_line_for_a_row_that_one_does_not_see_is_not_ones_to_reorder(world: World) -> None:
    ada, late = world.caller("ada", kind="user"), world.caller("late")
    first, bob = world.caller("first"), world.caller("bob", kind="user")
    world.insert("notes", "n", private=False, owner="ada")
    ada.claim("n", model="notes")
    tickets = [caller.claim("n", model="notes")["id"] for caller in (first, late)]
    order = {"order": [{"claimId": tickets[1]}]}
    world.database.execute("UPDATE notes SET private = true")
    assert bob.call("reorder_claims_v1", "notes", "n", order)["reordered"] is False
    assert ada.call("reorder_claims_v1", "notes", "n", order)["reordered"] is True
    nothing = json.loads(ada.identity) | {"controlPlaneOnly": True}
    with pytest.raises(psycopg.Error) as refused:
        ada.connection.execute(
            "SELECT pgsync.reorder_claims_v1(%s, 'notes', 'n', %s)", [json.dumps(nothing), json.dumps(order)]
        )
    assert refused.value.sqlstate == "PS301"


def test_reordering_overtakes_no_other_organization(world: World) -> None:
    holder, foreign = world.caller("h"), world.caller("f", organization="rival")
    mine, next_of_mine = world.caller("a", kind="user"), world.caller("b", kind="user")
    holder.claim("r", model="rates")
    theirs = foreign.claim("r", model="rates")["id"]
    tickets = [caller.claim("r", model="rates")["id"] for caller in (mine, next_of_mine)]
    order = {"order": [{"claimId": ticket} for ticket in reversed(tickets)]}
    assert mine.call("reorder_claims_v1", "rates", "r", order)["reordered"] is True
    holder.release("r", model="rates")
    assert foreign.status(theirs) == "active"
    foreign.release("r", model="rates")
    assert next_of_mine.status(tickets[1]) == "active"


# --- taking a claim from its holder ----------------------------------------------------------------------------------


def test_preemption_takes_a_lease_ahead_of_the_line_and_its_holder_learns_of_it(world: World) -> None:
    a, b, c, boss = (
        world.caller("a"),
        world.caller("b"),
        world.caller("a", kind="user"),
        world.caller("boss", may_preempt=True),
    )
    world.insert("shifts", "s")
    old, waiting = a.claim("s", model="shifts"), b.claim("s", model="shifts")
    behind = boss.claim("s", model="shifts")  # does not ask for more than anybody
    assert (behind["status"], behind["position"]) == ("queued", 1)
    boss.call("release_claim_v1", behind["id"])
    with world.database.connect(names.GATEWAY) as listener:
        listener.execute("LISTEN pgsync")
        taken = boss.claim("s", model="shifts", preempt=True)
        heard = [json.loads(n.payload) for n in listener.notifies(timeout=WAIT_SECONDS, stop_after=1)]
    assert (taken["status"], taken["fenceToken"]) == ("active", old["fenceToken"] + 1)
    target = {"t": "claim", "org": "acme", "model": "shift", "id": "s"}
    assert heard == [target | {"event": "preempted", "claimId": old["id"]}]
    assert b.beat(waiting["id"])["position"] == 0

    lost = a.beat(old["id"])
    assert (lost["code"], lost["reason"], lost["heldBy"]) == ("claim_lost", "preempted", "boss")
    assert a.call("heartbeat_claims_v1", {})["results"] == [{"claimId": old["id"], "status": "lost"}]
    assert a.status(old["id"]) == "expired"
    assert a.release("s", model="shifts") is False
    guards = {"claimId": old["id"], "fenceToken": old["fenceToken"]}
    assert a.write("s", {"n": 1}, model="shifts", **guards) == "claim_lost"
    assert a.write("s", {"n": 1}, model="shifts", fenceToken=old["fenceToken"]) == "fence_token_stale"
    assert c.write("s", {"n": 1}, model="shifts", fenceToken=old["fenceToken"]) == "fence_token_stale"

    guards = {"claimId": taken["id"], "fenceToken": taken["fenceToken"]}
    assert boss.write("s", {"n": 2}, model="shifts", **guards) == "committed"
    assert boss.release("s", model="shifts")
    assert b.status(waiting["id"]) == "active"
    events = world.database.execute(
        "SELECT event, status FROM pgsync_private.claim_event WHERE claim_id = %s", [old["id"]]
    )
    assert events == [("granted", "active"), ("preempted", "expired")]


def test_write_that_names_a_preempted_claim_is_told_why(world: World) -> None:
    a, boss = world.caller("a"), world.caller("boss", may_preempt=True)
    world.insert("shifts", "s")
    old = a.claim("s", model="shifts")
    boss.claim("s", model="shifts", preempt=True)
    operation = {"action": "update", "model": "shifts", "id": "s", "data": {"n": 1}, "claimId": old["id"]}
    error = a.call("commit_v1", new_key(), {"operations": [operation]})
    assert (error["code"], error["reason"], error["claimId"]) == ("claim_lost", "preempted", old["id"])


@pytest.mark.parametrize(
    ("model", "may_preempt", "code"),
    [
        ("shifts", False, "capability_scope_denied"),
        ("tasks", True, "forbidden"),
        ("tasks", False, "capability_scope_denied"),
    ],
)
def test_preemption_needs_the_model_and_the_credential(world: World, model: str, may_preempt: bool, code: str) -> None:
    a, b = world.caller("a"), world.caller("b", may_preempt=may_preempt)
    held = a.claim("s", model=model)
    refused = b.claim("s", model=model, preempt=True)
    assert (refused["code"], refused["param"]) == (code, "preempt")
    assert b.claim("s", model=model, preempt=False, queue=False)["code"] == "entity_claimed"
    assert a.status(held["id"]) == "active"


@pytest.mark.parametrize("value", ["yes", 1, {}])
def test_preempt_is_a_boolean(world: World, value: Any) -> None:
    refused = world.caller("b", may_preempt=True).claim("s", model="shifts", preempt=value)
    assert (refused["code"], refused["param"]) == ("malformed_claim", "preempt")


def test_preemption_takes_only_what_is_in_its_way_and_lets_in_whom_it_does_not_keep_out(world: World) -> None:
    a, b, c, boss = (*(world.caller(name) for name in "abc"), world.caller("boss", may_preempt=True))
    world.insert("shifts", "s")
    beside = a.claim("s", model="shifts", target={"field": "title"})
    whole = b.claim("s", model="shifts", target={"fields": ["n", "other"]})
    waiting = c.claim("s", model="shifts", target={"field": "other"})
    taken = boss.claim("s", model="shifts", target={"field": "n"}, preempt=True)
    assert [x.status(i["id"]) for x, i in ((a, beside), (b, whole), (c, waiting), (boss, taken))] == [
        "active",
        "expired",
        "active",
        "active",
    ]
    guards = {"claimId": beside["id"], "fenceToken": beside["fenceToken"]}
    assert a.write("s", {"title": "x"}, model="shifts", **guards) == "committed"


def test_ticket_may_preempt_later(world: World) -> None:
    a, b, boss = world.caller("a"), world.caller("b"), world.caller("boss", may_preempt=True)
    held, waiting = a.claim("s", model="shifts"), b.claim("s", model="shifts")
    ticket = boss.claim("s", model="shifts", claimId="mine")
    assert ticket["status"] == "queued"
    taken = boss.claim("s", model="shifts", claimId="mine", preempt=True, ttl="10m")
    assert (taken["id"], taken["status"]) == ("mine", "active")
    assert taken["fenceToken"] > held["fenceToken"]
    again = boss.claim("s", model="shifts", claimId="mine", preempt=True)
    assert again["fenceToken"] == taken["fenceToken"]
    assert (a.status(held["id"]), b.status(waiting["id"])) == ("expired", "queued")


def test_another_organizations_lease_is_not_taken(world: World) -> None:
    foreign, boss = world.caller("a", organization="rival"), world.caller("boss", may_preempt=True)
    held = foreign.claim("f", model="fees")
    assert boss.claim("f", model="fees", preempt=True)["status"] == "queued"
    assert boss.claim("f", model="fees", preempt=True, queue=False)["code"] == "entity_claimed"
    assert foreign.status(held["id"]) == "active"


def test_no_write_lands_after_its_claim_was_preempted(world: World) -> None:
    """Holders write as fast as they can while two bosses take the row from each other and from them."""
    world.insert("shifts", "s")
    ends = time.monotonic() + STORM_SECONDS / 2
    late: list[Any] = []

    def work(n: int) -> int:
        me = world.caller(f"p{n}", kind="user" if n % 3 else "agent", may_preempt=n < 2)
        preempted = 0
        while time.monotonic() < ends:
            held = me.claim("s", model="shifts", queue=False, preempt=n < 2)
            if held.get("status") != "active":
                continue
            guards = {"claimId": held["id"], "fenceToken": held["fenceToken"]}
            for _ in range(3):
                outcome = me.write("s", {"n": held["fenceToken"]}, model="shifts", **guards)
                if outcome == "claim_lost":
                    preempted += 1
                    late.append(me.write("s", {"n": -1}, model="shifts", fenceToken=held["fenceToken"]))
                    break
                assert outcome == "committed"
            me.release("s", model="shifts")
        return preempted

    preempted = run_all(work, 6)
    assert sum(preempted) > 0
    assert set(late) == {"fence_token_stale"}
    assert world.database.execute(COLLISIONS) == [(0,)]
    tokens = [int(token) for (token,) in world.database.execute("SELECT n FROM shifts")]
    assert tokens[0] > 0


# --- who yields ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "kind", "outcome"),
    [
        ("tasks", "user", "committed"),
        ("tasks", "agent", "claim_conflict"),
        ("tasks", "system", "claim_conflict"),
        ("looses", "user", "committed"),
        ("looses", "agent", "claim_conflict"),
        ("looses", "system", "committed"),
        ("stricts", "user", "claim_conflict"),
        ("stricts", "agent", "claim_conflict"),
        ("stricts", "system", "claim_conflict"),
        ("tellings", "user", "claim_conflict"),
        ("tellings", "agent", "claim_conflict"),
        ("tellings", "system", "claim_conflict"),
    ],
)
def test_who_yields_to_a_claim(world: World, table: str, kind: str, outcome: str) -> None:
    holder, writer = world.caller("h"), world.caller("w", kind=kind)
    world.insert(table, "x")
    held = holder.claim("x", model=table)
    field_name = "title" if table == "tasks" else "name"
    assert writer.write("x", {field_name: "w"}, model=table) == outcome
    if outcome == "claim_conflict":
        guards = {"claimId": held["id"], "fenceToken": held["fenceToken"]}
        assert holder.write("x", {field_name: "h"}, model=table, **guards) == "committed"
    holder.release("x", model=table)
    assert writer.write("x", {field_name: "w"}, model=table) == "committed"


def test_write_beside_the_claimed_fields_passes(world: World) -> None:
    holder, writer = world.caller("h"), world.caller("w")
    world.insert("tasks", "t")
    holder.claim("t", target={"fields": ["Title"]})
    assert writer.write("t", {"body": "w"}) == "committed"
    assert writer.write("t", {"body": "w", "title": "w"}) == "claim_conflict"
    assert writer.write("t", {}, action="delete") == "claim_conflict"


def test_ended_or_foreign_or_waiting_claim_covers_no_write(world: World) -> None:
    a, b = world.caller("a"), world.caller("b")
    world.insert("tasks", "t")
    world.insert("tasks", "u")
    held = a.claim("t")["id"]
    ticket = b.claim("t")["id"]
    assert b.write("t", {"n": 1}, claimId=ticket) == "claim_queued"
    assert b.write("t", {"n": 1}, claimId=held) == "claim_lost"
    assert a.write("u", {"n": 1}, claimId=held) == "claim_lost"
    world.pass_time(held)
    assert a.write("t", {"n": 1}, claimId=held) == "claim_lost"
    assert a.write("t", {"n": 1}, claimId="never") == "claim_lost"


def test_row_that_moved_after_the_grant_is_stale_for_its_holder(world: World) -> None:
    holder, user = world.caller("h"), world.caller("u", kind="user")
    world.insert("tasks", "t")
    held = holder.claim("t")["id"]
    assert holder.write("t", {"n": 1}, claimId=held) == "committed"
    assert holder.write("t", {"n": 2}, claimId=held) == "committed"  # one's own writes are no news
    assert user.write("t", {"n": 3}) == "committed"
    assert holder.write("t", {"n": 4}, claimId=held) == "stale_context"
    assert holder.write("t", {"title": "beside"}, claimId=held) == "committed"


# --- fence tokens -----------------------------------------------------------------------------------------------------


def test_late_writer_is_refused_after_its_successor_has_finished(world: World) -> None:
    a, b = world.caller("a"), world.caller("b")
    world.insert("tasks", "t")
    old = a.claim("t")
    world.pass_time(old["id"])
    new = b.claim("t")
    assert new["fenceToken"] > old["fenceToken"]
    assert b.write("t", {"n": 2}, claimId=new["id"], fenceToken=new["fenceToken"]) == "committed"
    assert b.release("t")
    assert a.write("t", {"n": 1}, fenceToken=old["fenceToken"]) == "fence_token_stale"
    assert a.write("t", {"n": 1}, claimId=old["id"], fenceToken=old["fenceToken"]) == "claim_lost"
    assert b.write("t", {"n": 3}, fenceToken=new["fenceToken"]) == "committed"
    assert a.write("t", {"n": 4}) == "committed"  # without a token nothing is checked
    assert world.database.execute("SELECT n FROM tasks") == [(4,)]


def test_late_writer_that_meets_its_successor_in_the_act_is_refused(world: World) -> None:
    """It comes with its token alone, while the successor's commit has been checked but not committed."""
    a, b = world.caller("a"), world.caller("b")
    world.insert("tasks", "t")
    old = a.claim("t")
    world.pass_time(old["id"])
    new = b.claim("t")
    b.connection.autocommit = False
    assert b.write("t", {"n": 2}, claimId=new["id"], fenceToken=new["fenceToken"]) == "committed"
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(a.write, "t", {"n": 1}, fenceToken=old["fenceToken"])
        until(lambda: is_waiting(world, a), "the late writer waits")
        b.connection.commit()
        b.connection.autocommit = True
        b.release("t")
        assert late.result(WAIT_SECONDS) == "fence_token_stale"
    assert world.database.execute("SELECT n FROM tasks") == [(2,)]


def test_holders_of_disjoint_fields_do_not_fence_each_other_off(world: World) -> None:
    a, b = world.caller("a"), world.caller("b")
    world.insert("tasks", "t")
    title, body = a.claim("t", target={"field": "title"}), b.claim("t", target={"field": "body"})
    assert b.write("t", {"body": "b"}, claimId=body["id"], fenceToken=body["fenceToken"]) == "committed"
    assert a.write("t", {"title": "a"}, claimId=title["id"], fenceToken=title["fenceToken"]) == "committed"
    a.release("t")
    assert a.write("t", {"title": "late"}, fenceToken=title["fenceToken"]) == "fence_token_stale"


def test_token_of_the_callers_own_making_is_outgrown(world: World) -> None:
    a, b = world.caller("a"), world.caller("b")
    world.insert("tasks", "t")
    assert a.write("t", {"n": 1}, fenceToken=41) == "committed"
    assert a.write("t", {"n": 2}, fenceToken=40) == "fence_token_stale"
    assert b.claim("t")["fenceToken"] == 42
    assert b.write("t", {"n": 3}, fenceToken=2**60) == "commit_operation_invalid"  # JSON numbers end before


def test_tokens_grow_across_forgotten_rows(world: World) -> None:
    a = world.caller("a")
    for _ in range(5):
        last = a.claim("t")["fenceToken"]
        a.release("t")
    world.database.execute("UPDATE pgsync_private.claim_fence SET granted_at = granted_at - interval '8 days'")
    world.database.execute("UPDATE pgsync_private.claim SET ended_at = ended_at - interval '2 hours'")
    for _ in range(2):
        world.database.execute("SELECT pgsync.maintain_v1()")
    assert world.database.execute(
        "SELECT (SELECT count(*) FROM pgsync_private.claim), (SELECT count(*) FROM pgsync_private.claim_fence)"
    ) == [(0, 0)]
    world.insert("tasks", "t")
    assert a.write("t", {"n": 1}, fenceToken=last - 1) == "fence_token_stale"
    assert a.claim("t")["fenceToken"] > last


def test_maintenance_keeps_what_lives(world: World) -> None:
    a, b = world.caller("a"), world.caller("b")
    held, waiting = a.claim("t")["id"], b.claim("t")["id"]
    ended = a.claim("u")["id"]
    a.release("u")
    world.database.execute("UPDATE pgsync_private.claim_fence SET granted_at = granted_at - interval '8 days'")
    for _ in range(2):
        world.database.execute("SELECT pgsync.maintain_v1()")
    assert [a.status(i) for i in (held, waiting, ended)] == ["active", "queued", "committed"]
    assert world.database.execute("SELECT row_id FROM pgsync_private.claim_fence") == [("t",)]


# --- enforced claims -------------------------------------------------------------------------------------------------


@pytest.fixture
def held_doc(world: World) -> str:
    """The title of document d of acme is held by the agent h; there are others."""
    world.insert("projects", "p")
    world.insert("docs", "d", title="mine", project_id="p")
    world.insert("docs", "e", title="free")
    world.insert("docs", "d", organization="rival", title="theirs")
    return str(world.caller("h").claim("d", model="docs", target={"fields": ["Title"]})["id"])


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE docs SET title = 'x' WHERE organization_id = 'acme'",
        "UPDATE docs SET title = 'x', body_text = 'y' WHERE id = 'd' AND organization_id = 'acme'",
        "UPDATE docs SET id = id || '2'",
        "DELETE FROM docs WHERE id = 'd' AND organization_id = 'acme'",
        "DELETE FROM projects",
        "INSERT INTO docs (organization_id, id, title) VALUES ('acme', 'd', 'x')"
        " ON CONFLICT (organization_id, id) DO UPDATE SET title = 'x'",
        "MERGE INTO docs AS t USING (SELECT 'd' AS id) AS s ON t.id = s.id WHEN MATCHED THEN UPDATE SET title = 'x'",
        "TRUNCATE docs",
        "TRUNCATE projects CASCADE",
    ],
)
def test_direct_write_through_an_enforced_claim_names_the_holder(world: World, held_doc: str, statement: str) -> None:
    before = world.database.execute("SELECT * FROM docs ORDER BY organization_id, id")
    with pytest.raises(psycopg.Error) as refused:
        world.database.execute(statement)
    assert refused.value.sqlstate == "PS401"
    assert (refused.value.diag.message_primary or "").startswith("docs/d is claimed by agent h until ")
    assert held_doc in (refused.value.diag.message_hint or "")
    assert world.database.execute("SELECT * FROM docs ORDER BY organization_id, id") == before


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE docs SET body_text = 'x'",
        "UPDATE docs SET title = title",
        "UPDATE docs SET title = 'x' WHERE id = 'e' OR organization_id = 'rival'",
        "DELETE FROM docs WHERE id = 'e'",
        "DELETE FROM docs WHERE organization_id = 'rival'",
        "INSERT INTO docs (organization_id, id) VALUES ('acme', 'f')",
        "UPDATE projects SET name = 'x'",
    ],
)
@pytest.mark.usefixtures("held_doc")
def test_direct_write_beside_an_enforced_claim_passes(world: World, statement: str) -> None:
    world.database.execute(statement)


@pytest.mark.usefixtures("held_doc")
def test_copy_into_a_claimed_id_is_refused(world: World) -> None:
    world.caller("h").claim("new", model="docs")
    with (
        world.database.connect() as connection,
        pytest.raises(psycopg.Error) as refused,
        connection.cursor().copy("COPY docs (organization_id, id) FROM STDIN") as copy,
    ):
        copy.write("acme\tok\nacme\tnew\n")
    assert refused.value.sqlstate == "PS401"
    assert world.database.execute("SELECT count(*) FROM docs WHERE id IN ('ok', 'new')") == [(0,)]


def test_enforced_claim_ends_with_its_time(world: World, held_doc: str) -> None:
    world.pass_time(held_doc)
    world.database.execute("UPDATE docs SET title = 'x'")


@pytest.mark.usefixtures("held_doc")
def test_cascade_of_a_commit_yields_as_its_participant_would(world: World) -> None:
    for kind in ("agent", "system"):
        with pytest.raises(psycopg.Error) as refused:
            world.caller("other", kind=kind).write("p", {}, model="projects", action="delete")
        assert refused.value.sqlstate == "PS401"
    assert world.caller("h").write("p", {}, model="projects", action="delete") == "committed"


def test_cascade_does_not_say_who_holds_a_row_that_its_writer_does_not_see(world: World) -> None:
    holder = world.caller("h")
    for project in ("p", "q"):
        world.insert("projects", project)
        world.insert("secrets", f"of-{project}", owner="h", project_id=project)
        holder.claim(f"of-{project}", model="secrets")
    # The same participant by another kind sees the row; others do not.
    for project, participant, is_told in (("p", "other", False), ("q", "h", True)):
        with pytest.raises(psycopg.Error) as refused:
            world.caller(participant, kind="system").write(project, {}, model="projects", action="delete")
        said = f"{refused.value} {refused.value.diag.message_detail} {refused.value.diag.message_hint}"
        assert refused.value.sqlstate == "PS401"
        assert ("of-" in said, "heldBy" in said) == (is_told, is_told), said


@pytest.mark.usefixtures("held_doc")
def test_user_cascades_through_a_claim(world: World) -> None:
    assert world.caller("u", kind="user").write("p", {}, model="projects", action="delete") == "committed"


def test_grant_on_an_enforced_model_waits_for_direct_writers(world: World) -> None:
    world.insert("docs", "d", title="old")
    a = world.caller("a")
    with world.database.connect(autocommit=False) as direct, ThreadPoolExecutor(1) as pool:
        direct.execute("UPDATE docs SET title = 'first'")
        grant = pool.submit(a.claim, "d", "docs")
        until(lambda: is_waiting(world, a), "the grant waits for the writer")
        direct.commit()
        held = grant.result(WAIT_SECONDS)
    assert held["status"] == "active"
    # What it waited for was there at the grant, so it is not news to the holder.
    assert a.write("d", {"title": "mine"}, model="docs", claimId=held["id"]) == "committed"


def test_model_that_stops_enforcing_lets_direct_sql_through(server: Server) -> None:
    def schema(claims: Any) -> Schema:
        class Paper(Model, claims=claims):
            title: str | None = None

        return Schema(Paper)

    database = server.create_database()
    made = World(database)
    try:
        push(database.dsn, schema("enforced"))
        made.insert("papers", "x")
        made.caller("a").claim("x", model="papers")
        with pytest.raises(psycopg.Error, match="claimed by agent a"):
            database.execute("UPDATE papers SET title = 'x'")
        push(database.dsn, schema("advisory"))
        database.execute("UPDATE papers SET title = 'x'")
    finally:
        made.close()
        database.drop()


# --- races -----------------------------------------------------------------------------------------------------------


def test_hundred_claimers_are_served_in_order_one_at_a_time(world: World) -> None:
    """Each is woken by the announcement of its turn, adds one to what the one before has written, and gives back."""
    count = 100
    world.insert("tasks", "t")
    gate = world.caller("gate")
    gate.claim("t", ttl="5m")

    def work(n: int) -> None:
        me = world.caller(f"worker-{n}")
        me.connection.execute("LISTEN pgsync")
        ticket = me.claim("t", ttl="1m")["id"]
        turn = {"t": "claim", "event": "granted", "org": "acme", "model": "task", "id": "t", "claimId": ticket}
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            heard = [json.loads(x.payload) for x in me.connection.notifies(timeout=5, stop_after=1)]
            if turn in heard:
                break
            if not heard:
                me.beat(ticket)
        held = me.call("claim_v1", ticket)
        assert held["status"] == "active"
        (before,) = world.database.execute("SELECT n FROM tasks")
        guards = {"claimId": ticket, "fenceToken": held["fenceToken"]}
        assert me.write("t", {"n": before[0] + 1}, **guards) == "committed"
        assert me.release("t") is True
        me.connection.close()

    with ThreadPoolExecutor(count) as pool:
        running = [pool.submit(work, n) for n in range(count)]
        until(
            lambda: (
                world.database.execute("SELECT count(*) FROM pgsync_private.claim WHERE status = 'queued'")
                == [(count,)]
            ),
            "all wait in line",
        )
        gate.release("t")
        for future in running:
            future.result(WAIT_SECONDS * 2)
    assert world.database.execute("SELECT n FROM tasks") == [(count,)]
    served = world.database.execute(
        "SELECT place FROM pgsync_private.claim WHERE participant_id <> 'gate' ORDER BY fence_token"
    )
    assert served == sorted(served)
    assert len(served) == count
    turns = world.database.execute(
        "SELECT claim_id, event FROM pgsync_private.claim_event WHERE event <> 'queued' ORDER BY seq"
    )
    for granted, released in zip(turns[::2], turns[1::2], strict=True):
        assert (granted[1], released[1], granted[0]) == ("granted", "released", released[0])


def test_fifty_claimers_at_once_get_one_lease(world: World) -> None:
    barrier = threading.Barrier(50)

    def work(n: int) -> Any:
        me = world.caller(f"worker-{n}")
        barrier.wait(WAIT_SECONDS)
        return me.claim("t", queue=False)

    answers = run_all(work, 50)
    assert sum(a.get("status") == "active" for a in answers) == 1
    assert sum(a.get("code") == "entity_claimed" for a in answers) == 49


def test_random_storms_deadlock_nowhere_and_let_nobody_collide(world: World) -> None:
    rows = ["r0", "r1", "r2"]
    for row in rows:
        world.insert("tasks", row)
        world.insert("docs", row)
    ends = time.monotonic() + STORM_SECONDS
    done = 0

    def storm(n: int) -> int:
        random_ = random.Random(n)
        me = world.caller(f"p{n % 6}", kind=("agent", "system", "user")[n % 3])
        mine: list[str] = []
        steps = 0
        while time.monotonic() < ends:
            steps += 1
            row, model = random_.choice(rows), random_.choice(["tasks", "docs"])
            match random_.randrange(9):
                case 0 | 1 | 2:
                    fields = random_.choice([None, ["title"], ["title", "body"], ["body"]])
                    ttl = random_.choice(["5ms", "50ms", "10s"])
                    answer = me.claim(
                        row, model=model, ttl=ttl, target={"fields": fields}, queue=random_.random() < 0.8
                    )
                    mine += [answer["id"]] if "id" in answer else []
                case 3:
                    me.release(row, model=model)
                case 4 if mine:
                    me.call("release_claim_v1", mine.pop(random_.randrange(len(mine))))
                case 5 if mine:
                    me.beat(random_.choice(mine), ttl="20ms")
                case 6:
                    me.call("heartbeat_claims_v1", {})
                    me.connection.execute("SELECT pgsync.sweep_claims_v1(5)")
                case 7:
                    line = me.call("claims_v1", {"model": model, "id": row})["data"]
                    order = [{"heldBy": c["actor"], "claimId": c["id"]} for c in line if c["status"] == "queued"]
                    random_.shuffle(order)
                    me.call("reorder_claims_v1", model, row, {"order": order})
                case _:
                    operations = [
                        {
                            "action": "update",
                            "model": model,
                            "id": r,
                            "data": {"title": f"{n}"},
                            "fenceToken": random_.randrange(9),
                        }
                        for r in random_.sample(rows, 2)
                    ]
                    me.connection.execute(
                        b"SELECT pgsync.commit_v1(%s, %s, %s)",
                        [me.identity, new_key(), json.dumps({"operations": operations})],
                    )
        return steps

    def watch(_: int) -> int:
        seen: list[int] = []
        with world.database.connect() as connection:
            while time.monotonic() < ends:
                assert connection.execute(COLLISIONS.encode()).fetchone() == (0,)
                events = connection.execute(
                    "SELECT seq FROM pgsync_private.claim_events('acme', %s, 1000)", [seen[-1] if seen else 0]
                ).fetchall()
                seen += [seq for (seq,) in events]
        return len(seen)

    done = sum(run_all(lambda n: watch(n) if n == 0 else storm(n), 12))
    assert done > 200
    assert world.database.execute(COLLISIONS) == [(0,)]
    broken = world.database.execute(
        "SELECT a.* FROM pgsync_private.claim_event AS a JOIN pgsync_private.claim_event AS b USING (model, row_id)"
        " WHERE a.event = 'granted' AND b.event = 'granted' AND a.seq < b.seq AND a.fence_token > b.fence_token"
    )
    assert broken == []
    until(lambda: world.database.execute("SELECT pgsync.sweep_claims_v1(1000)") == [(0,)], "all is settled")


def test_reader_of_the_events_misses_none(world: World) -> None:
    stop = threading.Event()
    seen: list[int] = []

    def read(_: int) -> None:
        with world.database.connect() as connection:
            while not stop.is_set():
                events = connection.execute(
                    "SELECT seq FROM pgsync_private.claim_events('acme', %s, 7)", [seen[-1] if seen else 0]
                ).fetchall()
                seen.extend(seq for (seq,) in events)

    def write(n: int) -> None:
        me = world.caller(f"w{n}")
        for turn in range(30):
            me.claim(f"t{turn % 3}-{n}")
            me.release(f"t{turn % 3}-{n}")

    with ThreadPoolExecutor(6) as pool:
        reader = pool.submit(read, 0)
        for writer in [pool.submit(write, n) for n in range(5)]:
            writer.result(WAIT_SECONDS)
        all_events = [
            seq for (seq,) in world.database.execute("SELECT seq FROM pgsync_private.claim_event ORDER BY seq")
        ]
        until(lambda: len(seen) >= len(all_events), "the reader has caught up")
        stop.set()
        reader.result(WAIT_SECONDS)
    assert seen == all_events


def test_every_lookup_goes_by_an_index(world: World) -> None:
    """However many claims there are and were: none of the functions that callers wait for scans a table."""
    for status in ("active", "committed"):
        numbers = "FROM generate_series(1, 10000) AS n"
        world.database.execute(FILL + numbers, {"row": None, "status": status})
    world.database.execute(
        "INSERT INTO pgsync_private.claim_fence (scope, model, row_id, last_token)"
        " SELECT 'acme', 'task', 'x' || n, 1 FROM generate_series(1, 20000) AS n;"
        " ANALYZE pgsync_private.claim; ANALYZE pgsync_private.claim_fence;"
    )
    world.insert("tasks", "t")
    scans = (
        "SELECT relname, seq_scan FROM pg_stat_user_tables WHERE relname IN ('claim', 'claim_fence') ORDER BY relname"
    )
    before = world.database.execute(scans)
    a, b = world.caller("a"), world.caller("b")
    for _ in range(8):  # often enough for a generic plan
        held = a.claim("t")
        ticket = b.claim("t")["id"]
        b.beat(ticket)
        a.call("heartbeat_claims_v1", {})
        a.call("claims_v1", {"model": "tasks", "id": "t"})
        a.call("claims_v1", {"model": "tasks", "id": "t", "actorId": "a"})
        a.call("reorder_claims_v1", "tasks", "t", {"order": [{"claimId": ticket}]})
        a.write("t", {"n": 1}, claimId=held["id"], fenceToken=held["fenceToken"])
        b.write("t", {"n": 1})
        a.call("claim_v1", held["id"])
        a.connection.execute("SELECT pgsync.row_claims_v1('tasks', 't')")
        a.connection.execute("SELECT pgsync.sweep_claims_v1()")
        a.release("t")
        b.call("release_claim_v1", ticket)
    for caller in (a, b):
        caller.connection.execute("SELECT pg_stat_force_next_flush()")
        caller.connection.execute("SELECT 1")
    assert world.database.execute(scans) == before
