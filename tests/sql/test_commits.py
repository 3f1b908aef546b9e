"""A commit is applied once, whole or not at all, and tells nobody about rows that are not his."""

from __future__ import annotations

import json
import threading
from typing import Any

import psycopg
import pytest

from pgsync import names
from tests.sql.conftest import WAIT_SECONDS, Caller, World, new_key, ok, refused


def create(row_id: str, model: str = "projects", **data: Any) -> dict[str, Any]:
    return {"action": "create", "model": model, "id": row_id, "data": {"name": row_id} | data}


def update(row_id: str, model: str = "projects", **data: Any) -> dict[str, Any]:
    return {"action": "update", "model": model, "id": row_id, "data": data}


def delete(row_id: str, model: str = "projects") -> dict[str, Any]:
    return {"action": "delete", "model": model, "id": row_id}


def state(world: World) -> list[list[Any]]:
    """Everything that a commit may write."""
    tables = ("projects", "tasks", "comments", "pgsync_private.commit", "pgsync_private.change")
    return [world.sql(f"SELECT t::text FROM {table} AS t ORDER BY 1") for table in tables]


# --- idempotency ------------------------------------------------------------------------------------------------------


def test_retried_commit_applies_once_and_answers_the_same(tasks: World) -> None:
    ada = tasks.caller()
    first = ok(ada.commit(create("p1"), key="k"))
    ok(ada.update("projects", "p1", {"name": "later"}))
    before = state(tasks)
    again = ok(ada.commit(create("p1"), key="k"))
    assert again.pop("replayed") is True
    assert again.pop("lastSyncId") is None
    assert first.pop("replayed") is False
    assert again == first
    assert state(tasks) == before


def test_replay_says_where_the_commit_stands_in_the_stream_once_that_is_known(tasks: World) -> None:
    ada = tasks.caller()
    xid, ordinal = ok(ada.commit(create("p1"), key="k"))["serverTxId"].split("-")
    assert ordinal == "0"
    with tasks.database.connect(names.LISTENER) as listener:
        positions = json.dumps([[xid, 41, 42, [42]]])
        listener.execute("SELECT pgsync.store_checkpoint_v1('0/1', 42, NULL, 1, %s)", [positions])
    assert ok(ada.commit(create("p1"), key="k"))["lastSyncId"] == 42


def test_key_for_another_request_is_a_conflict_and_writes_nothing(tasks: World) -> None:
    ada = tasks.caller()
    ok(ada.commit(create("p1"), key="k"))
    before = state(tasks)
    assert refused(ada.commit(create("p2"), key="k")).code == "idempotency_conflict"
    assert refused(ada.create("projects", "p1", {"name": "p1"}, key="k")).code == "idempotency_conflict"
    assert state(tasks) == before


@pytest.mark.parametrize("days", [1, 3])
def test_key_of_long_ago_may_be_used_again_though_nobody_has_tidied_up(tasks: World, days: int) -> None:
    ada = tasks.caller()
    ok(ada.commit(create("p1"), key="k"))
    tasks.sql("UPDATE pgsync_private.commit SET created_at = created_at - make_interval(days => %s)", days)
    assert ok(ada.commit(create("p2"), key="k"))["replayed"] is False
    assert ok(ada.commit(create("p2"), key="k"))["replayed"] is True
    assert tasks.sql("SELECT id FROM projects ORDER BY id") == ["p1", "p2"]


def test_key_belongs_to_its_participant(tasks: World) -> None:
    for organization, participant in (("acme", "ada"), ("acme", "bob"), ("globex", "ada")):
        receipt = ok(tasks.caller(organization, participant).commit(create(f"{organization}-{participant}"), key="k"))
        assert receipt["replayed"] is False


def test_refused_commit_leaves_its_key_free(tasks: World) -> None:
    ada = tasks.caller()
    assert refused(ada.commit(update("p1", name="x"), key="k")).code == "mutate_update_entity_not_found"
    assert refused(ada.commit(create("p1", name=None), key="k")).code == "23502"
    assert ok(ada.commit(create("p1"), key="k"))["replayed"] is False


