"""What a renamed field or model means to leases, grants, history, and to what was read before."""

from __future__ import annotations

import json
from typing import Any

from tests.sql.conftest import World, ok

UNSEEN = (
    "SELECT (pgsync_private.unseen_change('acme', 'task', 't1', NULL, ARRAY[%s], %s::jsonb, NULL, NULL)).op::text AS op"
)


def rename(world: World) -> None:
    world.sql("SELECT pgsync_private.rename_field('task', 'title', 'headline')")


def evidence(world: World) -> str:
    return json.dumps({"snapshot": world.sql("SELECT pg_current_snapshot()::text")[0], "seen": []})


def test_what_was_read_before_a_rename_is_stale_once(tasks: World) -> None:
    ok(tasks.caller().create("tasks", "t1", {"title": "x"}))
    before = evidence(tasks)
    assert tasks.sql(UNSEEN, "title", before) == [None]
    ok(tasks.caller().update("tasks", "t1", {"title": "y"}))
    rename(tasks)
    assert tasks.sql(UNSEEN, "headline", before) == ["S"], "it may have changed under its old name"
    assert tasks.sql(UNSEEN, "headline", evidence(tasks)) == [None]
    others: list[Any] = tasks.sql(
        "SELECT (pgsync_private.unseen_change('acme', 'project', 'p1', NULL, NULL, %s::jsonb, NULL, NULL)).op", before
    )
    assert others == [None], "other models are not concerned"


def test_lease_on_a_renamed_field_holds_it_under_its_new_name(tasks: World) -> None:
    ok(tasks.caller().create("tasks", "t1", {"title": "x"}))
    caller = tasks.caller()
    request = json.dumps({"model": "tasks", "id": "t1", "target": {"fields": ["title", "status"]}, "description": "x"})
    caller.connection.execute("SELECT pgsync.acquire_claim_v1(%s, %s)", [caller.identity, request])
    rename(tasks)
    assert tasks.sql("SELECT fields, parts FROM pgsync_private.claim") == [
        (["headline", "status"], ["headline", "status"])
    ]


GRANTED = (
    "INSERT INTO pgsync_private.credential"
    " (id, kind, key_hash, organization_id, participant_kind, participant_id, sync_groups, operations)"
    " VALUES ('c', 'rk', sha256('x'), 'acme', 'agent', 'bot', '{}', '{task.update,comment.read,taskforce.read}')"
)


def rename_model(world: World, before: str = "task", now: str = "ticket") -> None:
    world.sql(
        "SELECT pgsync_private.rename_model(%s, %s, %s, %s, %s, %s, 'public', 'tasks', 'public', 'tasks')",
        *(before, now, f"{before}s", f"{now}s", before, now),
    )


def test_claims_fences_and_grants_follow_a_renamed_model(tasks: World) -> None:
    ok(tasks.caller().create("tasks", "t1", {"title": "x"}))
    caller = tasks.caller()
    request = json.dumps({"model": "tasks", "id": "t1", "description": "x"})
    caller.connection.execute("SELECT pgsync.acquire_claim_v1(%s, %s)", [caller.identity, request])
    tasks.sql(GRANTED)
    rename_model(tasks)
    assert tasks.sql("SELECT model, model_key FROM pgsync_private.claim") == [("ticket", "tickets")]
    assert tasks.sql("SELECT DISTINCT model FROM pgsync_private.claim_fence") == ["ticket"]
    assert tasks.sql("SELECT operations FROM pgsync_private.credential") == [
        ["ticket.update", "comment.read", "taskforce.read"]
    ]


def test_history_of_a_renamed_model_is_found_under_its_name_of_now(tasks: World) -> None:
    ok(tasks.caller().create("tasks", "t1", {"title": "x"}))
    rename_model(tasks)
    rename_model(tasks, "ticket", "case")
    names = "SELECT pgsync_private.model_names(%s)"
    assert tasks.sql(names, "case") == [["case", "task", "ticket"]]
    assert tasks.sql(names, "task") == [["task"]]
    told = "SELECT pgsync_private.unknown_model(%s)"
    assert tasks.sql(told, "Tasks") == ['model "Tasks" is called cases now; load the schema again']
    assert tasks.sql(told, "task") == ['model "task" is called cases now; load the schema again']
    assert "not in the pushed schema" in tasks.sql(told, "nothing")[0]
    rename_model(tasks, "case", "task")
    assert tasks.sql(names, "task") == [["task", "case", "ticket"]]


def test_what_was_read_of_a_model_or_a_group_before_its_rename_is_stale_once(tasks: World) -> None:
    ok(tasks.caller().create("tasks", "t1", {"title": "x"}))
    before = evidence(tasks)
    ok(tasks.caller().update("tasks", "t1", {"title": "y"}))
    rename_model(tasks, "task", "comment")
    row = "SELECT (pgsync_private.unseen_change('acme', 'comment', 't1', NULL, NULL, %s::jsonb, NULL, NULL)).op::text"
    group = row.replace("'comment', 't1', NULL", "NULL, NULL, 'org:acme'")
    with tasks.database.connect(autocommit=False) as connection:
        connection.execute("SELECT pgsync.set_identity_v1(%s)", [tasks.caller().identity])
        for query in (row, group):
            assert connection.execute(query.encode(), [before]).fetchone() == ("S",)
            assert connection.execute(query.encode(), [evidence(tasks)]).fetchone() == (None,)
