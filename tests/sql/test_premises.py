"""A guarded write is refused exactly when something that it depends on has changed since it was read."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from tests.sql.conftest import WAIT_SECONDS, Caller, Refusal, World, new_key, ok, refused


def evidence(world: World, *, at: int = 7) -> dict[str, Any]:
    """What a gateway hands over for a reader who read now and was told the stamp `at`."""
    return {str(at): {"snapshot": world.sql("SELECT pg_catalog.pg_current_snapshot()::text")[0], "seen": []}}


def commit(caller: Caller, proof: Any, key: str | None = None, **request: Any) -> Any:
    """The answer to a commit with premises."""
    body = json.dumps({"route": "commits", **request})
    statement = "SELECT pgsync.commit_v1(%s, %s, %s, %s)"
    return caller._call(statement, caller.identity, key or new_key(), body, json.dumps(proof))


def update(row_id: str, data: Any, **guards: Any) -> dict[str, Any]:
    return {"action": "update", "model": "tasks", "id": row_id, "data": data, **guards}


@pytest.fixture
def ada(tasks: World) -> Caller:
    caller = tasks.caller("acme", "ada")
    for row_id in ("t1", "t2"):
        ok(caller.create("tasks", row_id, {"title": "first"}))
    return caller


def test_fresh_premise_is_accepted(tasks: World, ada: Caller) -> None:
    proof = evidence(tasks)
    answer = ok(commit(ada, proof, operations=[update("t1", {"title": "b"}, readAt=7)]))
    assert answer["ops"] == 1
    assert "notifications" not in answer


@pytest.mark.parametrize("by_sql", [False, True])
def test_stale_premise_on_the_same_field_is_refused(tasks: World, ada: Caller, by_sql: bool) -> None:
    proof = evidence(tasks)
    if by_sql:
        tasks.sql("UPDATE tasks SET title = 'psql' WHERE id = 't1' RETURNING 1")
    else:
        ok(tasks.caller("acme", "bob").update("tasks", "t1", {"title": "bob"}))
    answer = refused(commit(ada, proof, operations=[update("t1", {"title": "late"}, readAt=7)]))
    assert answer.code == "stale_context"
    assert answer.more["readAt"] == 7
    (conflict,) = answer.more["conflicts"]
    assert (conflict["model"], conflict["id"]) == ("tasks", "t1")
    assert int(conflict["observedXid"]) > 0
    assert ada.read("SELECT title FROM tasks WHERE id = 't1'") == ["psql" if by_sql else "bob"]


def test_writers_of_different_fields_both_land(tasks: World, ada: Caller) -> None:
    proof = evidence(tasks)
    ok(tasks.caller("acme", "bob").update("tasks", "t1", {"priority": 3}))
    ok(commit(ada, proof, operations=[update("t1", {"title": "late"}, readAt=7)]))
    assert ada.read("SELECT title, priority FROM tasks WHERE id = 't1'") == [("late", 3)]


def test_a_deleted_and_created_again_row_is_stale(tasks: World, ada: Caller) -> None:
    proof = evidence(tasks)
    bob = tasks.caller("acme", "bob")
    ok(bob.delete("tasks", "t1"))
    ok(bob.create("tasks", "t1", {"title": "new"}))
    answer = refused(commit(ada, proof, operations=[update("t1", {"priority": 1}, readAt=7)]))
    assert answer.code == "stale_context"


def test_seen_transactions_do_not_count(tasks: World, ada: Caller) -> None:
    proof = evidence(tasks)
    theirs = ok(tasks.caller("acme", "bob").update("tasks", "t1", {"title": "bob"}))
    proof["7"]["seen"] = [int(theirs["serverTxId"].split("-")[0])]
    ok(commit(ada, proof, operations=[update("t1", {"title": "on top"}, readAt=7)]))


def test_commits_seen_inside_a_shared_transaction_do_not_count(tasks: World, ada: Caller) -> None:
    proof = evidence(tasks)
    theirs = ok(tasks.caller("acme", "bob").update("tasks", "t1", {"title": "bob"}))
    proof["7"]["seenCommits"] = [theirs["serverTxId"]]
    ok(commit(ada, proof, operations=[update("t1", {"title": "on top"}, readAt=7)]))


def test_premise_without_evidence_is_never_believed(tasks: World, ada: Caller) -> None:
    assert refused(commit(ada, None, operations=[update("t1", {"title": "x"}, readAt=7)])).code == "stale_context"


def test_overwrite_skips_the_check(tasks: World, ada: Caller) -> None:
    proof = evidence(tasks)
    ok(tasks.caller("acme", "bob").update("tasks", "t1", {"title": "bob"}))
    ok(commit(ada, proof, operations=[update("t1", {"title": "mine"}, readAt=7, onStale="overwrite")]))


def test_notify_holds_one_operation_and_applies_the_others(tasks: World, ada: Caller) -> None:
    proof = evidence(tasks)
    ok(tasks.caller("acme", "bob").update("tasks", "t1", {"title": "bob"}))
    operations = [update("t1", {"title": "held"}, readAt=7, onStale="notify"), update("t2", {"title": "lands"})]
    key = new_key()
    answer = ok(commit(ada, proof, key, operations=operations))
    assert answer["ops"] == 1
    (told,) = answer["notifications"]
    assert told["target"] == {"model": "tasks", "id": "t1", "fields": ["title"]}
    assert told["writtenBy"] == {"kind": "user", "id": "bob"}
    assert told["currentTexts"] == {"title": "bob"}
    assert (told["scope"], told["readAt"]) == ("row", 7)
    assert ada.read("SELECT title FROM tasks ORDER BY id") == ["bob", "lands"]
    again = ok(commit(ada, proof, key, operations=operations))
    assert again["notifications"] == answer["notifications"]


def test_stale_read_refuses_the_whole_commit(tasks: World, ada: Caller) -> None:
    proof = evidence(tasks)
    ok(tasks.caller("acme", "bob").update("tasks", "t2", {"title": "bob"}))
    reads = [{"model": "tasks", "id": "t2", "readAt": 7}]
    operations = [update("t1", {"title": "x"})]
    assert refused(commit(ada, proof, operations=operations, reads=reads)).code == "stale_context"
    ok(commit(ada, proof, operations=operations, reads=[{**reads[0], "fields": ["priority"]}]))
    answer = ok(commit(ada, proof, operations=operations, reads=[{**reads[0], "onStale": "notify"}]))
    assert (answer["ops"], len(answer["notifications"])) == (0, 1)


def test_group_premise_counts_changes_of_the_whole_group(tasks: World, ada: Caller) -> None:
    proof = evidence(tasks)
    reads = [{"group": "org:acme", "readAt": 7}]
    ok(commit(ada, proof, operations=[update("t1", {"title": "x"})], reads=reads))
    proof = evidence(tasks)
    ok(tasks.caller("other", "eve").create("tasks", "t1", {"title": "elsewhere"}))
    ok(commit(ada, proof, operations=[update("t1", {"title": "y"})], reads=reads))
    answer = refused(commit(ada, proof, operations=[update("t1", {"title": "z"})], reads=reads))
    assert answer.code == "stale_context"
    assert answer.more["conflicts"][0]["group"] == "org:acme"


def test_group_premise_waits_for_writers_under_way(tasks: World, ada: Caller) -> None:
    proof = evidence(tasks)
    writer = tasks.connect(autocommit=False)
    writer.execute("UPDATE tasks SET title = 'open' WHERE id = 't2'")
    ada.connection.execute("SET lock_timeout = '200ms'")
    operations, reads = [update("t1", {"title": "x"})], [{"group": "org:acme", "readAt": 7}]
    assert refused(commit(ada, proof, operations=operations, reads=reads)).code == "55P03"
    writer.commit()
    assert refused(commit(ada, proof, operations=operations, reads=reads)).code == "stale_context"


def test_group_premise_waits_for_writers_of_shared_models_too(wide: World) -> None:
    ada = wide.caller("acme", "ada")
    proof = evidence(wide)
    writer = wide.connect(autocommit=False)
    writer.execute("INSERT INTO countries (id, name) VALUES ('nl', 'Netherlands')")
    ada.connection.execute("SET lock_timeout = '200ms'")
    create = {"action": "create", "model": "workspaces", "id": "w1", "data": {"name": "w"}}
    reads = [{"group": "default", "readAt": 7}]
    assert refused(commit(ada, proof, operations=[create], reads=reads)).code == "55P03"
    writer.commit()
    assert refused(commit(ada, proof, operations=[create], reads=reads)).code == "stale_context"


def test_commit_that_waits_for_a_group_premise_holds_no_row(tasks: World, ada: Caller) -> None:
    judge = tasks.connect(autocommit=False)
    judge.execute("SELECT pg_advisory_xact_lock(pgsync_private.organization_lock('acme'))")
    other = tasks.connect(autocommit=False)
    with ThreadPoolExecutor(2) as pool:
        bob = tasks.caller("acme", "bob")
        for caller in (ada, bob):
            caller.connection.execute("SET statement_timeout = '10s'")
        writes = [
            pool.submit(ada.update, "tasks", "t1", {"title": "a"}),
            pool.submit(bob.commit, update("t2", {"title": "b"}), update("t1", {"priority": 1})),
        ]
        until_waiting(tasks, ada.connection, bob.connection)
        other.execute("SELECT FROM tasks WHERE id IN ('t1', 't2') FOR UPDATE NOWAIT")
        other.rollback()
        judge.rollback()
        for write in writes:
            ok(write.result(WAIT_SECONDS))


def test_group_premise_steps_back_for_a_writer_who_has_the_row(tasks: World, ada: Caller) -> None:
    """Direct SQL has its rows before it can tell whose organization's they are; nobody may be killed for that."""
    proof = evidence(tasks)
    writer = tasks.connect(autocommit=False)
    writer.execute("SET deadlock_timeout = '1min'; SET statement_timeout = '10s'")
    ada.connection.execute("SET statement_timeout = '10s'")
    writer.execute("SELECT FROM tasks WHERE id = 't1' FOR UPDATE")
    reads = [{"group": "org:acme", "readAt": 7}]
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(commit, ada, proof, operations=[update("t1", {"title": "x"})], reads=reads)
        until_waiting(tasks, ada.connection)
        writer.execute("UPDATE tasks SET priority = 3 WHERE id = 't1'")
        writer.commit()
        assert refused(late.result(WAIT_SECONDS)).code == "stale_context"
    assert ada.read("SELECT priority FROM tasks WHERE id = 't1'") == [3]