@pytest.mark.parametrize("key", ["", "k" * 256])
def test_key_of_a_wrong_length_is_refused(tasks: World, key: str) -> None:
    ada = tasks.caller()
    answer = ada._call("SELECT pgsync.commit_v1(%s, %s, %s)", ada.identity, key, '{"operations": []}')
    assert refused(answer).code == "idempotency_key_too_long"


def test_fifty_twins_at_once_have_one_effect_and_equal_answers(tasks: World) -> None:
    callers = [tasks.caller() for _ in range(50)]
    answers: list[Any] = []
    barrier = threading.Barrier(len(callers))

    def run(caller: Caller) -> None:
        barrier.wait(WAIT_SECONDS)
        task = {"action": "create", "model": "tasks", "id": "t1", "data": {"title": "x", "project_id": "p1"}}
        answers.append(caller.commit(create("p1"), task, key="k"))

    threads = [threading.Thread(target=run, args=[caller]) for caller in callers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_SECONDS)
    assert len(answers) == 50
    assert sum(ok(answer)["replayed"] for answer in answers) == 49
    assert len({(answer["serverTxId"], answer["createdAt"], answer["ops"]) for answer in answers}) == 1
    assert tasks.sql("SELECT model, row_id, op FROM pgsync_private.change ORDER BY seq") == [
        ("project", "p1", "I"),
        ("task", "t1", "I"),
    ]


# --- batches ----------------------------------------------------------------------------------------------------------


def test_batch_of_five_hundred_with_a_wrong_last_one_leaves_nothing(tasks: World) -> None:
    ada = tasks.caller()
    good = [create(f"p{n}") for n in range(499)]
    before = state(tasks)
    assert refused(ada.commit(*good, create("last", name=None))).code == "23502"
    assert refused(ada.commit(*good, update("nowhere", name="x"))).code == "mutate_update_entity_not_found"
    assert refused(ada.commit(*good, create("t", "tasks"))).code == "PS104"
    assert refused(ada.commit(*good, create("x", "nothing"))).code == "mutate_create_unknown_model"
    assert state(tasks) == before
    assert ok(ada.commit(*good, create("last")))["ops"] == 500
    assert tasks.sql("SELECT count(*) FROM projects") == [500]


def test_batch_has_one_to_five_hundred_operations(tasks: World) -> None:
    ada = tasks.caller()
    assert refused(ada.commit(*[create(f"p{n}") for n in range(501)])).code == "commit_too_many_operations"
    assert refused(ada.commit()).code == "commit_operation_required"


def test_operations_run_in_order(tasks: World) -> None:
    ada = tasks.caller()
    ok(ada.commit(create("p1"), update("p1", name="b"), create("p2"), delete("p1"), create("p1", name="c")))
    assert tasks.sql("SELECT id, name FROM projects ORDER BY id") == [("p1", "c"), ("p2", "p2")]
    assert refused(ada.commit(delete("p2"), update("p2", name="x"))).code == "PS406"
    assert tasks.sql("SELECT count(*) FROM projects") == [2]


def test_missing_rows_are_named_and_nothing_is_written(tasks: World) -> None:
    ada = tasks.caller()
    ok(ada.commit(create("p1")))
    before = state(tasks)
    answer = refused(ada.commit(update("p1", name="x"), update("a", name="x"), delete("b")))
    assert (answer.code, answer.more) == ("mutate_update_entity_not_found", {"missingIds": ["a", "b"]})
    for alone in (ada.update("projects", "a", {"name": "x"}), ada.delete("projects", "a")):
        assert (refused(alone).code, refused(alone).more) == ("mutate_update_entity_not_found", {"missingIds": ["a"]})
    assert state(tasks) == before


