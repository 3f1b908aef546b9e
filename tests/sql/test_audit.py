"""The chain of seals: nothing committed is left out, nothing sealed changes unseen, and no writer is held up by it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg
import pytest

from pgsync import names, sqlfiles
from pgsync.audit.chain import ENTRY_BYTES, Broken, Verdict, verify, verify_here
from pgsync.push import push
from pgsync.schema import Model, Schema
from tests.postgres import Database, Server
from tests.sql.conftest import WAIT_SECONDS, Caller, World, new_key, ok
from tests.sql.test_maintain import maintain, make_partition, partitions, today

ROUNDS: Final = 40  # of each writer that races sealers; more with --race-rounds


class Project(Model):
    name: str | None = None


class Rate(Model, tenant=None):
    name: str | None = None


@pytest.fixture(scope="module")
def template(server: Server) -> Iterator[Database]:
    created = server.create_database()
    push(created.dsn, Schema(Project, Rate))
    yield created
    created.drop()


@pytest.fixture
def world(server: Server, template: Database) -> Iterator[World]:
    made = World(server.create_database(template=template.name))
    try:
        yield made
    finally:
        made.close()
        made.database.drop()


def seal(world: World, limit: int = 20000) -> list[dict[str, Any]]:
    """Seals all that is committed; the new seals."""
    made = []
    with world.database.connect(names.LISTENER) as listener:
        while (answer := listener.execute("SELECT pgsync.seal_v1(%s, true)", [limit]).fetchone()) and answer[0]:
            made.append(answer[0])
    return made


def verdict(world: World, expect: str | None = None) -> Verdict:
    with world.database.connect() as connection:
        return verify(connection, expect=None if expect is None else bytes.fromhex(expect))


def broken(world: World) -> Broken:
    found = verdict(world).broken
    assert found is not None, "nobody noticed"
    return found


def claim(caller: Caller, row_id: str) -> None:
    request = json.dumps({"model": "projects", "id": row_id})
    row = caller.connection.execute("SELECT pgsync.acquire_claim_v1(%s, %s)", [caller.identity, request]).fetchone()
    assert row is not None
    assert row[0]["outcome"] == "answered", row


def history(world: World) -> Caller:
    """Five commits, a direct write and a claim, in two seals."""
    ada = world.caller()
    for n in range(3):
        ok(ada.create("projects", f"p{n}", {"name": "x"}))
    world.sql("UPDATE projects SET name = 'direct' WHERE id = 'p0'")
    seal(world)
    ok(ada.update("projects", "p1", {"name": "y"}))
    claim(ada, "p1")
    ok(ada.delete("projects", "p2"))
    seal(world)
    return ada


def entries(world: World) -> list[tuple[str, bytes]]:
    """Kind and key of every row that is sealed."""
    found = world.sql("SELECT kind, entries FROM pgsync_private.audit_block")
    return [(kind, data[at : at + 16]) for kind, data in found for at in range(0, len(data), ENTRY_BYTES)]


def recorded(world: World) -> int:
    """How many audit rows there are."""
    tables = ("change", "audit_act", "claim_event")
    return sum(world.sql(f"SELECT count(*) FROM pgsync_private.{table}")[0] for table in tables)


# ---------------------------------------------------------------------- what is sealed


def test_what_happened_is_sealed_with_who_did_it_and_verifies(world: World) -> None:
    history(world)
    found = verdict(world)
    assert found.broken is None
    assert (found.rows, found.unsealed, found.pruned) == (6 + 5 + 1, 0, 0)
    assert len(entries(world)) == found.rows == recorded(world)
    assert world.sql(
        "SELECT DISTINCT r.participant_id, r.capability_id, a.route FROM pgsync_private.audit_act AS a"
        " JOIN pgsync_private.audit_actor AS r ON r.id = a.actor"
    ) == [("ada", "cap_1", "models")]


def test_nothing_new_makes_no_seal(world: World) -> None:
    history(world)
    before = verdict(world).seals
    assert seal(world) == []
    assert verdict(world).seals == before


def test_what_was_rolled_back_is_not_there(world: World) -> None:
    history(world)
    with world.database.connect(autocommit=False) as writer:
        writer.execute("UPDATE projects SET name = 'no'")
        writer.rollback()
    assert seal(world) == []
    assert verdict(world).broken is None


def test_a_transaction_that_commits_after_a_seal_is_in_the_next(world: World) -> None:
    ada = world.caller()
    ok(ada.create("projects", "p0", {"name": "x"}))
    with world.database.connect(autocommit=False) as late, world.database.connect(autocommit=False) as later:
        late.execute("INSERT INTO projects (organization_id, id) VALUES ('acme', 'late')")
        later.execute("INSERT INTO projects (organization_id, id) VALUES ('acme', 'later')")
        for n in range(1, 4):
            ok(ada.create("projects", f"p{n}", {"name": "x"}))
            assert [made["rows"] for made in seal(world)] == [4 if n == 1 else 2]
        late.commit()
        assert [made["rows"] for made in seal(world)] == [1]
        later.commit()
    assert [made["rows"] for made in seal(world)] == [1]
    assert verdict(world).broken is None
    assert len(entries(world)) == recorded(world) == 10


def test_a_transaction_that_seals_and_goes_on_writing_is_sealed_later_and_whole(world: World) -> None:
    history(world)
    with world.database.connect(autocommit=False) as writer:
        writer.execute("UPDATE projects SET name = 'before'")
        writer.execute("SELECT pgsync.seal_v1()")
        writer.execute("UPDATE projects SET name = 'after'")
        writer.commit()
    assert [made["rows"] for made in seal(world)] == [4]
    assert verdict(world).broken is None


def test_seals_are_bounded_and_cut_no_transaction(world: World) -> None:
    ada = world.caller()
    for n in range(10):
        operations = [{"action": "create", "model": "projects", "id": f"{n}-{m}", "data": {}} for m in range(3)]
        ok(ada.commit(*operations))
    made = seal(world, 4)
    assert sum(each["rows"] for each in made) == recorded(world) == 40
    assert {each["rows"] % 4 for each in made} == {0}, "three changes and their commit"
    assert max(each["rows"] for each in made) <= 8
    assert verdict(world).broken is None


def test_a_transaction_larger_than_a_seal_is_sealed_and_what_follows_it_too(world: World) -> None:
    ada = world.caller()
    ok(ada.create("projects", "before", {}))
    for name in "ab":
        ok(ada.commit(*({"action": "create", "model": "projects", "id": f"{name}{m}", "data": {}} for m in range(9))))
    with world.database.connect(names.LISTENER) as listener:
        answers = [listener.execute("SELECT pgsync.seal_v1(5)").fetchone() for _ in range(4)]
    assert [answer and answer[0] and answer[0]["rows"] for answer in answers] == [2, 10, 10, None]
    assert [answer[0]["more"] for answer in answers[:2] if answer] == [True, True]
    assert verdict(world).broken is None


def test_a_transaction_larger_than_a_part_verifies_and_names_its_row(world: World) -> None:
    world.sql("INSERT INTO projects (organization_id, id) SELECT 'acme', n::text FROM generate_series(1, 20000) AS n")
    assert [made["rows"] for made in seal(world)] == [20000]
    assert verdict(world).broken is None
    world.sql("DELETE FROM pgsync_private.change WHERE row_id = '19000'")
    found = broken(world)
    assert (found.what, found.kind, found.position) == ("deleted", "change", 19000)


def test_commits_keep_their_key_when_the_ledger_has_forgotten_them(world: World) -> None:
    ada = world.caller()
    ok(ada.create("projects", "p1", {"name": "x"}, key="mine"))
    ok(ada.create("rates", "r1", {"name": "x"}, key="shared"))  # its change does not say whose it was
    ok(ada.create("projects", "p2", {"name": "x"}, key="waited"))
    world.sql("UPDATE pgsync_private.commit SET created_at = created_at - interval '2 hours' WHERE key = 'waited'")
    seal(world)
    assert sorted(world.sql("SELECT key FROM pgsync_private.audit_act")) == ["mine", "shared", "waited"]
    world.sql("TRUNCATE pgsync_private.commit")
    assert verdict(world).broken is None


def test_a_commit_is_known_by_its_organization_whatever_a_trigger_of_the_application_wrote_elsewhere(
    world: World,
) -> None:
    world.sql(
        "CREATE FUNCTION echo() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN"
        " INSERT INTO public.projects (organization_id, id) VALUES ('zoo', NEW.id); RETURN NULL; END $$;"
        "CREATE TRIGGER echo AFTER INSERT ON projects FOR EACH ROW WHEN (NEW.organization_id <> 'zoo')"
        " EXECUTE FUNCTION echo()"
    )
    ok(world.caller().create("projects", "p", {}, key="mine"))
    assert [made["rows"] for made in seal(world)] == [3]
    assert world.sql("SELECT key FROM pgsync_private.audit_act") == ["mine"]
    assert verdict(world).broken is None


# ---------------------------------------------------------------------- races, crashes


def test_commits_that_race_sealers_are_each_sealed_once(world: World, request: pytest.FixtureRequest) -> None:
    rounds = request.config.getoption("--race-rounds") or ROUNDS
    history(world)
    done = threading.Event()

    def commit(name: str) -> Callable[[], None]:
        caller = world.caller("acme", name)

        def run() -> None:
            for n in range(rounds):
                ok(caller.create("projects", f"{name}{n}", {"name": "x"}))
                claim(caller, f"{name}{n}")

        return run

    def write_directly() -> None:
        with world.database.connect(autocommit=False) as writer:
            for n in range(rounds):
                writer.execute("UPDATE projects SET name = %s WHERE id = 'p0'", [str(n)])
                writer.execute("SAVEPOINT s")
                writer.execute("UPDATE projects SET name = %s WHERE id = 'p1'", [str(n)])
                if n % 3 == 0:
                    writer.execute("ROLLBACK TO s")
                if n % 5 == 4:
                    writer.rollback()
                else:
                    writer.commit()

    def keep_sealing() -> None:
        with world.database.connect(names.LISTENER) as listener:
            while not done.is_set():
                listener.execute("SELECT pgsync.seal_v1(7)")

    def keep_verifying() -> None:
        while not done.is_set():
            assert verdict(world).broken is None

    long = world.connect(autocommit=False)
    long.execute("INSERT INTO projects (organization_id, id) VALUES ('acme', 'long')")
    with ThreadPoolExecutor(6) as pool:
        others = [pool.submit(run) for run in (keep_sealing, keep_sealing, keep_verifying)]
        try:
            for writer in [pool.submit(run) for run in (commit("a"), commit("b"), write_directly)]:
                writer.result()
            long.commit()
        finally:
            done.set()
        for other in others:
            other.result()
    seal(world)
    found = entries(world)
    assert len(found) == len(set(found)) == recorded(world)
    assert verdict(world).broken is None
    assert world.sql("SELECT max(number) > 5 FROM pgsync_private.audit_seal") == [True]


def test_a_sealer_that_dies_leaves_nothing_behind(world: World) -> None:
    history(world)
    ok(world.caller().create("projects", "q", {"name": "x"}))
    dying = world.database.connect(names.LISTENER, autocommit=False)
    row = dying.execute("SELECT pg_backend_pid(), pgsync.seal_v1()").fetchone()
    assert row is not None
    assert row[1]["rows"] == 2
    world.sql("SELECT pg_terminate_backend(%s, 10000)", row[0])
    dying.close()
    assert [(made["number"], made["rows"]) for made in seal(world)] == [(row[1]["number"], 2)]
    assert verdict(world).broken is None


def test_of_two_sealers_one_gives_way_or_waits_and_the_chain_has_no_fork(world: World) -> None:
    ok(world.caller().create("projects", "q", {"name": "x"}))
    answered: list[Any] = []

    def wait() -> None:
        answered.extend(seal(world))

    with world.database.connect(names.LISTENER, autocommit=False) as first:
        first.execute("SELECT pgsync.seal_v1()")
        ok(world.caller().create("projects", "r", {"name": "x"}))  # a commit waits for no sealer
        with world.database.connect(names.LISTENER) as second:
            assert second.execute("SELECT pgsync.seal_v1()").fetchone() == (None,)
        thread = threading.Thread(target=wait)
        thread.start()
        first.commit()
        thread.join(WAIT_SECONDS)
    assert [made["rows"] for made in answered] == [2]
    assert verdict(world).broken is None


def test_sealing_refuses_a_transaction_that_would_not_see_the_newest_seal(world: World) -> None:
    with world.database.connect(names.LISTENER) as listener, listener.transaction():
        listener.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        with pytest.raises(psycopg.Error) as refused:
            listener.execute("SELECT pgsync.seal_v1()")
        assert refused.value.sqlstate == "PS101"


# ---------------------------------------------------------------------- what was tampered with

TAMPERED: Final = {
    "field changed": (
        "UPDATE pgsync_private.change SET fields = '{other}' WHERE row_id = 'p1' AND op = 'U'",
        ("changed", "change"),
    ),
    "author changed": ("UPDATE pgsync_private.change SET actor_id = 'eve' WHERE row_id = 'p0'", ("changed", "change")),
    "time changed": (
        "UPDATE pgsync_private.change SET changed_at = changed_at - interval '2 days' WHERE row_id = 'p1' AND op = 'U'",
        ("changed", "change"),
    ),
    "change deleted": ("DELETE FROM pgsync_private.change WHERE row_id = 'p2' AND op = 'D'", ("deleted", "change")),
    "change inserted": (
        "INSERT INTO pgsync_private.change (xid, organization_id, model, row_id, op, role_name)"
        " SELECT xid, 'acme', 'project', 'p9', 'D', 'app' FROM pgsync_private.change WHERE row_id = 'p0' AND op = 'I'",
        ("inserted", "change"),
    ),
    "changes exchanged": (
        "WITH two AS (DELETE FROM pgsync_private.change WHERE op = 'I' AND row_id IN ('p0', 'p1') RETURNING *),"
        " crossed AS (SELECT a.xid AS new_xid, a.seq AS new_seq, b.* FROM two AS a JOIN two AS b ON a.seq <> b.seq)"
        " INSERT INTO pgsync_private.change (xid, seq, organization_id, model, row_id, op, fields, sync_groups,"
        " server_tx_id, actor_kind, actor_id, role_name, changed_at) OVERRIDING SYSTEM VALUE"
        " SELECT new_xid, new_seq, organization_id, model, row_id, op, fields, sync_groups,"
        " server_tx_id, actor_kind, actor_id, role_name, changed_at FROM crossed",
        ("reordered", "change"),
    ),
    "change moved": (
        "UPDATE pgsync_private.change SET xid = (SELECT c.xid FROM pgsync_private.change AS c"
        " WHERE c.row_id = 'p1' AND c.op = 'I') WHERE row_id = 'p0' AND op = 'I'",
        ("reordered", "change"),
    ),
    "key changed": ("UPDATE pgsync_private.audit_act SET key = 'other'", ("changed", "act")),
    "commit taken from the trail": ("DELETE FROM pgsync_private.audit_act", ("deleted", "act")),
    "somebody else made the actor": (
        "UPDATE pgsync_private.audit_actor SET participant_id = 'eve'",
        ("changed", "act"),
    ),
    "actor deleted": ("DELETE FROM pgsync_private.audit_actor", ("changed", "act")),
    "claim changed": ("UPDATE pgsync_private.claim_event SET participant_id = 'eve'", ("changed", "claim")),
    "claim deleted": ("DELETE FROM pgsync_private.claim_event", ("deleted", "claim")),
    "everything emptied": ("TRUNCATE pgsync_private.change", ("deleted", "change")),
    "list changed": (
        "UPDATE pgsync_private.audit_block SET entries = entries || sha256('')::bytea || 'x' WHERE kind = 'change'",
        ("changed", "block"),
    ),
    "list deleted": ("DELETE FROM pgsync_private.audit_block WHERE kind = 'act'", ("missing", "block")),
    "first seal removed": ("DELETE FROM pgsync_private.audit_seal WHERE number = 1", ("missing", "seal")),
    "seal in the middle removed": ("DELETE FROM pgsync_private.audit_seal WHERE number = 2", ("missing", "seal")),
    "last seal removed": ("DELETE FROM pgsync_private.audit_seal WHERE number = 3", ("missing", "seal")),
    "seal changed": (
        "UPDATE pgsync_private.audit_seal SET row_count = row_count + 1 WHERE number = 2",
        ("changed", "seal"),
    ),
    "days let go that are kept": (
        "UPDATE pgsync_private.audit_seal SET kept_from = kept_from + 30 WHERE number = 3",
        ("changed", "seal"),
    ),
    "seal garbled": ("UPDATE pgsync_private.audit_seal SET contents = 'x' WHERE number = 2", ("changed", "seal")),
    "all seals removed": ("TRUNCATE pgsync_private.audit_seal", ("missing", "seal")),
}


@pytest.fixture(scope="module")
def sealed(server: Server, template: Database) -> Iterator[Database]:
    """A database with `history`, for tests that undo what they do to it."""
    made = World(server.create_database(template=template.name))
    history(made)
    made.close()
    yield made.database
    made.database.drop()


@pytest.mark.parametrize("how", TAMPERED)
def test_tampering_is_seen_and_what_it_was_is_named(sealed: Database, how: str) -> None:
    statement, (what, kind) = TAMPERED[how]
    with sealed.connect() as connection:
        assert verify(connection).broken is None
    with sealed.connect() as connection:
        # Verified inside the transaction that is rolled back: a second one could not see it.
        connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
        connection.execute(statement.encode())
        found = verify_here(connection).broken
        connection.execute("ROLLBACK")
    assert found is not None, "nobody noticed"
    assert (found.what, found.kind) == (what, kind)
    if kind in ("act", "change", "claim"):
        assert found.position is not None
        assert found.xid is not None


@pytest.mark.parametrize("contents", ["x", "act 2026-13-01 0 1 00", "act 2026-01-01 0 1 00\x0b", ""])
def test_a_seal_of_nonsense_with_a_hash_that_fits_is_not_believed(sealed: Database, contents: str) -> None:
    with sealed.connect() as connection:
        connection.execute("BEGIN")
        connection.execute("UPDATE pgsync_private.audit_seal SET contents = %s WHERE number = 3", [contents])
        connection.execute(
            "UPDATE pgsync_private.audit_seal AS s SET hash = sha256(convert_to(pgsync_private.seal_text(s), 'UTF8'))"
            " WHERE number = 3"
        )
        found = verify_here(connection).broken
        connection.execute("ROLLBACK")
    assert found is not None, "nobody noticed"
    assert (found.what, found.kind, found.seal) == ("changed", "seal", 3)


def test_the_first_broken_row_is_named_with_its_place(world: World) -> None:
    history(world)
    world.sql("UPDATE pgsync_private.change SET role_name = 'eve' WHERE op = 'D'")
    world.sql("DELETE FROM pgsync_private.change WHERE row_id = 'p1' AND op = 'I'")
    found = broken(world)
    xid, seq = world.sql("SELECT xid::text, ordinal FROM pgsync_private.audit_act ORDER BY xid OFFSET 1 LIMIT 1")[0]
    assert (found.what, found.kind, found.seal, found.xid) == ("deleted", "change", 2, int(xid))
    assert found.position == 3 + 2, "three acts, then the second change"
    assert seq == 0
    assert "row 5 (change, transaction" in str(found)


def test_a_row_with_the_transaction_of_a_sealed_one_is_found_wherever_its_day_is(world: World) -> None:
    history(world)
    world.sql(
        "INSERT INTO pgsync_private.change (xid, organization_id, model, row_id, op, role_name)"
        " VALUES ('4', 'acme', 'project', 'p9', 'D', 'app')"
    )
    found = broken(world)
    assert (found.what, found.kind, found.xid) == ("inserted", "change", 4)


def test_a_tail_that_was_cut_off_without_a_trace_is_seen_by_a_hash_kept_elsewhere(world: World) -> None:
    ada = history(world)
    kept = verdict(world).head
    assert kept is not None
    ok(ada.create("projects", "later", {}))
    seal(world)
    found = verdict(world, kept.hash.hex())
    assert (found.broken, found.expected) == (None, kept.number)
    # Whoever may write everything takes the last two seals back, and all that they stand for.
    for table in ("audit_block WHERE seal > 2", "audit_seal WHERE number > 2"):
        world.sql(f"DELETE FROM pgsync_private.{table}")
    for table in ("change", "audit_act", "claim_event"):
        world.sql(
            f"DELETE FROM pgsync_private.{table} AS t WHERE NOT pg_visible_in_snapshot(t.xid,"
            " (SELECT snapshot FROM pgsync_private.audit_seal WHERE number = 2))"
        )
    seal(world)
    assert verdict(world).broken is None, "the chain alone cannot know"
    lost = verdict(world, kept.hash.hex()).broken
    assert lost is not None
    assert lost.kind == "head"
    assert "expected" in str(lost)


def test_nobody_but_the_owner_writes_the_chain(world: World) -> None:
    history(world)
    for role in (names.GATEWAY, names.LISTENER, names.WRITER):
        for table in ("audit_seal", "audit_block", "audit_act", "audit_actor"):
            held = "SELECT has_table_privilege(%s, %s, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')"
            assert world.sql(held, role, f"pgsync_private.{table}") == [False]
    with pytest.raises(psycopg.errors.InsufficientPrivilege), world.database.connect(names.GATEWAY) as gateway:
        gateway.execute("SELECT pgsync.seal_v1()")


def test_a_seals_hash_can_be_counted_with_a_shell(world: World) -> None:
    history(world)
    made = world.sql(
        "SELECT encode(sha256(convert_to(concat_ws(E'\\n', 'pgsync seal 1', number, encode(previous_hash, 'hex'),"
        " snapshot, to_char(kept_from, 'YYYY-MM-DD'), first_position, row_count,"
        """ to_char(sealed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), contents), 'UTF8')), 'hex')"""
        " = encode(hash, 'hex') FROM pgsync_private.audit_seal"
    )
    assert made == [True] * 3


def test_settings_of_a_session_do_not_change_what_is_sealed(world: World) -> None:
    history(world)
    for n, setting in enumerate(("TimeZone = 'Asia/Kolkata'", "DateStyle = 'German, DMY'", "bytea_output = 'escape'")):
        ok(world.caller().create("projects", f"q{n}", {}))
        with world.database.connect() as connection:
            connection.execute(f"SET {setting}".encode())
            assert connection.execute("SELECT pgsync.seal_v1() -> 'rows'").fetchone() == (2,)
            assert verify(connection).broken is None
        assert verdict(world).broken is None


# ---------------------------------------------------------------------- retention


def age(world: World, days: int) -> None:
    """Everything that is not sealed yet happened so many days ago."""
    for table, column in (("change", "changed_at"), ("claim_event", "at"), ("commit", "created_at")):
        world.sql(
            f"UPDATE pgsync_private.{table} SET {column} = {column} - interval '{days} days'"
            + (f", day_of_three = (day_of_three + {2 * days}) % 3" if table == "commit" else "")
        )


def old_history(world: World) -> None:
    """`history` of nine days ago, in partitions of that day, and today's."""
    for table in ("change", "claim_event", "audit_act", "audit_block"):
        make_partition(world, table, today() - timedelta(days=9))
    ada = world.caller()
    ok(ada.create("projects", "old", {"name": "x"}))
    claim(ada, "old")
    age(world, 9)
    seal(world)
    ok(ada.create("projects", "new", {"name": "x"}))
    seal(world)