def until_waiting(world: World, *connections: psycopg.Connection[Any]) -> None:
    """Returns when each of the connections waits for a lock."""
    pids = [connection.info.backend_pid for connection in connections]
    query = "SELECT FROM pg_stat_activity WHERE pid = ANY (%s) AND wait_event_type = 'Lock'"
    deadline = time.monotonic() + WAIT_SECONDS
    while len(world.database.execute(query, [pids])) < len(pids):
        assert time.monotonic() < deadline, "nobody waits"


def test_a_group_of_others_is_not_a_premise(tasks: World, ada: Caller) -> None:
    reads = [{"group": "org:other", "readAt": 7}]
    answer = refused(commit(ada, evidence(tasks), operations=[update("t1", {"title": "x"})], reads=reads))
    assert answer.code == "capability_scope_denied"


def test_tracked_row_is_told_with_the_next_commit_and_once(tasks: World, ada: Caller) -> None:
    assert ok(commit(ada, None, track=[{"model": "tasks", "id": "t1"}]))["ops"] == 0
    assert "notifications" not in ok(ada.update("tasks", "t1", {"title": "own"}))
    ok(tasks.caller("acme", "bob").update("tasks", "t1", {"title": "bob"}))
    (told,) = ok(ada.update("tasks", "t2", {"title": "x"}))["notifications"]
    assert told["target"]["id"] == "t1"
    assert told["currentTexts"] == {"title": "bob"}
    assert "notifications" not in ok(ada.update("tasks", "t2", {"title": "y"}))


