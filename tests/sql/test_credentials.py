"""Credentials in the database: who may mint, what a session can do, how it ends; and that grants bind reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from psycopg.types.json import Jsonb

from pgsync import keys, names
from pgsync.push import push
from pgsync.schema import load_schema
from tests import postgres
from tests.credentials import create_credential

SCHEMA = Path(__file__).parent.parent / "acceptance" / "schema.py"
WRITES: Final = ["task.read", "task.update"]


@pytest.fixture(scope="module")
def template(server: postgres.Server) -> Iterator[postgres.Database]:
    with server.lend() as prepared:
        push(prepared.dsn, load_schema(str(SCHEMA)))
        yield prepared


@pytest.fixture
def pushed(server: postgres.Server, template: postgres.Database) -> Iterator[postgres.Database]:
    with server.lend(template=template) as copied:
        yield copied


@pytest.fixture
def gateway(pushed: postgres.Database) -> Iterator[psycopg.Connection[Any]]:
    """A connection as the gateway has it."""
    with pushed.connect(names.GATEWAY) as connection:
        yield connection


def create(database: postgres.Database, **request: Any) -> dict[str, Any]:
    """The identity of a key that an administrator made."""
    return create_credential(database, **request)[1]


def one(connection: psycopg.Connection[Any], statement: str, *parameters: Any) -> Any:
    row = connection.execute(statement.encode(), parameters).fetchone()
    assert row is not None
    return row[0]


def mint(connection: psycopg.Connection[Any], identity: Any, **request: Any) -> Any:
    """What minting answered. By default a session of an agent that may read tasks."""
    given: dict[str, Any] = {"participantKind": "agent", "participantId": "bot", "operations": ["task.read"]} | request
    given.setdefault("keyKind", "ek" if given["participantKind"] == "user" else "rk")
    given["keyHash"] = keys.digest(keys.generate(given["keyKind"])).hex()
    given = {name: value for name, value in given.items() if value is not ...}
    return one(connection, "SELECT pgsync.mint_credential_v1(%s, %s)", Jsonb(identity), Jsonb(given))


def minted(connection: psycopg.Connection[Any], identity: Any, **request: Any) -> Any:
    answer = mint(connection, identity, **request)
    assert answer["outcome"] == "minted", answer
    return answer["credential"]


def refused(answer: Any) -> tuple[str, str | None]:
    assert answer["outcome"] == "refused", answer
    return answer["error"]["code"], answer["error"].get("param")


def status(database: postgres.Database, identity: Any) -> str:
    ((found,),) = database.execute(
        "SELECT pgsync_private.credential_json(c) FROM pgsync_private.credential AS c WHERE c.id = %s",
        [identity["capabilityId"]],
    )
    return str(found["status"])


def until(identity: Any) -> datetime:
    assert identity["expiresAt"].endswith("Z")
    return datetime.fromisoformat(identity["expiresAt"])


# --- minting ------------------------------------------------------------------------------------------------------


def test_session_of_an_agent_is_what_was_asked_for(pushed: postgres.Database, gateway: psycopg.Connection[Any]) -> None:
    session = minted(gateway, create(pushed), userMeta={"team": "x"}, label="bot", ttlSeconds=60)
    assert session["keyKind"] == "rk"
    assert session["capabilityId"].startswith("cap_")
    assert (session["organizationId"], session["participantKind"], session["participantId"]) == ("acme", "agent", "bot")
    assert session["operations"] == ["task.read"]
    assert session["syncGroups"] == ["org:acme", "agent:bot"]
    assert session["userMeta"] == {"team": "x"}
    assert timedelta(seconds=50) < until(session) - datetime.now(UTC) <= timedelta(seconds=60)


def test_session_of_a_user_is_in_the_users_teams(pushed: postgres.Database, gateway: psycopg.Connection[Any]) -> None:
    session = minted(gateway, create(pushed), participantKind="user", participantId="ada", teamIds=["red"])
    assert session["keyKind"] == "ek"
    assert session["syncGroups"] == ["org:acme", "user:ada", "team:red"]


@pytest.mark.parametrize("kind", ["rk", "ek", "pk"])
def test_only_a_secret_key_mints(pushed: postgres.Database, gateway: psycopg.Connection[Any], kind: str) -> None:
    assert refused(mint(gateway, create(pushed, kind=kind)))[0] == "server_side_only"
    assert refused(mint(gateway, {"organizationId": "acme"}))[0] == "server_side_only"


def test_ended_secret_key_mints_no_more(pushed: postgres.Database, gateway: psycopg.Connection[Any]) -> None:
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    assert refused(mint(gateway, create(pushed, expiresAt=past)))[0] == "apikey_expired"
    revoked = create(pushed)
    pushed.execute("SELECT pgsync.revoke_credential_v1(%s)", [revoked["capabilityId"]])
    assert refused(mint(gateway, revoked))[0] == "apikey_revoked"


def test_session_never_outlives_a_limited_minter(pushed: postgres.Database, gateway: psycopg.Connection[Any]) -> None:
    limited = create(pushed, expiresAt=(datetime.now(UTC) + timedelta(minutes=1)).isoformat())
    assert until(minted(gateway, limited, ttlSeconds=3600)) == until(limited)


@pytest.mark.parametrize(
    ("request_", "code", "scope"),
    [
        ({"operations": ["task.update"]}, "capability_scope_denied", "task.update"),
        ({"operations": ["task.read", "project.read"]}, "capability_scope_denied", "project.read"),
        ({"operations": ["*.read"]}, "capability_scope_denied", "*.read"),
        ({"operations": ..., "wideScope": True}, "wide_scope_forbidden", None),
        ({"operations": [], "wideScope": True}, "wide_scope_forbidden", None),
    ],
)
def test_session_never_does_more_than_its_minter(
    pushed: postgres.Database, gateway: psycopg.Connection[Any], request_: Any, code: str, scope: str | None
) -> None:
    answer = mint(gateway, create(pushed, operations=["task.read", "*.delete"]), **request_)
    assert refused(answer)[0] == code
    if scope is not None:
        assert answer["error"]["requiredCapability"] == {"scope": scope}


def test_wildcard_covers_every_model(pushed: postgres.Database, gateway: psycopg.Connection[Any]) -> None:
    limited = create(pushed, operations=["*.read"])
    assert minted(gateway, limited, operations=["task.read", "*.read"])["operations"] == ["task.read", "*.read"]


def test_wide_scope_of_a_wide_key_is_everything(pushed: postgres.Database, gateway: psycopg.Connection[Any]) -> None:
    wide = minted(gateway, create(pushed), operations=..., participantId=..., wideScope=True, ttlSeconds=3600)
    assert wide["operations"] == []
    assert wide["participantId"] == "ci"


def test_groups_of_the_organization_may_be_handed_out_and_no_others(
    pushed: postgres.Database, gateway: psycopg.Connection[Any]
) -> None:
    whole = create(pushed)
    assert minted(gateway, whole, syncGroups=["project:1"])["syncGroups"] == ["project:1"]
    assert refused(mint(gateway, whole, syncGroups=["org:rival"])) == ("organization_mismatch", "syncGroups")
    narrow = create(pushed, syncGroups=["project:1"])
    assert minted(gateway, narrow, syncGroups=["project:1"])["syncGroups"] == ["project:1"]
    assert minted(gateway, narrow)["syncGroups"] == []
    assert refused(mint(gateway, narrow, syncGroups=["project:2"])) == ("forbidden", "syncGroups")
    assert refused(mint(gateway, narrow, syncGroups=["org:acme"])) == ("organization_mismatch", "syncGroups")


@pytest.mark.parametrize(
    ("request_", "problem"),
    [
        ({"organizationId": "rival"}, ("organization_mismatch", "organizationId")),
        ({"participantKind": "user", "keyKind": "rk"}, ("invalid_participant_kind", "participantKind")),
        ({"participantKind": "human", "keyKind": "rk"}, ("invalid_participant_kind", "participantKind")),
        ({"participantId": ""}, ("invalid_body", "participantId")),
        ({"operations": ["claim.preempt"]}, ("narrow_scope_required", "operations")),
        ({"operations": ["claim.read", "claim.claim"]}, ("invalid_body", "operations")),
        ({"operations": ["a.b.read"]}, ("invalid_body", "operations")),
        ({"operations": ["*"]}, ("invalid_body", "operations")),
        ({"operations": [None]}, ("invalid_body", "operations")),
        ({"operations": []}, ("narrow_scope_required", "operations")),
        ({"operations": ...}, ("narrow_scope_required", "operations")),
        ({"ttlSeconds": 0}, ("invalid_body", "ttlSeconds")),
        ({"ttlSeconds": 1.5}, ("invalid_body", "ttlSeconds")),
        ({"ttlSeconds": 1e12}, ("invalid_body", "ttlSeconds")),
        ({"syncGroups": ["nope"]}, ("invalid_sync_group", "syncGroups")),
        ({"onBehalfOf": {"kind": "robot", "id": "x"}}, ("invalid_body", "onBehalfOf")),
        ({"participantKind": "user", "operations": []}, ("narrow_scope_required", "operations")),
        ({"participantKind": "user", "operations": ...}, ("invalid_body", "operations")),
        ({"participantKind": "user", "controlPlaneOnly": True}, ("invalid_body", "operations")),
    ],
)
def test_bad_request_names_its_place(
    pushed: postgres.Database, gateway: psycopg.Connection[Any], request_: Any, problem: tuple[str, str | None]
) -> None:
    assert refused(mint(gateway, create(pushed), **request_)) == problem


def test_verbs_of_the_active_schema_become_operations_on_its_models(
    pushed: postgres.Database, gateway: psycopg.Connection[Any]
) -> None:
    session = minted(gateway, create(pushed), participantKind="user", operations=..., activeSchemaOperations=["read"])
    assert "task.read" in session["operations"]
    assert all(operation.endswith(".read") for operation in session["operations"])


def test_session_for_the_control_plane_touches_no_row(
    pushed: postgres.Database, gateway: psycopg.Connection[Any]
) -> None:
    session = minted(gateway, create(pushed), participantKind="user", operations=..., controlPlaneOnly=True)
    assert (session["operations"], session["controlPlaneOnly"]) == ([], True)
    with pytest.raises(psycopg.Error) as refusal:
        gateway.execute("SELECT pgsync.set_identity_v1(%s)", [Jsonb(session)])
    assert refusal.value.sqlstate == "PS301"


def test_delegation_is_handed_down_and_cannot_be_exchanged(
    pushed: postgres.Database, gateway: psycopg.Connection[Any]
) -> None:
    ada, bob = {"kind": "user", "id": "ada"}, {"kind": "user", "id": "bob"}
    assert minted(gateway, create(pushed), onBehalfOf=ada)["onBehalfOf"] == ada
    delegate = create(pushed, onBehalfOf=ada)
    assert minted(gateway, delegate)["onBehalfOf"] == ada
    assert refused(mint(gateway, delegate, onBehalfOf=bob)) == ("forbidden", "onBehalfOf")


# --- the end ------------------------------------------------------------------------------------------------------


def end(connection: psycopg.Connection[Any], identity: Any, credential: Any) -> Any:
    return one(connection, "SELECT pgsync.end_credential_v1(%s, %s)", Jsonb(identity), credential["capabilityId"])


def test_revoked_credential_ends_with_all_that_it_minted_and_gateways_are_told(
    pushed: postgres.Database, gateway: psycopg.Connection[Any]
) -> None:
    minter = create(pushed)
    sessions = [minted(gateway, minter) for _ in range(3)]
    other = minted(gateway, create(pushed))
    with pushed.connect() as listener:
        listener.execute("LISTEN pgsync")
        ended = end(gateway, minter, minter)["ended"]
        expected = {minter["capabilityId"], *(session["capabilityId"] for session in sessions)}
        assert set(ended) == expected
        notices = [notice.payload for notice in listener.notifies(timeout=10, stop_after=4)]
        assert all(any(identifier in payload for payload in notices) for identifier in expected)
    assert [status(pushed, session) for session in sessions] == ["revoked"] * 3
    assert status(pushed, other) == "active"
    assert end(gateway, minter, minter)["ended"] == []


def test_who_may_end_whom(pushed: postgres.Database, gateway: psycopg.Connection[Any]) -> None:
    whole, limited = create(pushed), create(pushed, operations=["task.read"])
    session, narrow = minted(gateway, whole, operations=["task.update"]), minted(gateway, limited)
    rival = create(pushed, organization="rival")
    assert refused(end(gateway, session, narrow))[0] == "server_side_only"
    assert refused(end(gateway, limited, session))[0] == "forbidden"
    assert refused(end(gateway, limited, whole))[0] == "forbidden"
    assert refused(end(gateway, rival, session))[0] == "capability_not_found"
    assert refused(end(gateway, whole, {"capabilityId": "nope"}))[0] == "capability_not_found"
    assert end(gateway, session, session)["outcome"] == "ended"
    assert end(gateway, whole, narrow)["outcome"] == "ended"


# --- rotation -----------------------------------------------------------------------------------------------------


def rotate(connection: psycopg.Connection[Any], identity: Any, credential: Any, **request: Any) -> Any:
    given = {"id": credential["capabilityId"], "keyHash": keys.digest(keys.generate("rk")).hex()} | request
    return one(connection, "SELECT pgsync.rotate_credential_v1(%s, %s)", Jsonb(identity), Jsonb(given))


def test_rotated_credential_has_the_same_rights_and_the_old_one_lives_until_its_grace_ends(
    pushed: postgres.Database, gateway: psycopg.Connection[Any]
) -> None:
    minter = create(pushed)
    old = minted(gateway, minter, ttlSeconds=900)
    answer = rotate(gateway, minter, old, graceSeconds=60)
    assert answer["outcome"] == "rotated"
    new = answer["credential"]
    same = ("organizationId", "participantKind", "participantId", "operations", "syncGroups", "userMeta", "keyKind")
    assert {name: new[name] for name in same} == {name: old[name] for name in same}
    assert new["capabilityId"] != old["capabilityId"]
    assert timedelta(seconds=880) < until(new) - datetime.now(UTC) <= timedelta(seconds=900)
    assert answer["rotatedFrom"]["capabilityId"] == old["capabilityId"]
    left = until(answer["rotatedFrom"]) - datetime.now(UTC)
    assert timedelta(seconds=40) < left <= timedelta(seconds=60)
    assert (status(pushed, old), status(pushed, new)) == ("active", "active")
    assert refused(rotate(gateway, minter, old))[0] == "capability_invalid"
    assert status(pushed, minted(gateway, minter)) == "active"


def test_rotation_without_grace_ends_the_old_one_now(
    pushed: postgres.Database, gateway: psycopg.Connection[Any]
) -> None:
    minter = create(pushed)
    old = minted(gateway, minter)
    rotate(gateway, minter, old, graceSeconds=0)
    assert status(pushed, old) == "expired"


def test_secret_key_that_rotates_itself_keeps_its_sessions_and_its_end(
    pushed: postgres.Database, gateway: psycopg.Connection[Any]
) -> None:
    end_at = datetime.now(UTC) + timedelta(minutes=10)
    old = create(pushed, expiresAt=end_at.isoformat())
    session = minted(gateway, old)
    new = rotate(gateway, old, old, ttlSeconds=3600)["credential"]
    assert until(new) <= end_at
    assert status(pushed, session) == "active"
    assert set(end(gateway, new, new)["ended"]) == {
        new["capabilityId"],
        old["capabilityId"],
        session["capabilityId"],
    }


def test_session_cannot_rotate_itself(pushed: postgres.Database, gateway: psycopg.Connection[Any]) -> None:
    session = minted(gateway, create(pushed))
    assert refused(rotate(gateway, session, session))[0] == "server_side_only"


# --- taking claims ------------------------------------------------------------------------------------------------


def test_preemption_is_handed_out_by_who_has_it_and_is_no_operation(
    pushed: postgres.Database, gateway: psycopg.Connection[Any]
) -> None:
    whole = create(pushed)
    limited, with_it = create(pushed, operations=WRITES), create(pushed, operations=[*WRITES, "claim.preempt"])
    assert [found["mayPreempt"] for found in (whole, limited, with_it)] == [True, False, True]
    assert with_it["operations"] == WRITES
    for minter in (whole, with_it):
        session = minted(gateway, minter, operations=[*WRITES, "claim.preempt"])
        assert (session["operations"], session["mayPreempt"]) == (WRITES, True)
        assert minted(gateway, minter, operations=WRITES)["mayPreempt"] is False
    wide = minted(gateway, whole, operations=["claim.preempt"], wideScope=True)
    assert (wide["operations"], wide["mayPreempt"]) == ([], True)
    assert minted(gateway, whole, operations=..., wideScope=True)["mayPreempt"] is False
    assert refused(mint(gateway, limited, operations=[*WRITES, "claim.preempt"]))[0] == "capability_scope_denied"
    assert refused(mint(gateway, whole, operations=["claim.preempt"]))[0] == "narrow_scope_required"
    assert rotate(gateway, whole, session)["credential"]["mayPreempt"] is True
    boss = create(pushed, kind="rk", operations=[*WRITES, "claim.preempt"])
    assert refused(end(gateway, limited, boss))[0] == "forbidden"
    assert end(gateway, with_it, boss)["outcome"] == "ended"


@pytest.mark.parametrize(
    "request_", [{"operations": ["claim.preempt"]}, {"kind": "pk", "operations": ["task.read", "claim.preempt"]}]
)
def test_preemption_is_granted_beside_something_and_to_nobody_who_only_reads(
    pushed: postgres.Database, request_: dict[str, Any]
) -> None:
    with pytest.raises(psycopg.Error) as raised:
        create(pushed, **request_)
    assert raised.value.sqlstate == "PS101"


# --- claims of a credential that ends -----------------------------------------------------------------------------


def call(connection: psycopg.Connection[Any], function: str, identity: Any, *arguments: Any) -> Any:
    """What a claim function answered, or the error that it refused with."""
    places = ", ".join(["%s"] * (len(arguments) + 1))
    given = [Jsonb(a) if isinstance(a, dict) else a for a in (identity, *arguments)]
    answer = one(connection, f"SELECT pgsync.{function}({places})", *given)
    return answer.get("answer", answer.get("error"))


def claim(connection: psycopg.Connection[Any], identity: Any, row_id: str = "t1") -> Any:
    return call(connection, "acquire_claim_v1", identity, {"model": "tasks", "id": row_id, "ttl": "1h"})


def state(connection: psycopg.Connection[Any], identity: Any, claimed: Any) -> str:
    return str(call(connection, "claim_v1", identity, claimed["id"])["status"])


def beat(connection: psycopg.Connection[Any], identity: Any, claimed: Any) -> Any:
    return call(connection, "heartbeat_claim_v1", identity, claimed["id"], None, None, {})


def test_claims_end_with_the_credential_that_is_revoked_and_the_next_in_line_is_told(
    pushed: postgres.Database, gateway: psycopg.Connection[Any]
) -> None:
    minter = create(pushed)
    a, b, c = (minted(gateway, minter, participantId=name, operations=WRITES) for name in "abc")
    held, first, second, elsewhere = (
        claim(gateway, a),
        claim(gateway, b),
        claim(gateway, c),
        claim(gateway, b, row_id="t2"),
    )
    ticket = claim(gateway, a, row_id="t2")
    with pushed.connect() as listener:
        listener.execute("LISTEN pgsync")
        end(gateway, minter, a)
        heard = [json.loads(notice.payload) for notice in listener.notifies(timeout=10, stop_after=4)]
    told = {(notice["event"], notice["claimId"]) for notice in heard if notice["t"] == "claim"}
    assert told == {("revoked", held["id"]), ("granted", first["id"]), ("revoked", ticket["id"])}
    assert [state(gateway, minter, found) for found in (held, ticket, first, second, elsewhere)] == [
        "expired",
        "expired",
        "active",
        "queued",
        "active",
    ]
    lost = beat(gateway, a, held)
    assert (lost["code"], lost["reason"], lost["heldBy"]) == ("claim_lost", "revoked", "b")
    end(gateway, minter, minter)  # and with it all that it minted
    assert [state(gateway, c, found) for found in (first, second, elsewhere)] == ["expired"] * 3


def test_claim_of_a_participant_lives_on_through_its_other_credential(
    pushed: postgres.Database, gateway: psycopg.Connection[Any]
) -> None:
    minter = create(pushed)
    one_key, other = (minted(gateway, minter, operations=WRITES) for _ in range(2))
    rows = ("entered", "beaten", "own", "left", "left too")
    mine = {row_id: claim(gateway, other if row_id == "own" else one_key, row_id) for row_id in rows}
    assert claim(gateway, other, "entered")["id"] == mine["entered"]["id"]
    beat(gateway, other, mine["beaten"])
    end(gateway, minter, one_key)
    expected = {row_id: "active" if row_id in ("entered", "beaten", "own") else "expired" for row_id in rows}
    assert {row_id: state(gateway, other, found) for row_id, found in mine.items()} == expected
    listed = call(gateway, "claims_v1", other, {"capabilityId": other["capabilityId"]})["data"]
    assert {found["target"]["id"] for found in listed} == {"entered", "beaten", "own"}
    end(gateway, minter, other)
    assert {state(gateway, minter, found) for found in mine.values()} == {"expired"}


def test_claims_of_a_rotated_credential_end_with_its_grace_unless_its_successor_speaks_for_them(
    pushed: postgres.Database, gateway: psycopg.Connection[Any]
) -> None:
    minter = create(pushed)
    old = minted(gateway, minter, operations=WRITES)
    kept, dropped = claim(gateway, old, "kept"), claim(gateway, old, "dropped")
    new = rotate(gateway, minter, old, graceSeconds=60)["credential"]
    call(gateway, "heartbeat_claims_v1", new, {})
    dropped_too = claim(gateway, old, "dropped too")
    one(gateway, "SELECT pgsync.sweep_claims_v1()")
    assert [state(gateway, new, found) for found in (kept, dropped, dropped_too)] == ["active"] * 3
    pushed.execute(
        "UPDATE pgsync_private.credential SET expires_at = clock_timestamp() WHERE id = %s", [old["capabilityId"]]
    )
    one(gateway, "SELECT pgsync.sweep_claims_v1()")
    assert [state(gateway, new, found) for found in (kept, dropped, dropped_too)] == ["active", "active", "expired"]
    rotate(gateway, minter, new, graceSeconds=0)
    assert [state(gateway, minter, found) for found in (kept, dropped)] == ["expired"] * 2


def test_session_whose_time_is_over_leaves_its_claims_to_their_own_time(
    pushed: postgres.Database, gateway: psycopg.Connection[Any]
) -> None:
    session = minted(gateway, create(pushed), operations=WRITES)
    held = claim(gateway, session)
    pushed.execute(
        "UPDATE pgsync_private.credential SET expires_at = clock_timestamp() WHERE id = %s", [session["capabilityId"]]
    )
    one(gateway, "SELECT pgsync.sweep_claims_v1()")
    assert state(gateway, session, held) == "active"


def test_revocation_waits_for_nobody_and_the_sweep_makes_up_for_it(
    pushed: postgres.Database, gateway: psycopg.Connection[Any]
) -> None:
    minter = create(pushed)
    a, b = (minted(gateway, minter, participantId=name, operations=WRITES) for name in "ab")
    held, free = claim(gateway, a, "busy"), claim(gateway, a, "free")
    with pushed.connect(names.GATEWAY, autocommit=False) as other:
        ticket = claim(other, b, "busy")
        end(gateway, minter, a)
        assert status(pushed, a) == "revoked"
        assert (state(gateway, minter, held), state(gateway, minter, free)) == ("active", "expired")
        other.commit()
    late = claim(gateway, a, "late")  # was on its way when the credential ended
    one(gateway, "SELECT pgsync.sweep_claims_v1()")
    assert [state(gateway, minter, found) for found in (held, late)] == ["expired"] * 2
    assert state(gateway, b, ticket) == "active"


def test_thousands_of_claims_do_not_keep_a_credential_from_ending(
    pushed: postgres.Database, gateway: psycopg.Connection[Any]
) -> None:
    minter = create(pushed)
    session = minted(gateway, minter, operations=WRITES)
    pushed.execute(
        "INSERT INTO pgsync_private.claim (organization_id, id, scope, model, model_key, row_id, participant_kind,"
        " participant_id, capability_id, description, status, ttl, expires_at, fence_token, granted_snapshot, row_seen)"
        " SELECT 'acme', 'c' || n, 'acme', 'task', 'tasks', 'r' || n, 'agent', 'bot', %s, 'x', 'active', '1 hour',"
        " clock_timestamp() + interval '1 hour', 1, '1:1:', false FROM generate_series(1, 1200) AS n",
        [session["capabilityId"]],
    )
    end(gateway, minter, session)
    left = "SELECT count(*) FROM pgsync_private.claim WHERE ended_at IS NULL"
    found = []
    for _ in range(3):
        found += pushed.execute(left)
        one(gateway, "SELECT pgsync.sweep_claims_v1()")
    assert found == [(700,), (200,), (0,)]


# --- publishable keys ---------------------------------------------------------------------------------------------


def test_publishable_key_reads_and_nothing_else(pushed: postgres.Database) -> None:
    assert create(pushed, kind="pk")["operations"] == ["*.read"]
    assert create(pushed, kind="pk", operations=["task.read"])["operations"] == ["task.read"]
    with pytest.raises(psycopg.Error) as refusal:
        create(pushed, kind="pk", operations=["task.read", "task.update"])
    assert refusal.value.sqlstate == "PS101"
    with pytest.raises(psycopg.errors.CheckViolation):
        pushed.execute("UPDATE pgsync_private.credential SET operations = '{}' WHERE kind = 'pk'")


# --- grants on reads ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operations", "seen"),
    [([], 1), (["task.read"], 1), (["*.read"], 1), (["task.update"], 0), (["project.read"], 0), (["*.delete"], 0)],
)
def test_rows_of_a_model_are_seen_with_a_grant_only(
    pushed: postgres.Database, gateway: psycopg.Connection[Any], operations: list[str], seen: int
) -> None:
    identity = create(pushed)
    one(
        gateway,
        "SELECT pgsync.write_v1(%s, 'k', 'create', 'tasks', 't', %s)",
        Jsonb(identity),
        Jsonb({"data": {"title": "x"}}),
    )
    reader = create(pushed, operations=operations)
    with gateway.transaction():
        gateway.execute("SELECT pgsync.set_identity_v1(%s)", [Jsonb(reader)])
        assert one(gateway, "SELECT count(*) FROM tasks") == seen
        if seen:
            gateway.execute("SELECT pgsync.require_read_v1('task')")
        else:
            with pytest.raises(psycopg.Error) as refusal:
                gateway.execute("SELECT pgsync.require_read_v1('task')")
            assert refusal.value.sqlstate == "PS301"
            assert "task.read" in (refusal.value.diag.message_detail or "")
            raise psycopg.Rollback


def test_no_row_is_seen_without_an_identity(pushed: postgres.Database, gateway: psycopg.Connection[Any]) -> None:
    identity = create(pushed)
    one(
        gateway,
        "SELECT pgsync.write_v1(%s, 'k', 'create', 'tasks', 't', %s)",
        Jsonb(identity),
        Jsonb({"data": {"title": "x"}}),
    )
    assert one(gateway, "SELECT count(*) FROM tasks") == 0


def test_ended_sessions_are_forgotten_with_what_they_did(
    pushed: postgres.Database, gateway: psycopg.Connection[Any]
) -> None:
    minter = create(pushed)
    session = minted(gateway, minter)
    pushed.execute(
        "UPDATE pgsync_private.credential SET expires_at = now() - INTERVAL '10 days' WHERE id = %s",
        [session["capabilityId"]],
    )
    pushed.execute("SELECT pgsync.maintain_v1()")
    assert pushed.execute("SELECT id FROM pgsync_private.credential") == [(minter["capabilityId"],)]