def test_pruned_rows_keep_their_seal_and_are_not_called_broken(world: World) -> None:
    old_history(world)
    assert verdict(world).pruned == 3
    before = verdict(world).seals
    maintain(world)
    for table in ("change", "claim_event", "audit_act", "audit_block"):
        assert f"{table}_{today() - timedelta(days=9):%Y%m%d}" not in partitions(world, table)
    assert recorded(world) == 2
    found = verdict(world)
    assert (found.broken, found.seals, found.pruned, found.rows) == (None, before, 3, 5)
    world.sql("DELETE FROM pgsync_private.change")
    assert broken(world).what == "deleted"


def test_rows_of_days_without_a_partition_are_pruned_likewise(world: World) -> None:
    ada = world.caller()
    ok(ada.create("projects", "old", {"name": "x"}))
    claim(ada, "old")
    age(world, 9)
    ok(ada.create("projects", "new", {"name": "x"}))
    seal(world)  # one seal over both days
    maintain(world)
    assert recorded(world) == 2
    assert verdict(world).broken is None
    assert verdict(world).pruned == 3
    world.sql("DELETE FROM pgsync_private.change")
    assert broken(world).what == "deleted"


def test_retention_that_is_shortened_is_said_by_a_seal_before_anything_goes(world: World) -> None:
    make_partition(world, "change", today() - timedelta(days=3))
    ok(world.caller().create("projects", "old", {"name": "x"}))
    age(world, 3)
    seal(world)
    kept = verdict(world).kept_from
    world.sql("UPDATE pgsync_private.setting SET value = '1' WHERE name = 'change_retention_days'")
    maintain(world)
    found = verdict(world)
    assert found.broken is None
    assert found.kept_from == today() - timedelta(days=1) != kept
    assert recorded(world) == 0