def test_tracking_what_is_stale_already_is_told_at_once(tasks: World, ada: Caller) -> None:
    proof = evidence(tasks)
    ok(tasks.caller("acme", "bob").update("tasks", "t1", {"title": "bob"}))
    answer = ok(commit(ada, proof, track=[{"model": "tasks", "id": "t1", "readAt": 7}]))
    assert len(answer["notifications"]) == 1


def test_tracked_premise_that_rejects_refuses_until_tracked_again(tasks: World, ada: Caller) -> None:
    track = [{"model": "tasks", "id": "t1", "onStale": "reject"}]
    ok(commit(ada, None, track=track))
    ok(tasks.caller("acme", "bob").update("tasks", "t1", {"title": "bob"}))
    assert refused(ada.update("tasks", "t2", {"title": "x"})).code == "stale_context"
    ok(commit(ada, None, track=track))
    ok(ada.update("tasks", "t2", {"title": "x"}))


def test_truncation_makes_every_premise_of_the_table_stale(tasks: World, ada: Caller) -> None:
    proof = evidence(tasks)
    tasks.sql("TRUNCATE comments, tasks; SELECT 1")
    ok(tasks.caller("acme", "bob").create("projects", "p1", {"name": "p"}))
    reads = [{"model": "tasks", "id": "t1", "readAt": 7}]
    operation = {"action": "update", "model": "projects", "id": "p1", "data": {"name": "q"}}
    assert refused(commit(ada, proof, operations=[operation], reads=reads)).code == "stale_context"