def test_commits_at_once_that_touch_the_same_rows_in_other_orders_all_come_through(tasks: World) -> None:
    ids = [f"p{n}" for n in range(8)]
    ok(tasks.caller().commit(*[create(row_id) for row_id in ids]))
    callers = [tasks.caller() for _ in range(6)]
    answers: list[Any] = []
    barrier = threading.Barrier(len(callers))

    def run(number: int, caller: Caller) -> None:
        order = ids[number:] + ids[:number]
        barrier.wait(WAIT_SECONDS)
        for _ in range(5):
            answers.append(caller.commit(*[update(row_id, name=f"by {number}") for row_id in order]))

    threads = [threading.Thread(target=run, args=each) for each in enumerate(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_SECONDS)
    assert len([ok(answer) for answer in answers]) == 30
    assert len(set(tasks.sql("SELECT name FROM projects"))) == 1


def test_batch_of_commits_answers_each_by_itself(tasks: World) -> None:
    ada, eve = tasks.caller("acme"), tasks.caller("globex", "eve")

    def item(caller: Caller, action: str, row_id: str, key: str, **data: Any) -> dict[str, Any]:
        identity = json.loads(caller.identity)
        body = {"data": data} if data else {}
        return {"identity": identity, "key": key, "action": action, "model": "projects", "id": row_id, "body": body}

    items = [
        item(ada, "create", "p2", "k1", name="A"),
        item(eve, "update", "p2", "k2", name="E"),
        item(eve, "create", "p2", "k3", name="E"),
        item(ada, "create", "p1", "k4", name="A"),
        item(ada, "create", "p2", "k1", name="A"),
    ]
    row = ada.connection.execute("SELECT pgsync.commit_batch_v1(%s)", [json.dumps(items)]).fetchone()
    assert row is not None
    answers = row[0]
    assert [answer["outcome"] for answer in answers] == ["committed", "refused", "committed", "committed", "committed"]
    assert answers[4] | {"replayed": False, "lastSyncId": None} == answers[0] | {"lastSyncId": None}
    committed = {answer["serverTxId"] for answer in answers if answer["outcome"] == "committed"}
    assert len(committed) == 3
    assert len({each.split("-")[0] for each in committed}) == 1
    assert tasks.sql("SELECT organization_id, id, name FROM projects ORDER BY 1, 2") == [
        ("acme", "p1", "A"),
        ("acme", "p2", "A"),
        ("globex", "p2", "E"),
    ]


LIMITED = """
CREATE FUNCTION keep_few() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (SELECT count(*) FROM public.projects WHERE organization_id = NEW.organization_id) > 1 THEN
    RAISE 'one project is enough' USING ERRCODE = 'check_violation';
  END IF;
  RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER keep_few AFTER INSERT ON projects DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION keep_few();
"""


def test_deferred_trigger_judges_the_rows_of_the_commit_that_it_belongs_to(tasks: World) -> None:
    tasks.sql(LIMITED)
    ada, rival = tasks.caller(), tasks.caller("rival", "bob")
    ok(ada.create("projects", "p1", {"name": "first"}))
    assert refused(ada.create("projects", "p2", {"name": "second"})).code == "23514"
    items = [
        {"identity": json.loads(who.identity), "key": new_key(), "action": "create", "model": "projects", "id": row_id}
        | {"body": {"data": {"name": "n"}}}
        for who, row_id in ((ada, "p2"), (rival, "p3"))
    ]
    with pytest.raises(psycopg.Error) as apart:
        ada.connection.execute("SELECT pgsync.commit_batch_v1(%s)", [json.dumps(items)])
    assert apart.value.sqlstate == "PS901"
    tasks.sql("DROP TRIGGER keep_few ON projects")
    ada.connection.execute("SELECT pgsync.commit_batch_v1(%s)", [json.dumps(items)])


# --- organizations ----------------------------------------------------------------------------------------------------


def test_row_of_another_organization_looks_exactly_like_a_missing_one(tasks: World) -> None:
    ok(tasks.caller("acme").create("projects", "here", {"name": "x"}))
    eve = tasks.caller("globex", "eve")
    before = state(tasks)

    def seen(row_id: str) -> list[Any]:
        text = repr(
            [
                eve.update("projects", row_id, {"name": "mine"}),
                eve.delete("projects", row_id),
                eve.commit(update(row_id, name="mine"), create("own")),
                eve.commit(delete(row_id), create("own")),
                eve.read("SELECT * FROM projects WHERE id = %s", row_id),
                eve.create("tasks", "t", {"title": "x", "project_id": row_id}),
            ]
        )
        return [text.replace(row_id, "?")]

    assert seen("here") == seen("none")
    assert state(tasks) == before


def test_create_of_an_id_that_another_organization_has_succeeds_and_tells_nothing(tasks: World) -> None:
    ok(tasks.caller("acme").create("projects", "p1", {"name": "Acme's"}))
    eve = tasks.caller("globex", "eve")
    taken, free = ok(eve.create("projects", "p1", {"name": "Eve's"})), ok(eve.create("projects", "p2", {"name": "x"}))
    assert set(taken) == set(free)
    assert tasks.sql("SELECT organization_id, name FROM projects WHERE id = 'p1' ORDER BY 1") == [
        ("acme", "Acme's"),
        ("globex", "Eve's"),
    ]


def test_reference_to_a_row_of_another_organization_is_refused_like_one_to_a_missing_row(wide: World) -> None:
    acme = wide.caller("acme", "ada", "workspace:here", "workspace:mine")
    ok(acme.create("workspaces", "here", {"name": "x"}))
    eve = wide.caller("globex", "eve", "workspace:here", "workspace:none", "workspace:mine")
    ok(eve.create("workspaces", "mine", {"name": "y"}))
    ok(eve.create("documents", "1", {"workspace_id": "mine"}))

    def told(row_id: str) -> list[Any]:
        answers = [
            eve.create("documents", "2", {"workspace_id": row_id}),
            eve.update("documents", "1", {"workspace_id": row_id}),
        ]
        assert all(refused(answer).code == "23503" for answer in answers)
        return [repr(answer).replace(row_id, "?") for answer in answers]

    assert told("here") == told("none")
    assert wide.sql("SELECT id, workspace_id FROM documents") == [(1, "mine")]


def test_organization_in_the_data_is_the_callers_or_an_error(tasks: World) -> None:
    ada = tasks.caller()
    ok(ada.create("projects", "p1", {"name": "x", "organizationId": "acme", "createdBy": "eve", "id": "other"}))
    answer = refused(ada.create("projects", "p2", {"name": "x", "organizationId": "globex"}))
    assert (answer.code, answer.field) == ("PS303", "organizationId")
    assert refused(ada.update("projects", "p1", {"organizationId": "globex"})).code == "PS303"
    assert tasks.sql("SELECT id, organization_id, created_by FROM projects") == [("p1", "acme", "ada")]


def test_no_row_ever_changes_its_organization(tasks: World) -> None:
    ok(tasks.caller().create("projects", "p1", {"name": "x"}))
    with tasks.database.connect() as owner:
        for statement in (
            "UPDATE projects SET organization_id = 'globex'",
            "SET session_replication_role = replica; UPDATE projects SET organization_id = 'globex'",
            "INSERT INTO projects (organization_id, id, name) VALUES ('acme', 'p1', 'y')"
            " ON CONFLICT (organization_id, id) DO UPDATE SET organization_id = 'globex'",
        ):
            with pytest.raises(Exception, match="never changes") as caught:
                owner.execute(statement.encode())
            assert getattr(caught.value, "sqlstate", None) == "PS303"
    assert tasks.sql("SELECT organization_id FROM projects") == ["acme"]


# --- groups and rules -------------------------------------------------------------------------------------------------


def test_row_of_a_group_that_its_maker_does_not_hold_can_be_made_and_given_away(wide: World) -> None:
    ada = wide.caller("acme", "ada")
    ok(ada.create("workspaces", "w1", {"name": "x"}))  # nobody can hold the group of a row that is not there yet
    assert ada.read("SELECT id FROM workspaces") == []
    member = wide.caller("acme", "ada", "workspace:w1")
    assert member.read("SELECT id FROM workspaces") == ["w1"]
    ok(member.create("documents", "1", {"workspace_id": "w1", "owner_id": "ada", "secret": True}))
    assert member.read("SELECT id FROM documents") == [1]
    ok(member.update("documents", "1", {"owner_id": "bob"}))
    assert member.read("SELECT id FROM documents") == []


def test_row_that_its_caller_may_not_read_cannot_be_changed_and_looks_missing(wide: World) -> None:
    bob = wide.caller("acme", "bob", "workspace:w1")
    ok(bob.create("workspaces", "w1", {"name": "x"}))
    ok(bob.create("documents", "1", {"workspace_id": "w1", "owner_id": "bob", "secret": True}))
    by_rule, by_group = wide.caller("acme", "ada", "workspace:w1"), wide.caller("acme", "bob")
    for caller, model, row_id in ((by_rule, "documents", "1"), (by_group, "workspaces", "w1")):
        for answer in (caller.update(model, row_id, {}), caller.delete(model, row_id)):
            assert refused(answer).code == "mutate_update_entity_not_found"
        batch = caller.commit(update(row_id, model), update(row_id, model))
        assert refused(batch).code == "mutate_update_entity_not_found"
    ok(bob.update("documents", "1", {"order": 5}))


# --- what a request may say -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "data", "code", "field"),
    [
        ("create", {}, "PS103", "title"),
        ("create", {"title": None}, "23502", "title"),
        ("update", {"title": None}, "23502", "title"),
        ("create", {"title": "x", "nope": 1}, "PS104", "nope"),
        ("update", {"nope": 1}, "PS104", "nope"),
        ("create", {"title": 5}, "PS105", "title"),
        ("update", {"title": {"a": 1}}, "PS105", "title"),
        ("update", {"priority": True}, "PS105", "priority"),
        ("update", {"tags": "a"}, "PS105", "tags"),
        ("update", {"status": "never"}, "23514", "status"),
        ("create", {"title": "x", "status": "never"}, "23514", "status"),
    ],
)
def test_wrong_data_names_the_field_and_writes_nothing(
    tasks: World, action: str, data: dict[str, Any], code: str, field: str
) -> None:
    ada = tasks.caller()
    ok(ada.create("tasks", "t1", {"title": "x"}))
    before = state(tasks)
    answer = refused(ada.write(action, "tasks", "t1" if action == "update" else "t2", data))
    assert (answer.code, answer.field) == (code, field)
    assert state(tasks) == before


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        ({"priority": 2**31, "due": "2026-02-30"}, ["due", "priority"]),
        ({"priority": 1.5}, ["priority"]),
        ({"due": "tomorrow-ish"}, ["due"]),
    ],
)
def test_values_that_do_not_convert_are_named_by_diagnosis(
    tasks: World, data: dict[str, Any], fields: list[str]
) -> None:
    ada = tasks.caller()
    ok(ada.create("tasks", "t1", {"title": "x"}))
    assert refused(ada.update("tasks", "t1", data)).code.startswith("22")
    row = ada.connection.execute("SELECT pgsync.diagnose_v1('Task', %s)", [json.dumps(data)]).fetchone()
    assert row is not None
    assert sorted(each["field"] for each in row[0]) == fields