def test_what_is_not_sealed_is_not_pruned(world: World) -> None:
    old = make_partition(world, "change", today() - timedelta(days=9))
    ok(world.caller().create("projects", "old", {"name": "x"}))
    age(world, 9)
    with world.database.connect(names.LISTENER, autocommit=False) as sealing:
        sealing.execute("SELECT pg_advisory_xact_lock(hashtextextended('pgsync seal', 0))")
        maintain(world)
    assert old in partitions(world, "change")
    assert world.sql("SELECT row_id FROM pgsync_private.change") == ["old"]
    maintain(world)
    assert old not in partitions(world, "change")
    assert verdict(world).broken is None
    assert world.sql("SELECT row_count > 0 FROM pgsync_private.audit_seal ORDER BY number DESC LIMIT 1") == [True]


def test_a_transaction_that_outlives_its_day_is_sealed_before_its_day_goes(world: World) -> None:
    old = make_partition(world, "change", today() - timedelta(days=9))
    with world.database.connect(autocommit=False) as late:
        late.execute("INSERT INTO projects (organization_id, id) VALUES ('acme', 'late')")
        late.execute("UPDATE pgsync_private.change SET changed_at = changed_at - interval '9 days'")
        maintain(world)
        assert old in partitions(world, "change")
        late.commit()
    maintain(world)
    assert old not in partitions(world, "change")
    found = verdict(world)
    assert (found.broken, found.rows, found.pruned) == (None, 1, 1)


