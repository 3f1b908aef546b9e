"""Everything that Postgres can do to rows reaches a client that keeps what the deltas say: its rows are the table's."""

from __future__ import annotations

import psycopg
import pytest

from pgsync.expression import Reader
from pgsync.push import PushError, push
from pgsync.schema import Field, Model, Ref, Schema
from pgsync.stream import source
from tests.integration.stream_support import Viewer, running, until
from tests.postgres import Database


class Project(Model):
    name: str = ""


class Task(Model):
    title: str = ""
    body: str | None = None
    points: int = 0
    project_id: Ref[Project] | None = Field(None, on_delete="cascade")


class Comment(Model):
    body: str = ""
    task_id: Ref[Task] | None = Field(None, on_delete="cascade")
    project_id: Ref[Project] | None = Field(None, on_delete="set null")


SCHEMA = Schema(Project, Task, Comment)


SEED = """
    INSERT INTO projects (organization_id, id, name)
    VALUES ('o1', 'p1', 'one'), ('o1', 'p2', 'two'), ('o2', 'p1', 'other') ON CONFLICT DO NOTHING;
    INSERT INTO tasks (organization_id, id, title, project_id)
    SELECT o, 't' || i, 'task ' || i, 'p1' FROM generate_series(1, 5) AS i, (VALUES ('o1'), ('o2')) AS v(o)
    ON CONFLICT DO NOTHING;
    INSERT INTO comments (organization_id, id, task_id, project_id)
    SELECT o, 'c' || i, 't' || i, 'p1' FROM generate_series(1, 5) AS i, (VALUES ('o1'), ('o2')) AS v(o)
    ON CONFLICT DO NOTHING
"""


@pytest.fixture
def pushed(database: Database) -> Database:
    push(database.dsn, SCHEMA)
    database.execute(SEED)
    return database


# What leaves no trace.
SILENT = {"row locks alone", "a large object"}

LONG = "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 1000) AS i)"