def test_evidence_older_than_the_change_log_is_stale(tasks: World, ada: Caller) -> None:
    proof = evidence(tasks)
    tasks.sql(
        "UPDATE pgsync_private.setting SET value = pg_catalog.pg_current_xact_id()::text"
        " WHERE name = 'change_floor_xid' RETURNING 1"
    )
    answer = refused(commit(ada, proof, operations=[update("t1", {"title": "x"}, readAt=7)]))
    assert answer.code == "stale_context"
    assert "remembered" in str(answer.message)


def test_read_modify_write_of_many_loses_no_increment(tasks: World, ada: Caller) -> None:
    """The functional update: read, write with the evidence of that read, again when refused."""
    writers = [tasks.caller("acme", f"w{n}") for n in range(8)]
    done = 0
    pending = dict.fromkeys(range(8))
    reads: dict[int, tuple[int, Any]] = {}
    while pending:
        for n in list(pending):
            (value,) = writers[n].read("SELECT priority FROM tasks WHERE id = 't1'")
            reads[n] = (value, evidence(tasks))
        for n in list(pending):
            value, proof = reads[n]
            answer = commit(writers[n], proof, operations=[update("t1", {"priority": value + 1}, readAt=7)])
            if isinstance(answer, Refusal):
                assert answer.code == "stale_context"
            else:
                done += 1
                del pending[n]
    assert done == 8
    assert ada.read("SELECT priority FROM tasks WHERE id = 't1'") == [8]


@pytest.mark.parametrize(
    ("guards", "code"),
    [
        ({"readAt": -1}, "commit_operation_invalid"),
        ({"readAt": "soon"}, "commit_operation_invalid"),
        ({"readAt": 1.5}, "commit_operation_invalid"),
        ({"onStale": "ignore"}, "commit_operation_invalid"),
        ({"fenceToken": "x"}, "commit_operation_invalid"),
    ],
)
def test_wrong_guards_are_refused(ada: Caller, guards: dict[str, Any], code: str) -> None:
    assert refused(commit(ada, None, operations=[update("t1", {"title": "x"}, **guards)])).code == code


@pytest.mark.parametrize(
    "read",
    [
        5,
        {},
        {"model": "tasks"},
        {"model": "tasks", "id": "t1"},
        {"model": "tasks", "id": "t1", "readAt": "x"},
        {"model": "tasks", "id": "t1", "readAt": 1, "fields": "title"},
        {"group": 7, "readAt": 1},
    ],
)
def test_wrong_reads_are_refused(ada: Caller, read: Any) -> None:
    answer = refused(commit(ada, None, operations=[update("t1", {"title": "x"})], reads=[read]))
    assert answer.code in ("commit_operation_invalid", "invalid_sync_group")


def test_archiving_sets_the_field_and_is_refused_without_one(tasks: World, ada: Caller) -> None:
    ok(ada.create("projects", "p1", {"name": "p"}))
    ok(ada.write("archive", "projects", "p1"))
    assert ada.read("SELECT archived FROM projects") == [True]
    ok(ada.write("unarchive", "projects", "p1"))
    assert ada.read("SELECT archived FROM projects") == [False]
    assert refused(ada.write("archive", "tasks", "t1")).code == "commit_operation_unsupported"