@pytest.mark.skipif(
    not "00:12" < f"{datetime.now(UTC):%H:%M}" < "23:48", reason="the ledger is left alone around midnight"
)
def test_the_ledger_is_kept_until_its_commits_are_sealed(world: World) -> None:
    ok(world.caller().create("projects", "old", {"name": "x"}, key="old"))
    age(world, 2)
    with world.database.connect(names.LISTENER, autocommit=False) as sealing:
        sealing.execute("SELECT pg_advisory_xact_lock(hashtextextended('pgsync seal', 0))")
        maintain(world)
    assert world.sql("SELECT key FROM pgsync_private.commit") == ["old"]
    maintain(world)
    assert world.sql("SELECT key FROM pgsync_private.commit") == []
    assert world.sql("SELECT key FROM pgsync_private.audit_act") == ["old"]


def test_a_database_restored_from_a_dump_is_maintained_and_says_that_its_chain_cannot_go_on(world: World) -> None:
    history(world)
    world.sql("UPDATE pgsync_private.audit_seal SET snapshot = '99999999:99999999:' WHERE number = 3")
    with pytest.raises(psycopg.Error) as refused:
        seal(world)
    assert refused.value.sqlstate == "PS901"
    maintain(world)
    assert world.sql(sqlfiles.read("checks/audit.sql"))[0][0] == "error"


def test_the_check_of_doctor_speaks_up_when_nothing_seals(world: World) -> None:
    ok(world.caller().create("projects", "p", {}))
    assert world.sql(sqlfiles.read("checks/audit.sql")) == []
    world.sql("UPDATE pgsync_private.change SET changed_at = changed_at - interval '2 hours'")
    assert world.sql(sqlfiles.read("checks/audit.sql"))[0][0] == "warning"
    seal(world)
    assert world.sql(sqlfiles.read("checks/audit.sql")) == []


def test_no_statement_of_a_commit_touches_the_trail(world: World) -> None:
    ada = world.caller()
    ok(ada.create("projects", "p", {}))
    locked = (
        "SELECT c.relname::text FROM pg_locks AS l JOIN pg_class AS c ON c.oid = l.relation"
        " WHERE l.pid = pg_backend_pid() AND c.relname LIKE 'audit%'"
    )
    request = json.dumps({"operations": [{"action": "update", "model": "projects", "id": "p", "data": {"name": "y"}}]})
    with world.database.connect(autocommit=False) as writer:
        writer.execute("SELECT pgsync.commit_v1(%s, %s, %s)", [ada.identity, new_key(), request])
        assert writer.execute(locked).fetchall() == []