WRITES = {
    "a delete that cascades over two tables and sets null in a third": (
        "DELETE FROM projects WHERE organization_id = 'o1' AND id = 'p1'"
    ),
    "one transaction over three tables": (
        "BEGIN; INSERT INTO projects (organization_id, id) VALUES ('o1', 'p9');"
        " UPDATE tasks SET project_id = 'p9' WHERE organization_id = 'o1' AND id IN ('t1', 't2');"
        " DELETE FROM comments WHERE id = 'c3'; COMMIT"
    ),
    "savepoints, some of them rolled back": (
        "BEGIN; INSERT INTO tasks (organization_id, id) VALUES ('o1', 's1'); SAVEPOINT a;"
        " INSERT INTO tasks (organization_id, id) VALUES ('o1', 's2'); DELETE FROM tasks WHERE id = 't1';"
        " ROLLBACK TO a; SAVEPOINT b; UPDATE tasks SET title = 'kept' WHERE id = 't2'; SAVEPOINT c;"
        " UPDATE tasks SET title = 'also kept' WHERE id = 's1'; RELEASE b; COMMIT"
    ),
    "blocks that catch what they cause": (
        "DO $$ BEGIN FOR i IN 1..6 LOOP BEGIN"
        " INSERT INTO tasks (organization_id, id, points) VALUES ('o1', 't' || (i * 2), i);"
        " EXCEPTION WHEN unique_violation THEN UPDATE tasks SET points = i WHERE id = 't' || (i * 2);"
        " END; END LOOP; END $$"
    ),
    "a block with commits inside": (
        "DO $$ BEGIN FOR i IN 100..110 LOOP INSERT INTO tasks (organization_id, id) VALUES ('o1', 't' || i);"
        " IF i % 2 = 0 THEN COMMIT; ELSE ROLLBACK; END IF; END LOOP; END $$"
    ),
    "an insert on conflict": (
        "INSERT INTO tasks (organization_id, id, title) VALUES ('o1', 't1', 'again'), ('o1', 'n1', 'new')"
        " ON CONFLICT (organization_id, id) DO UPDATE SET title = EXCLUDED.title;"
        " INSERT INTO tasks (organization_id, id, title) VALUES ('o1', 't2', 'ignored') ON CONFLICT DO NOTHING"
    ),
    "an update and a delete of the same row in one transaction": (
        "BEGIN; UPDATE tasks SET title = 'a' WHERE id = 't1'; UPDATE tasks SET title = 'b' WHERE id = 't1';"
        " DELETE FROM tasks WHERE id = 't1'; INSERT INTO tasks (organization_id, id, title) VALUES ('o1', 't1', 'c');"
        " COMMIT"
    ),
    "a merge": (
        "MERGE INTO tasks AS t USING (VALUES ('t1', 1), ('t2', 0), ('merged', 2)) AS s(id, n)"
        " ON t.organization_id = 'o1' AND t.id = s.id"
        " WHEN MATCHED AND s.n = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET title = 'merged'"
        " WHEN NOT MATCHED THEN INSERT (organization_id, id, points) VALUES ('o1', s.id, s.n)"
    ),
    "row locks alone": "BEGIN; SELECT * FROM tasks FOR UPDATE; SELECT * FROM projects FOR KEY SHARE; COMMIT",
    "a large object": "SELECT lo_from_bytea(0, decode(repeat('ab', 100000), 'hex'))",
    "common table expressions that write": (
        "WITH gone AS (DELETE FROM comments WHERE id IN ('c1', 'c2') RETURNING organization_id, id)"
        " UPDATE tasks AS t SET points = 9 FROM gone AS g"
        " WHERE t.organization_id = g.organization_id AND t.id = replace(g.id, 'c', 't')"
    ),
    "a large value that stays and one that goes": (
        f"UPDATE tasks SET body = {LONG} WHERE id IN ('t1', 't2'); UPDATE tasks SET title = 'x' WHERE id = 't1';"
        " UPDATE tasks SET body = NULL WHERE id = 't2'"
    ),
    "a changed id below a reference": (
        "BEGIN; DELETE FROM comments WHERE task_id = 't3'; UPDATE tasks SET id = 'renamed' WHERE id = 't3'; COMMIT"
    ),
    "a session that plays replica": (
        "SET session_replication_role = replica; INSERT INTO tasks (organization_id, id) VALUES ('o1', 'r1');"
        " UPDATE tasks SET title = 'replicated' WHERE id = 't1'; DELETE FROM comments WHERE id = 'c1';"
        " RESET session_replication_role"
    ),
    "a vacuum that rewrites": "DELETE FROM tasks WHERE id = 't5'; VACUUM FULL tasks; CLUSTER tasks USING tasks_pkey",
}


async def test_rows_of_a_client_are_those_of_the_tables_whatever_was_done_to_them(pushed: Database) -> None:
    async with running(pushed, "a") as a:
        one, other = Viewer(a.feed, "o1"), Viewer(a.feed, "o2")
        one.load(pushed)
        other.load(pushed)
        for what, statement in WRITES.items():
            if what == "a merge" and pushed.server.major < 15:
                continue  # PostgreSQL 14 has none
            pushed.execute(SEED)
            await one.sees(pushed)
            before = len(one.deltas)
            with pushed.connect() as connection:
                for each in statement.split("; ") if "VACUUM" in statement else [statement]:
                    connection.execute(each)
            await one.sees(pushed)
            await other.sees(pushed)
            assert (one.bootstraps, other.bootstraps) == (0, 0), what
            assert (len(one.deltas) > before) == (what not in SILENT), what


