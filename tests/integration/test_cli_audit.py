"""`pgsync audit`: what is printed of a row, a key and a person, in every form, and what an auditor needs for it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from pgsync import keys, names, sqlfiles
from pgsync.audit.trail import COLUMNS
from pgsync.cli import main
from pgsync.cli.audit import EXIT_BROKEN
from pgsync.cli.failure import EXIT_REFUSED, EXIT_USAGE
from pgsync.push import push
from pgsync.schema import Model, Schema
from tests.credentials import create_credential
from tests.integration.stream_support import running, until
from tests.postgres import Database, Server

FILL = 20_000


class Task(Model):
    title: str = ""


class Rate(Model, tenant=None):
    name: str = ""


@dataclass(slots=True)
class Office:
    """A database with keys: alice's own session, and her secret key, with which an agent's was minted."""

    database: Database
    gateway: psycopg.Connection[Any] = field(init=False)
    alice: dict[str, Any] = field(init=False)
    secret: dict[str, Any] = field(init=False)
    agent: dict[str, Any] = field(init=False)
    delegate: dict[str, Any] = field(init=False)
    bob: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.gateway = self.database.connect(names.GATEWAY)
        self.alice = self.key("ek", participantId="alice")
        self.secret = self.key("sk", participantKind="user", participantId="alice")
        self.agent = self.mint(self.secret, participantKind="agent", participantId="robot")
        # Acts for alice with a key that a server gave it.
        self.delegate = self.key(
            "rk", participantKind="agent", participantId="deputy", onBehalfOf={"kind": "user", "id": "alice"}
        )
        self.bob = self.key("ek", participantId="bob")

    def key(self, kind: keys.KeyKind, **more: Any) -> dict[str, Any]:
        return create_credential(self.database, kind=kind, **more)[1]

    def mint(self, minter: dict[str, Any], **request: Any) -> dict[str, Any]:
        wanted = {"keyHash": keys.digest(keys.generate("rk")).hex(), "keyKind": "rk", "wideScope": True} | request
        row = self.gateway.execute(
            "SELECT pgsync.mint_credential_v1(%s, %s)", [Jsonb(minter), Jsonb(wanted)]
        ).fetchone()
        assert row is not None
        assert row[0]["outcome"] == "minted", row
        return dict(row[0]["credential"])

    def write(
        self, who: dict[str, Any], action: str, row_id: str, *, key: str = "", route: str | None = "models", **more: Any
    ) -> None:
        operation = {"action": action, "model": "tasks", "id": row_id} | more
        request = {"route": route, "operations": [operation]}
        row = self.gateway.execute(
            "SELECT pgsync.commit_v1(%s, %s, %s)", [Jsonb(who), key or f"{action} {row_id}", Jsonb(request)]
        ).fetchone()
        assert row is not None
        assert row[0]["outcome"] == "committed", row

    def claim(self, who: dict[str, Any], row_id: str) -> None:
        request = Jsonb({"model": "tasks", "id": row_id})
        row = self.gateway.execute("SELECT pgsync.acquire_claim_v1(%s, %s)", [Jsonb(who), request]).fetchone()
        assert row is not None
        assert row[0]["outcome"] == "answered", row

    def seal(self) -> None:
        assert exit_code("audit", "seal") == 0


@pytest.fixture(scope="module")
def template(server: Server) -> Iterator[Database]:
    made = server.create_database()
    push(made.dsn, Schema(Task, Rate))
    yield made
    made.drop()


@pytest.fixture
def office(server: Server, template: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    database = server.create_database(template=template.name)
    monkeypatch.setenv("DATABASE_URL", database.dsn)
    made = Office(database)
    yield made
    made.gateway.close()
    database.drop()


def exit_code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    """The entries that a command prints, as JSON."""
    capsys.readouterr()
    assert exit_code("audit", *arguments, "--format", "json") == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def busy_day(office: Office) -> None:
    """Everybody touches t1, through every door; the second half is not sealed."""
    office.write(office.alice, "create", "t1", data={"title": "a"}, route="websocket")
    office.database.execute("UPDATE tasks SET title = 'by hand' WHERE id = 't1'")
    office.write(office.agent, "update", "t1", data={"title": "b"})
    office.write(office.bob, "create", "t2", data={"title": "c"})
    office.seal()
    office.claim(office.delegate, "t1")
    office.write(office.delegate, "update", "t1", key="deputy's", data={"title": "d"}, route=None)
    office.write(office.bob, "update", "t1", key="bob's", data={"title": "e"})


def summary(entries: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(e["door"], e["participantId"] or e["role"], e["action"], e["id"]) for e in entries]


def test_a_row_shows_everybody_and_every_door(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    busy_day(office)
    found = shown(capsys, "row", "tasks", "t1")
    assert summary(found) == [
        ("http", "bob", "update", "t1"),
        ("function", "deputy", "update", "t1"),
        ("claim", "deputy", "claim granted", "t1"),
        ("http", "robot", "update", "t1"),
        ("sql", "postgres", "update", "t1"),
        ("websocket", "alice", "create", "t1"),
    ]
    assert all([*entry] == ["at", *map(_camel, COLUMNS[1:])] for entry in found)
    assert [entry["keyId"] for entry in found] == [
        who and who["capabilityId"]
        for who in (office.bob, office.delegate, office.delegate, office.agent, None, office.alice)
    ]
    bob, deputy, *_ = found
    assert (deputy["onBehalfOfKind"], deputy["onBehalfOfId"]) == ("user", "alice")
    assert (bob["commitKey"], bob["fields"], bob["model"]) == ("bob's", ["title"], "task")
    assert bob["commitId"].endswith("-0")
    assert found[-1]["fields"] is None
    assert shown(capsys, "row", "Task", "t1") == shown(capsys, "row", "TASK", "t1") == found
    office.seal()
    assert shown(capsys, "row", "tasks", "t1") == found, "sealing changes nothing of it"
    assert shown(capsys, "row", "tasks", "nowhere") == []


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def test_a_row_shows_what_happened_to_all_rows_of_its_model(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    office.write(office.alice, "create", "t1")
    office.database.execute("TRUNCATE tasks")
    assert summary(shown(capsys, "row", "tasks", "t1"))[0] == ("sql", "postgres", "truncate", None)


def test_a_key_shows_what_was_done_with_it_and_no_more(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    busy_day(office)
    assert summary(shown(capsys, "key", office.delegate["capabilityId"])) == [
        ("function", "deputy", "update", "t1"),
        ("claim", "deputy", "claim granted", "t1"),
    ]
    assert summary(shown(capsys, "key", office.agent["capabilityId"])) == [("http", "robot", "update", "t1")]
    assert shown(capsys, "key", office.secret["capabilityId"]) == []


def test_a_person_shows_what_was_done_for_her_too(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    busy_day(office)
    expected = [
        ("function", "deputy", "update", "t1"),
        ("claim", "deputy", "claim granted", "t1"),
        ("http", "robot", "update", "t1"),
        ("websocket", "alice", "create", "t1"),
    ]
    assert summary(shown(capsys, "person", "alice")) == expected
    assert shown(capsys, "person", "alice", "--kind", "agent") == []
    assert summary(shown(capsys, "person", "deputy", "--kind", "agent")) == expected[:2]
    office.seal()
    office.database.execute("DELETE FROM pgsync_private.credential WHERE id <> %s", [office.secret["capabilityId"]])
    office.database.execute("TRUNCATE pgsync_private.commit")
    assert summary(shown(capsys, "person", "alice")) == expected, "also of keys that are forgotten"


def test_a_shared_row_belongs_to_no_organization_and_its_commit_to_one(
    office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    office.write(office.alice, "create", "r1", model="rates")
    office.seal()
    (entry,) = shown(capsys, "row", "rates", "r1", "--organization", "acme")
    assert (entry["organizationId"], entry["keyId"]) == (None, office.alice["capabilityId"])
    assert shown(capsys, "person", "alice", "--organization", "acme") == [entry]


def test_organizations_are_kept_apart_when_asked(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    other = office.key("ek", organizationId="globex", participantId="alice")
    office.write(office.alice, "create", "t1", key="ours")
    office.write(other, "create", "t1", key="theirs")
    for sealed in (False, True):
        for subject in (("row", "tasks", "t1"), ("person", "alice")):
            assert [e["commitKey"] for e in shown(capsys, *subject)] == ["theirs", "ours"]
            assert [e["commitKey"] for e in shown(capsys, *subject, "--organization", "acme")] == ["ours"]
        if not sealed:
            office.seal()


def test_pages_make_up_the_whole(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    # Several commits in one transaction, and several changes in one commit, so that pages end in the middle of them.
    busy_day(office)
    with office.database.connect(names.GATEWAY, autocommit=False) as gateway:
        for n in range(3):
            operations = [{"action": "create", "model": "tasks", "id": f"{n}-{m}"} for m in range(3)]
            gateway.execute(
                "SELECT pgsync.commit_v1(%s, %s, %s)", [Jsonb(office.alice), str(n), Jsonb({"operations": operations})]
            )
        gateway.commit()
    for sealed in (False, True):
        for subject in (("row", "tasks", "t1"), ("person", "alice"), ("key", office.alice["capabilityId"])):
            whole = shown(capsys, *subject, "--all")
            assert len(whole) == {"row": 6, "person": 13, "key": 10}[subject[0]]
            for size in (2, 5):
                pages: list[dict[str, Any]] = []
                while page := shown(
                    capsys, *subject, "--limit", str(size), *(["--after", pages[-1]["cursor"]] if pages else [])
                ):
                    assert len(page) <= size
                    pages += page
                assert pages == whole
        if not sealed:
            office.seal()
    last = shown(capsys, "person", "alice", "--limit", "2")[-1]["cursor"]
    assert exit_code("audit", "person", "alice", "--limit", "2") == 0
    assert f"--after {last}" in capsys.readouterr().err


def test_a_time_range_is_half_open(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    for n in range(4):
        office.write(office.alice, "update" if n else "create", "t1", key=str(n), data={"title": str(n)})
    times = [entry["at"] for entry in reversed(shown(capsys, "row", "tasks", "t1"))]
    for sealed in (False, True):
        for subject in (("row", "tasks", "t1"), ("person", "alice")):
            found = shown(capsys, *subject, "--since", times[1], "--until", times[3])
            assert [entry["commitKey"] for entry in found] == ["2", "1"]
        if not sealed:
            office.seal()
    assert shown(capsys, "row", "tasks", "t1", "--until", "2020-01-01") == []


def test_the_place_in_the_number_line_is_shown_once_it_is_known(
    office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    with office.database.connect(autocommit=False) as connection:  # what a listener stores of these two
        connection.execute("INSERT INTO tasks (organization_id, id) VALUES ('acme', 'direct')")
        row = connection.execute("SELECT pg_current_xact_id()::text").fetchone()
        connection.commit()
    assert row is not None
    office.write(office.alice, "create", "t1")
    (entry,) = shown(capsys, "row", "tasks", "t1")
    assert entry["syncId"] is None
    positions = [[row[0], 1, 2, []], [entry["commitId"].partition("-")[0], 3, 5, [5]]]
    with office.database.connect(names.LISTENER) as listener:
        listener.execute("SELECT pgsync.store_checkpoint_v1('0/1', 5, NULL, 1, %s)", [json.dumps(positions)])
    assert [e["syncId"] for e in shown(capsys, "row", "tasks", "t1")] == [5]
    assert [e["syncId"] for e in shown(capsys, "row", "tasks", "direct")] == [2]


# ---------------------------------------------------------------------- forms


def test_a_spreadsheet_runs_nothing_of_what_somebody_has_written(
    office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = '=HYPERLINK("http://evil","x"),\n'
    office.write(office.alice, "create", "-2+3", key=hostile)
    office.write(office.alice, "update", "-2+3", key="@x", data={"title": "+1"})
    capsys.readouterr()
    assert exit_code("audit", "row", "tasks", "--format", "csv", "--", "-2+3") == 0
    said = capsys.readouterr().out
    heading, *rows = csv.reader(io.StringIO(said))
    assert heading == ["at", *map(_camel, COLUMNS[1:])]
    found = [dict(zip(heading, row, strict=True)) for row in rows]
    assert [row["commitKey"] for row in found] == ["'@x", "'" + hostile]
    assert [row["id"] for row in found] == ["'-2+3"] * 2
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row)
    assert exit_code("audit", "row", "tasks", "none", "--format", "csv") == 0
    assert capsys.readouterr().out.splitlines() == [",".join(heading)]


def test_a_terminal_gets_no_control_characters(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    office.write(office.alice, "create", "t1", key="\x1b]0;owned\x07\n\u202e")
    capsys.readouterr()
    assert exit_code("audit", "row", "tasks", "t1") == 0
    said = capsys.readouterr().out
    assert "\\x1b]0;owned\\x07" in said
    assert all(c.isprintable() or c == "\n" for c in said)
    assert len(said.splitlines()) == 2


def test_no_value_of_a_row_is_ever_shown(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    office.write(office.alice, "create", "t1", data={"title": "private matter"})
    office.seal()
    for form in ("table", "json", "csv"):
        assert exit_code("audit", "row", "tasks", "t1", "--format", form) == 0
    assert exit_code("audit", "verify", "--json") == 0
    assert "private matter" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["row", "tasks"],
        ["row", "tasks", "t1", "--since", "yesterday"],
        ["row", "tasks", "t1", "--after", "1.2.3"],
        ["row", "tasks", "t1", "--after", "99999999999999999999999.0.1"],
        ["row", "tasks", "t1", "--limit", "0"],
        ["row", "tasks", "t1", "--format", "xml"],
        ["verify", "--expect", "abc"],
    ],
)
def test_a_wrong_command_line_is_refused(arguments: list[str]) -> None:
    assert exit_code("audit", *arguments) == EXIT_USAGE


# ---------------------------------------------------------------------- the chain


def test_verify_says_what_it_found_and_exits_with_it(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    busy_day(office)
    assert exit_code("audit", "head") == 0
    kept = capsys.readouterr().out.splitlines()[-1]
    office.seal()
    capsys.readouterr()
    assert exit_code("audit", "verify", "--expect", kept) == 0
    said = capsys.readouterr().out
    assert "as it was sealed: 12 rows in" in said
    assert "expected: the hash is that of seal 2" in said
    assert "not sealed yet: 0 rows" in said
    assert exit_code("audit", "verify", "--expect", "00" * 32) == EXIT_BROKEN
    assert "no seal has the hash that was expected" in capsys.readouterr().out
    office.database.execute("UPDATE pgsync_private.change SET actor_id = 'alice' WHERE actor_id = 'bob'")
    assert exit_code("audit", "verify") == EXIT_BROKEN
    assert "was changed: create of task t2" in capsys.readouterr().out
    assert exit_code("audit", "verify", "--json") == EXIT_BROKEN
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False
    assert (told["broken"]["what"], told["broken"]["kind"], told["broken"]["named"]) == (
        "changed",
        "change",
        "create of task t2",
    )


async def test_a_gateway_seals_by_itself(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    office.write(office.alice, "create", "t1")
    count = "SELECT max(number) FROM pgsync_private.audit_seal WHERE row_count > 0"

    async with running(office.database, office.database.name, seal_seconds=0.01):
        await until(lambda: office.database.execute(count) != [(None,)], "a seal")
    assert exit_code("audit", "verify") == 0
    assert "2 rows" in capsys.readouterr().out


def test_nothing_sealed_has_no_head(office: Office) -> None:
    office.database.execute("TRUNCATE pgsync_private.audit_seal")
    assert exit_code("audit", "head") == EXIT_REFUSED
    assert exit_code("audit", "verify") == 0


# ---------------------------------------------------------------------- rights, cost


def test_an_auditor_reads_and_verifies_and_can_do_nothing_else(
    office: Office, server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    busy_day(office)
    everything = shown(capsys, "person", "alice")
    role = f"auditor_{office.database.name}"
    assert exit_code("audit", "auditor", role) == 0
    grants = capsys.readouterr().out
    office.database.execute(f"CREATE ROLE {role} LOGIN")
    try:
        office.database.execute(grants)
        monkeypatch.setenv("DATABASE_URL", office.database.dsn_as(role))
        assert shown(capsys, "person", "alice") == everything
        assert shown(capsys, "row", "tasks", "t1")
        assert shown(capsys, "key", office.agent["capabilityId"])
        assert exit_code("audit", "verify") == 0
        assert exit_code("audit", "head") == 0
        assert exit_code("audit", "seal") == EXIT_REFUSED
        with office.database.connect(role) as connection:
            for statement in (
                "SELECT FROM tasks",
                "SELECT key_hash FROM pgsync_private.credential",
                "SELECT result FROM pgsync_private.commit",
                "SELECT FROM pgsync_private.setting WHERE value > ''",
                "SELECT pgsync.seal_v1()",
                "DELETE FROM pgsync_private.audit_seal",
                "UPDATE pgsync_private.change SET role_name = ''",
                "INSERT INTO pgsync_private.audit_block SELECT * FROM pgsync_private.audit_block",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(statement.encode())
    finally:
        office.database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_what_a_row_and_a_key_cost_does_not_grow_with_the_log(office: Office) -> None:
    busy_day(office)
    # Others' work: before, and most of the key's own that is not asked for.
    office.database.execute(
        "INSERT INTO pgsync_private.change (organization_id, model, row_id, op, role_name)"
        f" SELECT 'acme', 'task', 'x' || n, 'U', 'app' FROM generate_series(1, {FILL}) AS n;"
        "INSERT INTO pgsync_private.claim_event (event, organization_id, claim_id, model, model_key, row_id, status,"
        " participant_kind, participant_id, capability_id, description, expires_at)"
        " SELECT 'granted', 'acme', 'c' || n, 'task', 'tasks', 'x' || n, 'active', 'user', 'u' || n, 'k' || n, '',"
        " now()"
        f" FROM generate_series(1, {FILL}) AS n;"
        "INSERT INTO pgsync_private.audit_act (xid, ordinal, actor, key, at)"
        f" SELECT '5', n, 0, '', now() FROM generate_series(1, {FILL}) AS n"
    )
    office.seal()
    office.database.execute("ANALYZE pgsync_private.change, pgsync_private.claim_event, pgsync_private.audit_act")
    common = {
        "organization": None,
        "since": "-infinity",
        "until": "infinity",
        "cursor_xid": str(2**64 - 1),
        "cursor_rank": 1,
        "cursor_seq": 2**63 - 1,
        "limit": 100,
    }
    for path, subject in (
        ("audit/row.sql", {"model": "task", "id": "t1"}),
        ("audit/actor.sql", {"keys": [office.agent["capabilityId"]], "kind": None, "id": None}),
    ):
        query = sqlfiles.render("audit/described.sql", entries=path)
        with office.database.connect() as connection:
            connection.execute("SET enable_seqscan = off")
            plan = connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}".encode(), common | subject).fetchone()
        assert plan is not None
        nodes = [*_nodes(plan[0][0]["Plan"])]
        whole = {node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"}
        assert whole <= {"model_rename"}, path  # a row for each rename that there ever was
        looked_at = [
            (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
            for node in nodes
            if "Relation Name" in node
        ]
        assert sum(looked_at) < 300, path


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)
