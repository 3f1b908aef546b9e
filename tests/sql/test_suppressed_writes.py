"""A write that a trigger or rule of the customer's keeps from the table is refused; what it did instead is undone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pgsync.push import push
from pgsync.push.doctor import examine
from pgsync.schema import Model, Schema, bigint
from tests.sql.conftest import WAIT_SECONDS, Refusal, World, ok, refused
from tests.sql.test_commits import create, delete, state, update

TRIGGER = """
CREATE FUNCTION public.away() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {body} RETURN {answer}; END$$;
CREATE TRIGGER "Away" BEFORE {events} ON public.{table} FOR EACH ROW {when} EXECUTE FUNCTION public.away();
"""


def keep_away(
    world: World, events: str, *, body: str = "", answer: str = "NULL", when: str = "", on: str = "projects"
) -> None:
    world.sql(TRIGGER.format(events=events, body=body, answer=answer, when=when, table=on))
    world.sql(f"GRANT SELECT, INSERT, UPDATE ON public.{on} TO pgsync_writer")


def told(answer: Any) -> tuple[str, str | None]:
    found = refused(answer)
    return found.code, found.message


def said(action: str, what: str = "trigger", table: str = "public.projects") -> tuple[str, str]:
    return (
        "PS410",
        f"a {what} of the database keeps the row from being written ({action} of table {table}); nothing was written",
    )


@pytest.mark.parametrize("guarded", [False, True])
def test_row_that_a_trigger_drops_refuses_the_whole_commit(tasks: World, guarded: bool) -> None:
    ada = tasks.caller()
    ok(ada.create("projects", "p1", {"name": "x"}))
    keep_away(tasks, "INSERT OR UPDATE OR DELETE")
    before = state(tasks)
    for operation in (create("p2"), update("p1", name="y"), delete("p1")):
        alone = ada.write(operation["action"], "projects", operation["id"], operation.get("data"))
        assert told(alone) == said(operation["action"])
        assert refused(alone).detail == '{"by": ["trigger \\"Away\\""], "table": "public.projects"}'
        task = {"action": "create", "model": "tasks", "id": "t1", "data": {"title": "x"}}
        if guarded:
            operation["fenceToken"] = 1
        assert told(ada.commit(task, operation)) == said(operation["action"])
    assert state(tasks) == before


def test_what_a_trigger_did_in_place_of_the_write_is_undone(tasks: World) -> None:
    ada = tasks.caller()
    ok(ada.create("projects", "p1", {"name": "x"}))
    mark = "UPDATE public.projects SET name = 'deleted' WHERE id = OLD.id;"
    keep_away(tasks, "DELETE", body=mark)
    assert told(ada.delete("projects", "p1")) == said("delete")
    assert tasks.sql("SELECT name FROM projects") == ["x"]


def test_soft_delete_that_hides_the_row_from_its_reader_is_no_missing_row(tasks: World) -> None:
    ada = tasks.caller()
    ok(ada.commit(create("p1"), {"action": "create", "model": "tasks", "id": "t1", "data": {"title": "x"}}))
    ok(ada.create("comments", "c1", {"body": "x", "author_id": "ada", "task_id": "t1"}))
    hide = "UPDATE public.comments SET private = true, author_id = 'bob' WHERE id = OLD.id;"
    keep_away(tasks, "DELETE", body=hide, on="comments")
    before = state(tasks)
    assert told(ada.delete("comments", "c1")) == said("delete", table="public.comments")
    missing = refused(ada.delete("comments", "none"))
    assert (missing.code, missing.detail) == ("PS406", '{"missingIds": ["none"]}')
    assert state(tasks) == before


def test_row_that_is_missing_leaves_nothing_of_triggers_that_run_without_one(tasks: World) -> None:
    tasks.sql(
        "CREATE TABLE public.told (n integer); GRANT INSERT ON public.told TO pgsync_writer;"
        "CREATE FUNCTION public.tell() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN INSERT INTO public.told VALUES (1); RETURN NULL; END';"
        "CREATE TRIGGER tell BEFORE UPDATE ON public.projects EXECUTE FUNCTION public.tell()"
    )
    ada = tasks.caller()
    ok(ada.create("projects", "p1", {"name": "x"}))
    answer = refused(ada.update("projects", "none", {"name": "y"}))
    assert (answer.code, answer.detail) == ("PS406", '{"missingIds": ["none"]}')
    assert tasks.sql("SELECT n FROM told") == []
    ok(ada.update("projects", "p1", {"name": "y"}))  # RETURN NULL of a statement's trigger drops nothing
    assert tasks.sql("SELECT n FROM told") == [1]


def test_trigger_that_lets_the_row_through_is_no_obstacle(tasks: World) -> None:
    ada = tasks.caller()
    ok(ada.create("projects", "p1", {"name": "x"}))
    keep_away(tasks, "INSERT OR UPDATE", body="NEW.name := NEW.name || '!';", answer="NEW")
    ok(ada.commit(create("p2"), update("p1", name="y")))
    assert tasks.sql("SELECT name FROM projects ORDER BY id") == ["y!", "p2!"]
    ok(ada.create("projects", "p2", {"name": "again"}))  # it is there, and stays as it is
    assert tasks.sql("SELECT name FROM projects ORDER BY id") == ["y!", "p2!"]


def test_row_that_a_trigger_puts_elsewhere_in_the_table_is_created(tasks: World) -> None:
    """Partitions as they were made by inheritance: the row is there, whoever put it there."""
    tasks.sql("CREATE TABLE public.more () INHERITS (public.projects); ALTER TABLE public.more ADD PRIMARY KEY (id)")
    tasks.sql("GRANT INSERT ON public.more TO pgsync_writer")
    keep_away(tasks, "INSERT", body="INSERT INTO public.more SELECT NEW.*;")
    ok(tasks.caller().create("projects", "p1", {"name": "x"}))
    assert tasks.sql("SELECT tableoid::regclass::text, id FROM projects") == [("more", "p1")]


@pytest.mark.parametrize(
    "rule", ["DO INSTEAD NOTHING", "DO INSTEAD UPDATE public.projects SET name = 'away' WHERE id = OLD.id"]
)
def test_rule_that_takes_the_place_of_a_delete_refuses_the_commit(tasks: World, rule: str) -> None:
    ada = tasks.caller()
    ok(ada.create("projects", "p1", {"name": "x"}))
    tasks.sql(f"CREATE RULE away AS ON DELETE TO public.projects {rule}")
    assert told(ada.delete("projects", "p1")) == said("delete", "rule")
    assert tasks.sql("SELECT name FROM projects") == ["x"]
    found = {(f.level, f.finding.split(":")[0]) for f in examine(tasks.database.dsn) if f.object == "public.projects"}
    assert found == {("error", "rule away puts something in the place of writes")}


class Counter(Model):
    id: bigint
    name: str


@pytest.fixture
def counters(server: Any) -> Iterator[World]:
    with server.lend() as database:
        push(database.dsn, Schema(Counter))
        world = World(database)
        yield world
        world.close()


def test_create_without_an_id_that_a_trigger_drops_is_refused(counters: World) -> None:
    ada = counters.caller()
    keep_away(counters, "INSERT", on="counters")
    assert told(ada.create("counters", None, {"name": "x"})) == said("create", table="public.counters")
    assert counters.sql("SELECT count(*) FROM counters") == [0]


def test_trigger_of_one_partition_is_named(server: Any) -> None:
    with server.lend() as database:
        database.execute(
            "CREATE TABLE parts (organization_id text, id text, name text NOT NULL, PRIMARY KEY (organization_id, id))"
            " PARTITION BY LIST (organization_id);"
            "CREATE TABLE part_acme PARTITION OF parts FOR VALUES IN ('acme');"
            "CREATE TABLE part_other PARTITION OF parts DEFAULT"
        )
        push(database.dsn, Schema(Part), migrate=False)
        world = World(database)
        try:
            ada, eve = world.caller(), world.caller("globex", "eve")
            keep_away(world, "INSERT", on="part_acme")
            assert told(ada.create("parts", "a", {"name": "x"})) == said("create", table="public.parts")
            assert refused(ada.create("parts", "a", {"name": "x"})).detail == (
                '{"by": ["trigger \\"Away\\""], "table": "public.parts"}'
            )
            ok(eve.create("parts", "a", {"name": "x"}))
        finally:
            world.close()


class Part(Model, without=("createdAt", "updatedAt", "createdBy")):
    name: str


def test_row_that_comes_and_goes_meanwhile_is_never_called_suppressed(tasks: World) -> None:
    """Two sessions delete and make the row with SQL while a client updates it: it is updated, or it is missing."""
    ada, stop = tasks.caller(), threading.Event()
    answers: list[Any] = []

    def churn() -> None:
        with tasks.database.connect() as connection:
            while not stop.is_set():
                connection.execute("DELETE FROM projects WHERE id = 'p1'")
                connection.execute(
                    "INSERT INTO projects (organization_id, id, name) VALUES ('acme', 'p1', 'x') ON CONFLICT DO NOTHING"
                )

    threads = [threading.Thread(target=churn) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for number in range(200):
            answers.append(ada.update("projects", "p1", {"name": str(number)}))
    finally:
        stop.set()
        for thread in threads:
            thread.join(WAIT_SECONDS)
    codes = {answer.code for answer in answers if isinstance(answer, Refusal)}
    assert codes <= {"mutate_update_entity_not_found"}