async def test_large_value_beside_a_changed_id_has_to_be_loaded(pushed: Database) -> None:
    async with running(pushed, "a") as a:
        one, other = Viewer(a.feed, "o1"), Viewer(a.feed, "o2")
        one.load(pushed)
        pushed.execute("DELETE FROM comments")
        pushed.execute(f"UPDATE tasks SET body = {LONG} WHERE organization_id = 'o1' AND id = 't1'")
        pushed.execute("UPDATE tasks SET id = 'renamed' WHERE organization_id = 'o1' AND id = 't1'")
        await until(lambda: one.is_told(1), "a bootstrap")
        assert "t1" not in one.rows["Task"]
        one.load(pushed)
        pushed.execute("UPDATE tasks SET title = 'after'")
        await one.sees(pushed)
        assert (one.bootstraps, other.bootstraps) == (1, 0)


async def test_copied_rows_arrive_as_inserted_ones(pushed: Database) -> None:
    async with running(pushed, "a") as a:
        one = Viewer(a.feed, "o1")
        one.load(pushed)
        with pushed.connect() as connection:
            columns = "COPY tasks (organization_id, id, title, body) FROM STDIN"
            with connection.cursor() as cursor, cursor.copy(columns) as copy:
                for i in range(500):
                    copy.write_row(("o1", f"copied {i}", 'tab\t and "quote"', None))
            with connection.cursor() as cursor, cursor.copy(f"{columns} (FORMAT binary)".encode()) as copy:
                copy.set_types(["text", "text", "text", "text"])
                copy.write_row(("o1", "binary", "ü", "x" * 10_000))
        await one.sees(pushed)
        assert {delta["actionType"] for delta in one.deltas} == {"I"}
        assert len(a.transactions) == 2


async def test_truncated_tables_have_to_be_loaded_anew_by_whoever_reads_them(pushed: Database) -> None:
    async with running(pushed, "a") as a:
        one, other = Viewer(a.feed, "o1"), Viewer(a.feed, "o2")
        projects_only = Viewer(a.feed, "o1", readable=frozenset({"project"}))
        for viewer in (one, other, projects_only):
            viewer.load(pushed)
        pushed.execute("TRUNCATE comments")
        await until(lambda: one.is_told(1) and other.is_told(1), "both organizations are told")
        pushed.execute("TRUNCATE tasks RESTART IDENTITY CASCADE")  # and comments
        await until(lambda: one.is_told(3) and other.is_told(3), "once for each table")
        assert projects_only.is_told(0)
        assert [action for _, action, _, _ in a.changes] == ["T", "T", "T"]
        with pushed.connect() as connection, connection.transaction():
            connection.execute("INSERT INTO tasks (organization_id, id) VALUES ('o1', 'gone')")
            connection.execute("TRUNCATE projects, tasks, comments")
            connection.execute("INSERT INTO tasks (organization_id, id) VALUES ('o1', 'stays')")
        await until(lambda: one.is_told(6), "in the middle of a transaction")
        assert projects_only.is_told(1)
        for viewer in (one, other):
            viewer.load(pushed)
        pushed.execute("UPDATE tasks SET title = 'after'")
        await one.sees(pushed)
        await other.sees(pushed)


async def test_change_without_our_triggers_arrives_without_an_author(pushed: Database) -> None:
    async with running(pushed, "a") as a:
        one = Viewer(a.feed, "o1")
        one.load(pushed)
        pushed.execute("ALTER TABLE tasks DISABLE TRIGGER ALL")
        pushed.execute("UPDATE tasks SET title = 'silent'")
        await one.sees(pushed)
        assert {delta["actor"] and delta["actor"]["id"] for delta in one.deltas} == {None}


async def test_tenant_of_a_row_is_never_changed(pushed: Database) -> None:
    with pytest.raises(psycopg.Error) as refused:
        pushed.execute("UPDATE projects SET organization_id = 'o2' WHERE organization_id = 'o1' AND id = 'p2'")
    assert (refused.value.sqlstate or "").startswith("PS")


