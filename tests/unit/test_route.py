"""The router: who is woken, and who is left alone."""

from __future__ import annotations

import asyncio

from pgsync.models import Field, Kind, Model
from pgsync.stream.ring import Ring
from pgsync.stream.route import SHARED_BATCHES, Router
from pgsync.stream.session import Session
from pgsync.stream.timeline import Timeline
from pgsync.stream.transaction import UNKNOWN_ORIGIN, Change, Transaction

FIELDS = (Field(name="id", column="id", kind=Kind.TEXT, sql_type="text"),)
TASK = Model("tasks", "Task", "task", "public", "tasks", "id", "organization_id", FIELDS)
TIME_LIMIT_SECONDS = 5


def make_router() -> Router:
    return Router(Ring(), Timeline(), epoch="e")


def append(router: Router, organization: str = "a", *groups: str, action: str = "I") -> None:
    sync_id = router.ring.head + 1
    named = groups or (f"org:{organization}",)
    change = Change(sync_id, action, TASK, "r", organization, named, UNKNOWN_ORIGIN, None, lambda: b"{}")
    if action == "T":
        change = Change(sync_id, action, TASK, "", None, (), UNKNOWN_ORIGIN, None, None)
    router.timeline.stream(100 + sync_id, sync_id)
    router.ring.append(Transaction(100 + sync_id, sync_id, "2026-01-02T03:04:05.000Z", sync_id, sync_id, [change]))


def test_only_sessions_of_the_organization_and_group_are_concerned() -> None:
    router = make_router()
    sessions = {
        (organization, group): router.open(organization, [group])
        for organization in ("a", "b")
        for group in ("project:p1", "project:p2")
    }
    append(router, "a", "project:p1", "project:p3")
    assert [key for key, session in sessions.items() if session.is_behind] == [("a", "project:p1")]


def test_truncate_concerns_all() -> None:
    router = make_router()
    sessions = [router.open("a", []), router.open("b", ["org:b"])]
    append(router, action="T")
    assert all(session.is_behind for session in sessions)


def test_session_is_registered_when_it_exists() -> None:
    router = make_router()
    append(router)
    session = router.open("a", ["org:a"])
    append(router)
    assert [b'"id":2,' in frame for frame in session.take()] == [True]


def test_closed_session_leaves_nothing_behind() -> None:
    router = make_router()
    session = router.open("a", ["org:a", "user:u1"])
    append(router)
    router.close(session)
    router.close(session)
    assert (len(router), router._channels) == (0, {})
    append(router)


async def test_woken_session_is_not_visited_again_until_it_has_read() -> None:
    router = make_router()
    session = router.open("a", ["org:a"])
    channel = router._channels["a", "org:a"]
    append(router)
    assert channel.armed == set()
    append(router)
    assert len(await asyncio.wait_for(session.next_batch(), TIME_LIMIT_SECONDS)) == 1
    assert channel.armed == {session}


async def test_unconcerned_sessions_sleep_on() -> None:
    router = make_router()
    concerned = router.open("a", ["user:u1"])
    others: list[Session] = [router.open("a", ["user:u2"]), router.open("b", ["user:u1"])]
    tasks = [asyncio.ensure_future(session.next_batch()) for session in others]
    task = asyncio.ensure_future(concerned.next_batch())
    while not all(session._waiter for session in (*others, concerned)):
        await asyncio.sleep(0)
    append(router, "a", "user:u1")
    assert len(await asyncio.wait_for(task, TIME_LIMIT_SECONDS)) == 1
    assert not any(other.done() for other in tasks)
    for session in others:
        router.close(session)
    assert await asyncio.wait_for(asyncio.gather(*tasks), TIME_LIMIT_SECONDS) == [[], []]


def test_sessions_at_the_same_place_share_the_very_same_frames() -> None:
    router = make_router()
    sessions = [router.open("a", ["org:a", f"user:u{number}"]) for number in range(3)]
    append(router)
    append(router)
    first, second, third = (session.take() for session in sessions)
    assert len(first) == 1
    assert first[0] is second[0] is third[0]


def test_kept_frames_are_bounded() -> None:
    router = make_router()
    session = router.open("a", ["org:a"])
    for _ in range(3 * SHARED_BATCHES):
        append(router)
        session.take()
    assert len(router._batches) == SHARED_BATCHES
    assert router.shared_bytes == sum(batch.size_bytes for batch in router._batches.values())