# --- what one does not see -------------------------------------------------------------------------------------------


def comment(author: str, *, private: bool, body: str = "first") -> dict[str, Any]:
    return {"body": body, "private": private, "author_id": author, "task_id": "t1"}


def stale_by(caller: Caller, proof: Any, premise: dict[str, Any], mode: str) -> Any:
    """What a premise answers; by reject the refusal, else the notifications, without the transaction."""
    operation: dict[str, Any] = {"action": "create", "model": "projects", "id": new_key(), "data": {"name": "x"}}
    if mode == "track":
        answer = commit(caller, proof, track=[premise])
    elif mode == "readAt":
        operation |= {"model": "comments", "id": premise["id"], "data": comment("ada", private=True), "readAt": 7}
        answer = commit(caller, proof, operations=[operation])
    else:
        answer = commit(caller, proof, operations=[operation], reads=[{**premise, "onStale": mode}])
    if isinstance(answer, Refusal):
        conflicts = [{k: v for k, v in c.items() if not k.startswith("observed")} for c in answer.more["conflicts"]]
        return answer.code, answer.message, conflicts
    return [{k: v for k, v in n.items() if not k.startswith("observed")} for n in answer.get("notifications", ())]


@pytest.mark.parametrize("mode", ["reject", "notify", "track", "readAt"])
@pytest.mark.parametrize("fields", [None, ["body"], ["private"]])
def test_premise_on_a_row_that_one_never_sees_is_one_on_a_missing_row(
    tasks: World, ada: Caller, mode: str, fields: list[str] | None
) -> None:
    bob = tasks.caller("acme", "bob")
    ok(bob.create("comments", "gone", comment("bob", private=True)))
    ok(bob.create("comments", "changed", comment("bob", private=True)))
    proof = evidence(tasks)
    ok(bob.create("comments", "new", comment("bob", private=True)))
    ok(bob.update("comments", "changed", {"body": "secret"}))
    ok(bob.delete("comments", "gone"))
    for row_id in ("new", "changed", "gone", "missing"):
        premise: dict[str, Any] = {"model": "comments", "id": row_id, "readAt": 7}
        premise |= {} if fields is None else {"fields": fields}
        assert stale_by(ada, proof, premise, mode) == [], row_id


@pytest.mark.parametrize("mode", ["reject", "notify", "track"])
@pytest.mark.parametrize("fields", [None, ["body"]])
def test_row_that_left_what_one_sees_is_stale_as_a_deleted_one_is(
    tasks: World, ada: Caller, mode: str, fields: list[str] | None
) -> None:
    bob = tasks.caller("acme", "bob")
    for row_id in ("left", "gone", "hidden"):
        ok(bob.create("comments", row_id, comment("bob", private=False)))
    proof = evidence(tasks)
    ok(bob.update("comments", "left", {"private": True}))
    ok(bob.update("comments", "left", {"body": "secret"}))
    ok(bob.delete("comments", "gone"))
    premise: dict[str, Any] = {"model": "comments", "readAt": 7}
    premise |= {} if fields is None else {"fields": fields}
    left, gone = (stale_by(ada, proof, {**premise, "id": row_id}, mode) for row_id in ("left", "gone"))
    assert left
    assert json.dumps(left).replace('left"', 'gone"').replace("/left", "/gone") == json.dumps(gone)
    assert "secret" not in json.dumps(left)
    proof = evidence(tasks)
    ok(bob.update("comments", "left", {"body": "more"}))
    assert stale_by(ada, proof, {**premise, "id": "left"}, mode) == []
    ok(bob.update("comments", "left", {"private": False}))
    assert stale_by(ada, proof, {**premise, "id": "left"}, mode)