async def test_columns_changed_by_hand_are_told_and_never_make_wrong_rows(pushed: Database) -> None:
    async with running(pushed, "a", tables_seconds=0.05) as a, running(pushed, "b", tables_seconds=0.05) as b:
        one = Viewer(a.feed, "o1")
        one.load(pushed)

        async def problem(part: str | None, told: int) -> None:
            await until(lambda: one.is_told(told), f"told {told} times to bootstrap, now {one.bootstraps}")
            found = {each.problem for each in a.feed.problems}
            await until(
                lambda: (
                    [each.problem for each in a.feed.problems if part in each.problem] != []
                    if part
                    else not a.feed.problems
                ),
                f"{part} among {found}",
            )

        await problem(None, 0)
        pushed.execute("ALTER TABLE tasks ADD COLUMN by_hand text DEFAULT 'x'")
        pushed.execute("UPDATE tasks SET title = 'with another column'")
        await one.sees(pushed, "tasks")
        await problem(None, 0)

        pushed.execute("ALTER TABLE tasks ALTER COLUMN points TYPE text USING points || ' points'")
        await problem("another type in column points", 1)
        before = len(one.deltas)
        pushed.execute("UPDATE tasks SET title = 'typed'")
        await until(lambda: one.is_told(1) and len(one.deltas) == before + 5, "the rows")
        assert one.deltas[-1]["data"]["points"] == "0 points"
        pushed.execute("ALTER TABLE tasks ALTER COLUMN points TYPE integer USING 3")
        await problem(None, 2)
        one.load(pushed)

        pushed.execute("ALTER TABLE tasks RENAME COLUMN title TO name")
        pushed.execute("INSERT INTO tasks (organization_id, id) VALUES ('o1', 'does not fit')")
        await problem("no column title", 3)
        assert [each.is_broken for each in a.feed.problems] == [True]
        before = len(one.deltas)
        pushed.execute("UPDATE projects SET name = 'others go on'")
        await one.sees(pushed, "projects")
        assert {delta["modelName"] for delta in one.deltas[before:]} == {"Project"}
        pushed.execute("ALTER TABLE tasks RENAME COLUMN name TO title")
        await problem(None, 4)
        one.load(pushed)

        pushed.execute("ALTER TABLE tasks RENAME TO jobs")
        await problem("is gone", 5)
        pushed.execute("UPDATE jobs SET title = 'nobody can say of what'")
        pushed.execute("ALTER TABLE jobs RENAME TO tasks")
        await problem(None, 6)
        one.load(pushed)
        pushed.execute("UPDATE tasks SET title = 'all is well'")
        await one.sees(pushed)
        await until(lambda: b.feed.head == a.feed.head, "the other gateway")
        assert a.changes == b.changes, "what two gateways see is said once"


class Event(Model, without=("createdAt", "updatedAt", "createdBy")):
    title: str = ""


class Secret(Model, without=("createdAt", "updatedAt", "createdBy"), rule="owner = actor.id"):
    owner: str | None = None


PARTITIONED = """
    CREATE TABLE events (
      organization_id text NOT NULL, id text NOT NULL, title text NOT NULL DEFAULT '', PRIMARY KEY (organization_id, id)
    ) PARTITION BY RANGE (id);
    CREATE TABLE events_a PARTITION OF events FOR VALUES FROM ('a') TO ('m');
    CREATE TABLE events_m PARTITION OF events FOR VALUES FROM ('m') TO ('z');
    CREATE TABLE secrets (
      organization_id text NOT NULL, id text NOT NULL, owner text, PRIMARY KEY (organization_id, id)
    ) PARTITION BY LIST (organization_id);
    CREATE TABLE secrets_o1 PARTITION OF secrets FOR VALUES IN ('o1') PARTITION BY RANGE (id);
    CREATE TABLE secrets_o1_a PARTITION OF secrets_o1 FOR VALUES FROM ('a') TO ('m');
"""


