"""A membership row gives its participant a group, in reads and writes, for exactly as long as it is there."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from pgsync import names
from pgsync.push import push
from tests.credentials import create_credential
from tests.postgres import Database, Server
from tests.sql.conftest import Caller, World, _copy, ok, refused
from tests.workspaces import SCHEMA


@pytest.fixture(scope="module")
def template(server: Server) -> Iterator[Database]:
    with server.lend() as database:
        push(database.dsn, SCHEMA)
        yield database


@pytest.fixture
def shared(server: Server, template: Database) -> Iterator[World]:
    """Two workspaces of acme with a document each; ada is a member of the first. Another ada, of globex, of both."""
    for world in _copy(server, template):
        for organization in ("acme", "globex"):
            for workspace in ("w1", "w2"):
                statement = "INSERT INTO workspaces (organization_id, id, name) VALUES (%s, %s, 'x')"
                world.sql(statement, organization, workspace)
                world.sql(
                    "INSERT INTO documents (organization_id, id, title, workspace_id) VALUES (%s, %s, 'x', %s)",
                    organization,
                    f"{organization}-{workspace}",
                    workspace,
                )
        grant(world, "acme", "ada", "w1")
        grant(world, "globex", "ada", "w1")
        grant(world, "globex", "ada", "w2")
        yield world


def grant(world: World, organization: str, person: str, workspace: str) -> None:
    world.sql(
        "INSERT INTO members (organization_id, id, person_id, workspace_id) VALUES (%s, %s, %s, %s)",
        organization,
        f"{person}-{workspace}",
        person,
        workspace,
    )


@dataclass(slots=True)
class Member_(Caller):  # noqa: N801  # a caller whose credential follows memberships
    edges: Any = True

    @property
    def identity(self) -> str:
        return json.dumps(json.loads(Caller.identity.fget(self)) | {"edges": self.edges})  # type: ignore[attr-defined]


def member(world: World, organization: str = "acme", participant: str = "ada", edges: Any = True) -> Member_:
    return Member_(world.connect(names.GATEWAY), organization, participant, edges=edges)


DOCUMENTS = "SELECT id FROM documents ORDER BY id"


def test_member_reads_and_writes_what_its_memberships_show(shared: World) -> None:
    ada = member(shared)
    assert ada.read(DOCUMENTS) == ["acme-w1"]
    ok(ada.update("documents", "acme-w1", {"title": "y"}))
    assert refused(ada.update("documents", "acme-w2", {"title": "y"})).code == "mutate_update_entity_not_found"
    assert member(shared, "globex").read(DOCUMENTS) == ["globex-w1", "globex-w2"]
    assert member(shared, "acme", "bob").read(DOCUMENTS) == []


def test_record_of_a_members_commit_has_the_groups_that_it_held(shared: World) -> None:
    ada = member(shared)
    ok(ada.update("documents", "acme-w1", {"title": "y"}, key="k"))
    shared.sql("DELETE FROM members")
    (record,) = ada.read("SELECT pgsync.commit_record_v1(%s, 'k')", ada.identity)
    assert record["syncGroups"] == ["org:acme", "user:ada", "workspace:w1"]


def test_membership_counts_from_the_next_transaction_on_and_no_longer_than_it_is_there(shared: World) -> None:
    ada = member(shared)
    grant(shared, "acme", "ada", "w2")
    assert ada.read(DOCUMENTS) == ["acme-w1", "acme-w2"]
    ok(ada.update("documents", "acme-w2", {"title": "y"}))
    shared.sql("DELETE FROM workspaces WHERE organization_id = 'acme' AND id = 'w1'")  # and its members by cascade
    assert ada.read(DOCUMENTS) == ["acme-w2"]
    shared.sql("TRUNCATE members")
    assert ada.read(DOCUMENTS) == []
    assert refused(ada.update("documents", "acme-w2", {"title": "z"})).code == "mutate_update_entity_not_found"


def test_credential_that_does_not_follow_memberships_gains_nothing(shared: World) -> None:
    assert shared.caller().read(DOCUMENTS) == []
    assert member(shared, edges=False).read(DOCUMENTS) == []
    assert member(shared, "globex", edges=["workspace:w2", "workspace:w9"]).read(DOCUMENTS) == ["globex-w2"]
    assert member(shared, edges=["workspace:w2"]).read(DOCUMENTS) == []  # asked for by name, but not granted


def test_premise_on_a_group_that_a_membership_grants(shared: World) -> None:
    ada = member(shared)
    request = {"operations": [], "track": [{"group": "workspace:w1"}]}

    def track(key: str) -> Any:
        return ada._call("SELECT pgsync.commit_v1(%s, %s, %s)", ada.identity, key, json.dumps(request))

    ok(track("k1"))
    shared.sql("DELETE FROM members")
    assert refused(track("k2")).code == "capability_scope_denied"


def test_memberships_are_found_by_index(shared: World) -> None:
    shared.sql(
        "INSERT INTO members (organization_id, id, person_id, workspace_id)"
        " SELECT 'acme', 'm' || n, 'p' || n, 'w2' FROM generate_series(1, 5000) AS n; ANALYZE members"
    )
    writer = shared.connect()
    writer.execute("SET ROLE pgsync_writer")
    writer.execute("SELECT set_config('pgsync.organization_id', 'acme', false)")
    body = shared.sql("SELECT prosrc FROM pg_proc WHERE proname = 'edges'")[0]
    query = body.replace("edges.p_organization", "'acme'").replace("edges.p_participant", "'ada'")
    plan = "\n".join(row[0] for row in writer.execute(f"EXPLAIN {query}").fetchall())
    assert re.search(r"Index Cond: .*person_id", plan), plan


# --- credentials ----------------------------------------------------------------------------------------------------


def credential(world: World, **request: Any) -> tuple[str, Any]:
    return create_credential(world.database, **{"participant": "ada", "participantKind": "user"} | request)


def look_up(world: World, key: str) -> Any:
    return world.sql("SELECT pgsync.authenticate_v1(%s)", hashlib.sha256(key.encode()).digest())[0]


def mint(world: World, minter: Any, **request: Any) -> tuple[str, Any]:
    key = secrets.token_hex(8)
    whole = {"keyHash": hashlib.sha256(key.encode()).hexdigest(), "keyKind": "ek", "participantKind": "user"}
    whole |= {"participantId": "ada", "operations": ["document.read"]} | request
    gateway = world.connect(names.GATEWAY)
    row = gateway.execute("SELECT pgsync.mint_credential_v1(%s, %s)", [Jsonb(minter), Jsonb(whole)]).fetchone()
    assert row is not None
    return key, row[0]


def test_identity_says_what_memberships_grant_now(shared: World) -> None:
    key, _ = credential(shared)
    found = look_up(shared, key)
    assert found["syncGroups"] == ["org:acme", "user:ada"]
    assert (found["edges"], found["edgeGroups"], found["edgeKinds"]) == (True, ["workspace:w1"], ["workspace"])
    shared.sql("DELETE FROM members WHERE organization_id = 'acme'")
    assert look_up(shared, key)["edgeGroups"] == []


def test_looking_a_key_up_leaves_the_transactions_identity_alone(shared: World) -> None:
    key, _ = credential(shared)
    gateway = shared.connect(names.GATEWAY, autocommit=False)
    gateway.execute("SELECT pgsync.set_identity_v1(%s)", [member(shared, "globex", "bob").identity])
    gateway.execute("SELECT pgsync.authenticate_v1(%s)", [hashlib.sha256(key.encode()).digest()])
    row = gateway.execute("SELECT pgsync.organization_id(), pgsync.participant_id()").fetchone()
    assert row == ("globex", "bob")


def test_key_narrowed_by_name_gains_nothing_by_membership(shared: World) -> None:
    key, _ = credential(shared, syncGroups=["org:acme"])
    assert look_up(shared, key)["edges"] is False
    assert "edgeGroups" not in look_up(shared, key)


def test_minted_session_follows_memberships_and_freezes_none(shared: World) -> None:
    _, root = credential(shared, participantKind="system", participant="ci")
    key, minted = mint(shared, root)
    assert minted["credential"]["edgeGroups"] == ["workspace:w1"]
    assert minted["credential"]["syncGroups"] == ["org:acme", "user:ada"]
    shared.sql("DELETE FROM members")
    assert look_up(shared, key)["edgeGroups"] == []
    narrow, _ = mint(shared, root, syncGroups=["org:acme", "user:ada"])
    assert look_up(shared, narrow)["edges"] is False


def test_narrow_minter_neither_hands_out_its_memberships_nor_becomes_a_member(shared: World) -> None:
    _, narrow = credential(shared, syncGroups=["workspace:w2"])
    _, minted = mint(shared, narrow, participantId="ada")  # by default what the minter may hand out
    assert minted["credential"]["edges"] is False
    _, refusal = mint(shared, narrow, syncGroups=["workspace:w1"])
    assert refusal["error"]["code"] == "forbidden"