@pytest.mark.parametrize("row_id", ["", "x" * 256, "a\nb", "a\tb", "\x7f"])
def test_wrong_row_id_is_refused(tasks: World, row_id: str) -> None:
    ada = tasks.caller()
    assert refused(ada.create("projects", row_id, {"name": "x"})).code == "invalid_id"
    assert refused(ada.commit(create("p1"), update(row_id, name="x"))).code == "invalid_id"


@pytest.mark.parametrize("row_id", ["x", "1.5", "01", "2147483648", "-2147483649", "1e3", " 1", "9" * 40])
def test_id_that_its_column_does_not_take_is_refused(wide: World, row_id: str) -> None:
    ada = wide.caller()
    for answer in (
        ada.create("counters", row_id, {}),
        ada.update("counters", row_id, {"label": "x"}),
        ada.delete("counters", row_id),
        ada.commit(create("1", "workspaces"), update(row_id, "counters")),
    ):
        assert (refused(answer).code, refused(answer).field) == ("PS106", "id")
    assert refused(ada.create("folders", row_id, {})).code == "PS106"


def test_integer_id_comes_from_the_database_or_from_the_caller(wide: World) -> None:
    ada = wide.caller()
    ok(ada.create("counters", "-2147483648", {"label": "given"}))
    ok(ada.create("counters", None, {"label": "made"}))
    assert wide.sql("SELECT id, label FROM counters ORDER BY id") == [(-2147483648, "given"), (1, "made")]
    ok(ada.create("counters", "2", {"label": "given"}))
    assert refused(ada.create("counters", None, {"label": "made"})).code == "23505", "never a row that looks made"


