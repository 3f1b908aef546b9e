"""What a renamed field means to leases on it and to what was read before."""

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