@pytest.mark.parametrize("mode", ["reject", "notify", "track"])
def test_group_premise_counts_what_its_reader_sees(tasks: World, ada: Caller, mode: str) -> None:
    bob, spy = tasks.caller("acme", "bob"), tasks.caller("acme", "spy", operations=("project.create", "project.read"))
    ok(bob.create("comments", "c1", comment("bob", private=True)))
    proof = evidence(tasks)
    ok(bob.update("comments", "c1", {"body": "secret"}))
    ok(bob.delete("comments", "c1"))
    group = {"group": "org:acme", "readAt": 7}
    assert stale_by(ada, proof, group, mode) == []
    proof = evidence(tasks)
    ok(bob.create("comments", "c2", comment("bob", private=False)))
    ok(bob.update("comments", "c2", {"private": True}))
    assert "c2" in json.dumps(stale_by(ada, proof, group, mode))
    assert stale_by(spy, proof, group, mode) == [], "a model that it may not read"


def test_group_premise_that_one_holds_no_more_tells_nothing(tasks: World, ada: Caller) -> None:
    team = tasks.caller("acme", "zoe", "team:red")
    ok(commit(team, None, track=[{"group": "team:red"}, {"group": "org:acme"}]))
    outside = tasks.caller("acme", "zoe")
    tasks.sql("TRUNCATE comments; SELECT 1")
    told = ok(outside.update("tasks", "t1", {"title": "x"}))["notifications"]
    assert [one["group"] for one in told] == ["org:acme"]


def test_tracked_row_of_a_model_that_one_may_not_read_tells_nothing(tasks: World, ada: Caller) -> None:
    ok(commit(ada, None, track=[{"model": "tasks", "id": "t1"}]))
    ok(tasks.caller("acme", "bob").update("tasks", "t1", {"title": "bob"}))
    narrow = tasks.caller("acme", "ada", operations=("project.create",))
    assert "notifications" not in ok(narrow.create("projects", "p1", {"name": "p"}))
    assert len(ok(ada.update("tasks", "t2", {"title": "x"}))["notifications"]) == 1


def test_who_may_write_and_not_read_learns_that_a_row_has_changed_and_no_more(tasks: World, ada: Caller) -> None:
    writer = tasks.caller("acme", "zoe", operations=("task.update",))
    proof = evidence(tasks)
    ok(tasks.caller("acme", "bob").update("tasks", "t1", {"title": "secret"}))
    answer = refused(commit(writer, proof, operations=[update("t1", {"title": "x"}, readAt=7)]))
    assert answer.more["conflicts"] == [{"model": "tasks", "id": "t1"}]
    (told,) = ok(commit(writer, proof, operations=[update("t1", {"title": "x"}, readAt=7, onStale="notify")]))[
        "notifications"
    ]
    assert (told["writtenBy"], told["currentTexts"]) == ({"kind": "system", "id": "*"}, {})
    assert "observedXid" not in told


def test_change_of_which_is_not_known_who_saw_it_counts_and_says_no_more(tasks: World, ada: Caller) -> None:
    bob = tasks.caller("acme", "bob")
    ok(bob.create("comments", "c1", comment("bob", private=True)))
    proof = evidence(tasks)
    ok(bob.update("comments", "c1", {"body": "secret"}))
    tasks.sql("UPDATE pgsync_private.change SET old_row = NULL, new_row = NULL RETURNING 1")
    for premise in ({"model": "comments", "id": "c1", "readAt": 7}, {"group": "org:acme", "readAt": 7}):
        (told,) = stale_by(ada, proof, premise, "notify")
        assert told["writtenBy"] == {"kind": "system", "id": "*"}
        assert told["target"]["id"] == ("*" if "group" in premise else "c1")
        (told,) = ok(commit(ada, proof, track=[premise]))["notifications"]
        assert "observedXid" not in told


def test_premise_tells_nothing_of_a_model_that_one_may_not_read(tasks: World, ada: Caller) -> None:
    spy = tasks.caller("acme", "spy", operations=("project.create",))
    proof = evidence(tasks)
    ok(ada.update("tasks", "t1", {"title": "secret"}))
    for mode in ("reject", "notify"):
        reads = [{"model": "tasks", "id": "t1", "readAt": 7, "onStale": mode}]
        create = {"action": "create", "model": "projects", "id": f"p-{mode}", "data": {"name": "x"}}
        answer = refused(commit(spy, proof, operations=[create], reads=reads))
        assert (answer.code, answer.more) == (
            "capability_scope_denied",
            {"requiredCapability": {"scope": "task.read"}},
        )