def test_create_of_an_id_that_exists_leaves_the_row(tasks: World) -> None:
    ada = tasks.caller()
    ok(ada.create("projects", "p1", {"name": "first"}))
    ok(ada.create("projects", "p1", {"name": "second"}))
    assert tasks.sql("SELECT name FROM projects") == ["first"]


def test_model_goes_by_key_typename_and_table_in_any_case(tasks: World) -> None:
    ada = tasks.caller()
    for n, name in enumerate(("projects", "Project", "PROJECT", "project")):
        ok(ada.create(name, f"p{n}", {"name": "x"}))
    assert refused(ada.create("project_", "p9", {"name": "x"})).code == "mutate_create_unknown_model"


def test_model_that_clients_may_not_write_is_refused(wide: World) -> None:
    wide.sql("INSERT INTO countries VALUES ('at', 'Austria')")
    ada = wide.caller()
    for answer in (ada.create("countries", "x", {"name": "x"}), ada.delete("countries", "at")):
        assert refused(answer).code == "forbidden"
    assert ada.read("SELECT id FROM countries") == ["at"]
    ok(ada.create("workspaces", "w1", {"name": "x", "country_id": "at"}))
    assert refused(ada.create("workspaces", "w2", {"name": "y", "country_id": "zz"})).code == "23503"