@pytest.mark.parametrize("version", [source.NOTICES_PARTITIONS, 1_000_000], ids=["as it is", "as before 15"])
async def test_partitions_are_one_model_and_what_is_done_to_them_alone_is_told(
    database: Database, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    monkeypatch.setattr(source, "NOTICES_PARTITIONS", version)
    database.execute(PARTITIONED)
    push(database.dsn, Schema(Event, Secret))
    async with running(database, "a", tables_seconds=0.05) as a:
        one = Viewer(a.feed, "o1")
        ada = Viewer(a.feed, "o1", reader=Reader(id="ada", kind="user", organization_id="o1"))
        database.execute("INSERT INTO events VALUES ('o1', 'a1', 'x'), ('o1', 'm1', 'y')")
        database.execute("INSERT INTO events_a VALUES ('o1', 'b1', 'past the root')")
        database.execute("UPDATE events SET id = 'n9' WHERE id = 'a1'")  # into another partition
        await one.sees(database, "events")
        assert [delta["actionType"] for delta in one.deltas] == ["I", "I", "I", "D", "I"]
        assert {change[2] for change in a.changes} == {"events"}

        alone = (
            "TRUNCATE events_a",
            "CREATE TABLE events_z (LIKE events INCLUDING ALL); INSERT INTO events_z VALUES ('o1', 'zz', 'was there');"
            " ALTER TABLE events ATTACH PARTITION events_z FOR VALUES FROM ('z') TO ('zzz')",
            "ALTER TABLE events DETACH PARTITION events_m",
        )
        for told, statement in enumerate(alone, 1):
            database.execute(statement)
            await until(lambda: one.is_told(told), statement)  # noqa: B023
            one.load(database)
            database.execute("UPDATE events SET title = 'after'")
            await one.sees(database, "events")
        assert database.execute("SELECT count(*) FROM pgsync_private.change WHERE op = 'T'") == [(3,)]
        database.execute("INSERT INTO events_m VALUES ('o1', 'm2', 'not of the model any more')")
        database.execute("INSERT INTO events VALUES ('o1', 'a2', 'new')")
        await one.sees(database, "events")
        assert a.restarts == 1
        assert "m2" not in {change[3] for change in a.changes}

        database.execute("INSERT INTO secrets VALUES ('o1', 'a1', 'ada')")
        database.execute("UPDATE secrets SET owner = 'bob'")
        database.execute("INSERT INTO secrets VALUES ('o1', 'a2', 'ada')")
        await until(lambda: ada.is_told(3) and len(ada.rows.get("Secret", {})) == 1, "hers alone")
        assert [(d["actionType"], d["modelId"]) for d in ada.deltas if d["modelName"] == "Secret"] == [
            ("I", "a1"),
            ("D", "a1"),
            ("I", "a2"),
        ]


class Price(Model, without=("createdAt", "updatedAt", "createdBy")):
    net: int = 0
    gross: int | None = Field(None, readonly=True)


async def test_generated_columns_are_followed_or_refused(database: Database) -> None:
    prices = (
        "CREATE TABLE prices (organization_id text NOT NULL, id text NOT NULL, net integer NOT NULL DEFAULT 0,"
        " gross integer GENERATED ALWAYS AS (net * 2) %s, PRIMARY KEY (organization_id, id))"
    )
    if database.server.major < 18:
        database.execute(prices % "STORED")
        with pytest.raises(PushError, match="column gross is generated"):
            push(database.dsn, Schema(Price))
        return
    database.execute(prices % "VIRTUAL")
    with pytest.raises(PushError, match="column gross is generated"):
        push(database.dsn, Schema(Price))
    database.execute("DROP TABLE prices")
    database.execute(prices % "STORED")
    push(database.dsn, Schema(Price))
    async with running(database, "a") as a:
        one = Viewer(a.feed, "o1")
        database.execute("INSERT INTO prices (organization_id, id, net) VALUES ('o1', 'p', 1)")
        database.execute("UPDATE prices SET net = 2")
        await one.sees(database)
        assert [delta["data"]["gross"] for delta in one.deltas] == [2, 4]
