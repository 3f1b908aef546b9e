"""No statement of a commit reads a private table whole: its cost does not grow with change log, ledger or claims."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Final

from tests.sql.conftest import WAIT_SECONDS, Caller, World, new_key, ok

LOGS: Final = ("change", "commit", "claim", "claim_fence", "position", "tracked_premise", "credential")
ROUNDS: Final = 20
FILLER: Final = Path(__file__).parent / "fill_logs.sql"


def scans(world: World) -> dict[str, tuple[int, int]]:
    """Sequential and index scans so far of each table, its partitions taken together, as the server counts them."""
    rows = world.sql(
        "SELECT regexp_replace(relname, '_(default|[0-9]+)$', ''),"
        " sum(seq_scan)::bigint, sum(COALESCE(idx_scan, 0))::bigint"
        " FROM pg_stat_user_tables WHERE schemaname IN ('pgsync_private', 'public') GROUP BY 1"
    )
    return {name: (sequential, by_index) for name, sequential, by_index in rows}


def test_every_lookup_of_a_commit_is_by_index(tasks: World) -> None:
    ada, bob = tasks.caller("acme", "ada"), tasks.caller("acme", "bob")
    for n in range(5):
        ok(ada.create("tasks", f"t{n}", {"title": "x"}))
    # what a planner knows of empty tables must not make it read them whole once they are full
    tasks.sql("VACUUM ANALYZE pgsync_private.change, pgsync_private.commit, pgsync_private.claim")
    proof = {"7": {"snapshot": tasks.sql("SELECT pg_catalog.pg_current_snapshot()::text")[0], "seen": []}}
    before = scans(tasks)
    for n in range(ROUNDS):
        ok(bob.update("tasks", "t1", {"priority": n}))
        request = {
            "route": "commits",
            "operations": [
                {"action": "update", "model": "tasks", "id": "t0", "data": {"title": str(n)}},
                {"action": "delete", "model": "tasks", "id": "t2"},
                {"action": "create", "model": "tasks", "id": "t2", "data": {"title": str(n)}},
            ],
            "reads": [
                {"model": "tasks", "id": "t3", "readAt": 7},
                {"group": "org:acme", "readAt": 7, "onStale": "overwrite"},
            ],
            "track": [{"model": "tasks", "id": "t4"}, {"group": "org:acme"}],
        }
        statement = "SELECT pgsync.commit_v1(%s, %s, %s, %s)"
        ok(ada._call(statement, ada.identity, new_key(), json.dumps(request), json.dumps(proof)))
    for caller in (ada, bob):
        caller.connection.close()  # a backend that ends hands in what it counted
    deadline = time.monotonic() + WAIT_SECONDS
    while (after := scans(tasks))["commit"][1] < before["commit"][1] + ROUNDS:
        assert time.monotonic() < deadline, "the server's counts did not come in"
    read_whole = {name: after[name][0] - before.get(name, (0, 0))[0] for name in (*LOGS, "tasks") if name in after}
    assert {name for name, count in read_whole.items() if count} <= {"tasks"}
    assert after["change"][1] > before["change"][1]


def rows_read(world: World) -> dict[str, int]:
    """Entries that scans of each index of a private table have returned so far, its partitions taken together."""
    found = world.sql(
        "SELECT regexp_replace(indexrelname, '_(default|[0-9]+)_', '_'), sum(idx_tup_read)::bigint"
        " FROM pg_stat_user_indexes WHERE schemaname = 'pgsync_private' GROUP BY 1"
    )
    return dict(found)


def hand_in(*callers: Caller) -> None:
    """Makes their backends report what they have counted so far."""
    for caller in callers:
        caller.connection.execute("SELECT pg_stat_force_next_flush()")


def test_no_lookup_of_a_commit_reads_the_entries_of_others(tasks: World) -> None:
    """Plans are made while the tables are empty, as on a day that has just begun, and stay while these fill."""
    ada, late = tasks.caller("acme", "ada"), tasks.caller("acme", "ada")

    def work(caller: Caller, n: int) -> None:
        proof = {"7": {"snapshot": tasks.sql("SELECT pg_catalog.pg_current_snapshot()::text")[0], "seen": []}}
        key = new_key()
        for _ in range(2):  # the second time it is answered from the ledger
            ok(caller.update("tasks", "t1", {"priority": n}, key=key))
        statement = "SELECT pgsync.commit_v1(%s, %s, %s, %s)"
        request = {
            "route": "commits",
            "operations": [{"action": "update", "model": "tasks", "id": "t0", "data": {"title": str(n)}}],
            "reads": [{"model": "tasks", "id": "t3", "readAt": 7}],
            "track": [{"model": "tasks", "id": "t4"}],
        }
        ok(caller._call(statement, caller.identity, new_key(), json.dumps(request), json.dumps(proof)))
        assert caller.read("SELECT pgsync.commit_record_v1(%s, %s)", caller.identity, key)

    for n in range(5):
        ok(ada.create("tasks", f"t{n}", {"title": "x"}))
    for n in range(ROUNDS):
        work(ada, n)
    hand_in(ada)
    tasks.sql(FILLER.read_text())
    before = rows_read(tasks)
    for n in range(ROUNDS):
        work(ada, n + 1)
        work(late, n + 2)
    hand_in(ada, late)
    read = {name: count - before.get(name, 0) for name, count in rows_read(tasks).items()}
    assert read["commit_pkey"] >= 2 * ROUNDS, "the counts did not come in"
    assert {name: count for name, count in read.items() if count > 2 * ROUNDS * 30} == {}