def test_grants_bound_what_a_credential_may_do(tasks: World) -> None:
    ok(tasks.caller().create("projects", "p1", {"name": "x"}))
    some = tasks.caller(operations=("project.update", "*.create"))
    ok(some.update("projects", "p1", {"name": "y"}))
    ok(some.create("projects", "p2", {"name": "z"}))
    answer = refused(some.delete("projects", "p1"))
    assert answer.code == "capability_scope_denied"
    assert answer.more == {"requiredCapability": {"scope": "project.delete"}}
    assert refused(some.commit(update("p1", name="q"), delete("p2"))).code == "capability_scope_denied"
    assert tasks.sql("SELECT name FROM projects WHERE id = 'p1'") == ["y"]


def test_commit_in_a_snapshot_that_could_miss_its_twin_is_refused(tasks: World) -> None:
    ada = tasks.caller()
    with ada.connection.transaction():
        ada.connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        assert refused(ada.create("projects", "p1", {"name": "x"}, key=new_key())).code == "PS101"


def test_commits_one_after_another_in_a_transaction_are_told_apart(tasks: World) -> None:
    ada = tasks.caller()
    with ada.connection.transaction():
        first = ok(ada.create("projects", "p1", {"name": "x"}))
        second = ok(ada.create("projects", "p2", {"name": "x"}))
    assert first["serverTxId"].removesuffix("-0") == second["serverTxId"].removesuffix("-1")
    assert tasks.sql("SELECT row_id, server_tx_id FROM pgsync_private.change ORDER BY seq") == [
        ("p1", first["serverTxId"]),
        ("p2", second["serverTxId"]),
    ]
