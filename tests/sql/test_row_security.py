"""Row security costs a tenant's reader an index lookup, and everybody else nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import psycopg
import pytest

from pgsync import names, sqlfiles
from pgsync.push import push
from pgsync.push.doctor import examine
from pgsync.push.fit import check_fit
from pgsync.schema import Model, Schema
from tests.golden.cases import schema_of
from tests.postgres import Database
from tests.sql.conftest import World, ok
from tests.sql.dump import psql

ROWS = 100_000
TENANTS = 100


def plan(world: World, query: str, organization: str = "org7") -> str:
    caller = world.caller(organization)
    return "\n".join(caller.read(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) {query}"))


@pytest.fixture
def many(tasks: World) -> World:
    """100,000 tasks of 100 organizations."""
    tasks.sql(
        "ALTER TABLE tasks DISABLE TRIGGER USER;"  # not what this is about
        " INSERT INTO tasks (organization_id, id, title, status)"
        f" SELECT 'org' || n % {TENANTS}, 't' || n, 'Task ' || n, 'todo' FROM generate_series(1, {ROWS}) AS n;"
        " ANALYZE tasks"
    )
    return tasks


def test_list_of_a_tenant_reads_its_index_and_asks_who_is_reading_once(many: World) -> None:
    for query in (
        "SELECT * FROM tasks ORDER BY id LIMIT 100",
        "SELECT * FROM tasks",
        "SELECT * FROM tasks WHERE status = 'todo' ORDER BY id LIMIT 50",
        "SELECT * FROM tasks WHERE id = 't7'",
    ):
        text = plan(many, query)
        assert "Seq Scan" not in text, text
        assert re.search(r"Index Cond: \(+organization_id = \$?\(?", text), text
        assert "tasks_pkey" in text or "tasks_organization_id" in text, text
        # Each identity function stands in a subplan of its own that runs once; none is left in a filter of rows.
        assert "InitPlan" in text
        assert not re.search(r"Filter:.*pgsync\.", text), text
        for init in re.findall(r"InitPlan.*\n\s*->\s+Result \(.*", text):
            assert re.search(r"rows=1(\.00)? loops=1", init), init


def test_index_serves_the_order_of_a_list(many: World) -> None:
    assert "Sort" not in plan(many, "SELECT * FROM tasks ORDER BY id LIMIT 100")


def test_reader_without_identity_reads_no_row_at_all(many: World) -> None:
    gateway = many.connect(names.GATEWAY)
    text = "\n".join(row[0] for row in gateway.execute("EXPLAIN (ANALYZE, COSTS OFF) SELECT * FROM tasks").fetchall())
    assert "Rows Removed by Filter" not in text, text


def test_write_of_one_row_reads_one_row(many: World) -> None:
    ada = many.caller("org7")
    with many.database.connect() as superuser:
        superuser.execute("SELECT pg_stat_force_next_flush()") if many.database.server.major >= 15 else None
        scans = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'tasks'"
        before = superuser.execute(scans).fetchone()
        for _ in range(8):  # beyond the five plans that are made with the values of a call
            ok(ada.update("tasks", "t7", {"priority": 1}))
        ada.connection.close()
        after = superuser.execute(scans).fetchone()
    assert before == after


def test_other_roles_see_the_same_rows_before_during_and_after(database: Database) -> None:
    with database.connect() as superuser:
        superuser.execute(
            "CREATE TABLE projects (organization_id text, id text, name text NOT NULL, description text,"
            " archived boolean NOT NULL DEFAULT false, created_at timestamptz NOT NULL DEFAULT now(),"
            " updated_at timestamptz NOT NULL DEFAULT now(), created_by text, PRIMARY KEY (organization_id, id))"
        )
        superuser.execute("INSERT INTO projects VALUES ('acme', 'p1', 'x'), ('globex', 'p2', 'y')")
    owner, other = f"owner_{database.name}", f"other_{database.name}"
    database.execute(f"CREATE ROLE {owner} LOGIN; CREATE ROLE {other} LOGIN")
    try:
        database.execute(f"ALTER TABLE projects OWNER TO {owner}; GRANT SELECT, UPDATE ON projects TO {other}")

        def seen() -> list[object]:
            found: list[object] = []
            for role in (owner, other):
                with database.connect(role) as connection:
                    found += connection.execute("SELECT * FROM projects ORDER BY id").fetchall()
                    found.append(connection.execute("UPDATE projects SET name = name").rowcount)
            return found

        before = seen()
        assert len(before) == 6
        push(database.dsn, schema_of("tasks"))
        assert seen() == before
        with database.connect(names.GATEWAY) as gateway:
            assert gateway.execute("SELECT FROM projects").fetchall() == []
        psql(database, sqlfiles.read("uninstall.sql"))
        assert seen() == before
    finally:
        database.execute(f"REASSIGN OWNED BY {owner} TO CURRENT_USER; DROP OWNED BY {owner}, {other}")
        database.execute(f"DROP ROLE {owner}; DROP ROLE {other}")


def test_policies_that_were_there_still_bind_those_they_bound(database: Database) -> None:
    database.execute(
        "CREATE TABLE notes (organization_id text, id text, text text, created_at timestamptz NOT NULL DEFAULT now(),"
        " updated_at timestamptz NOT NULL DEFAULT now(), created_by text, PRIMARY KEY (organization_id, id));"
        "INSERT INTO notes VALUES ('acme', 'n1', 'x'), ('acme', 'n2', 'hidden');"
        "ALTER TABLE notes ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY theirs ON notes USING (text <> 'hidden')"
    )
    role = f"other_{database.name}"
    database.execute(f"CREATE ROLE {role} LOGIN; GRANT SELECT ON notes TO {role}")

    class Note(Model):
        text: str | None = None

    try:
        push(database.dsn, Schema(Note))
        with database.connect(role) as connection:
            assert connection.execute("SELECT id FROM notes").fetchall() == [("n1",)]
        world = World(database)
        assert sorted(world.caller().read("SELECT id FROM notes")) == ["n1", "n2"]
        world.close()
    finally:
        database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_owner_who_binds_himself_can_still_cascade(tasks: World) -> None:
    tasks.sql("ALTER TABLE tasks FORCE ROW LEVEL SECURITY")
    ada = tasks.caller()
    ok(ada.create("projects", "p1", {"name": "x"}))
    ok(ada.create("tasks", "t1", {"title": "x", "project_id": "p1"}))
    ok(ada.delete("projects", "p1"))
    assert tasks.sql("SELECT count(*) FROM tasks") == [0]


def test_rule_is_kept_by_reads_and_changes(tasks: World) -> None:
    ada, bob = tasks.caller("acme", "ada"), tasks.caller("acme", "bob")
    ok(ada.create("tasks", "t1", {"title": "x"}))
    ok(ada.create("comments", "c1", {"body": "x", "task_id": "t1", "private": True, "author_id": "ada"}))
    assert ada.read("SELECT id FROM comments") == ["c1"]
    assert bob.read("SELECT id FROM comments") == []
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        bob.connection.execute("UPDATE comments SET body = 'y'")


GUESTS = """
CREATE TABLE orders (
  organization_id text, id text, note text NOT NULL, total numeric NOT NULL, doc jsonb,
  PRIMARY KEY (organization_id, id)
);
CREATE TABLE guarded (LIKE orders INCLUDING ALL);
INSERT INTO orders SELECT 'o' || n % 100, n::text, CASE WHEN n % 1000 = 0 THEN 'rare' ELSE 'common' END || n,
  CASE WHEN n % 10 = 0 THEN n ELSE 0 END, jsonb_build_object('a', n % 10) FROM generate_series(1, 20000) AS n;
INSERT INTO guarded SELECT * FROM orders;
CREATE INDEX ON orders (note text_pattern_ops);
CREATE INDEX ON orders (total);
CREATE INDEX ON guarded (total);
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
CREATE POLICY theirs ON guarded USING (note LIKE 'common%');
ALTER TABLE orders SET (autovacuum_enabled = false);
ALTER TABLE guarded SET (autovacuum_enabled = false);
ANALYZE orders, guarded;
"""
# Each with the rows that it says or changes; conditions with leakproof operators and without.
LEAKPROOF = (
    "SELECT * FROM {} WHERE organization_id = 'o7' AND id = '107'",
    "SELECT count(*) FROM {} WHERE note < 'd'",
    "SELECT a.id FROM {} AS a JOIN {} AS b USING (organization_id, id) WHERE a.id IN ('7', '1007') ORDER BY id",
    "SELECT organization_id, count(*) FROM {} GROUP BY organization_id ORDER BY organization_id",
    "SELECT * FROM {} WHERE organization_id = 'o3' ORDER BY id LIMIT 7 FOR UPDATE",
    "UPDATE {} SET note = note WHERE organization_id = 'o4'",
    "DELETE FROM {} WHERE id = '9999'",
    "INSERT INTO {} VALUES ('o1', 'new', 'common', 1) RETURNING id",
    "INSERT INTO {} VALUES ('o1', '1', 'common', 1) ON CONFLICT (organization_id, id) DO UPDATE SET note = 'common2'",
)
OTHERS = (
    "SELECT count(*) FROM {} WHERE note LIKE 'rare%'",
    "SELECT id FROM {} WHERE total > 19000 ORDER BY id",
    "SELECT count(*) FROM {} WHERE total = 0",
    """SELECT count(*) FROM {} WHERE doc @> '{"a": 1}'""",
    "UPDATE {} SET note = note WHERE total > 19900",
)


class Order(Model, table="orders", without=("createdAt", "updatedAt", "createdBy")):
    note: str


class Guarded(Model, table="guarded", without=("createdAt", "updatedAt", "createdBy")):
    note: str


@pytest.fixture
def guests(database: Database) -> Iterator[dict[str, str]]:
    """Roles that use tables of an owner: by what they are, their names."""
    roles = {what: f"{what}_{database.name}" for what in ("owner", "bypassing", "using", "reading", "viewing")}
    database.execute(GUESTS)
    for what, role in roles.items():
        database.execute(f"CREATE ROLE {role} LOGIN {'BYPASSRLS' if what == 'bypassing' else ''}")
    try:
        database.execute(
            "ALTER TABLE orders OWNER TO {owner}; ALTER TABLE guarded OWNER TO {owner};"
            "GRANT SELECT, INSERT, UPDATE, DELETE ON orders, guarded TO {using}, {bypassing};"
            "GRANT SELECT ON orders, guarded TO {viewing};"
            "CREATE VIEW seen AS SELECT * FROM orders; CREATE VIEW guarded_seen AS SELECT * FROM guarded;"
            "ALTER VIEW seen OWNER TO {viewing}; ALTER VIEW guarded_seen OWNER TO {viewing};"
            "GRANT SELECT ON seen, guarded_seen TO {reading}".format(**roles)
        )
        yield roles
    finally:
        database.execute(f"DROP OWNED BY {', '.join(roles.values())}; DROP ROLE {', '.join(roles.values())}")


def noticed(database: Database, role: str, queries: Iterable[str]) -> list[tuple[Any, ...]]:
    """What a role gets to know of each query: its plan, its rows or how many it changed. Changes nothing."""
    found = []
    with database.connect(role, autocommit=False) as connection:
        for query in queries:
            plan = connection.execute(f"EXPLAIN (COSTS OFF) {query}".encode()).fetchall()
            cursor = connection.execute(query.encode())
            rows = cursor.fetchall() if cursor.description is not None else []
            found.append((query, [line for (line,) in plan], cursor.rowcount, sorted(map(str, rows))))
            connection.rollback()
    return found


def test_rows_and_plans_of_all_others_are_as_before_while_pgsync_is_there_and_after(
    database: Database, guests: dict[str, str]
) -> None:
    def all_of_them() -> dict[tuple[str, str], list[tuple[Any, ...]]]:
        found = {}
        for table, view in (("orders", "seen"), ("guarded", "guarded_seen")):
            for what in ("owner", "bypassing", "using"):
                # Row security hides statistics from whom it binds, unless an operator is leakproof.
                known = LEAKPROOF + OTHERS if what != "using" or table == "guarded" else LEAKPROOF
                found[what, table] = noticed(database, guests[what], [q.replace("{}", table) for q in known])
            reads = [q.replace("{}", view) for q in LEAKPROOF[:4]]
            found["reading", view] = noticed(database, guests["reading"], reads)
        return found

    before = all_of_them()
    push(database.dsn, Schema(Order, Guarded), migrate=False)
    assert all_of_them() == before
    psql(database, sqlfiles.read("uninstall.sql"))
    assert all_of_them() == before


def test_rows_are_as_before_also_where_statistics_are_hidden(database: Database, guests: dict[str, str]) -> None:
    def rows() -> list[object]:
        queries = [q.replace("{}", "orders") for q in OTHERS]
        return [(query, count, found) for query, _, count, found in noticed(database, guests["using"], queries)]

    before = rows()
    push(database.dsn, Schema(Order, Guarded), migrate=False)
    assert rows() == before


def test_copy_that_row_security_refuses_is_told_before_and_after_with_who_is_hit(
    database: Database, guests: dict[str, str]
) -> None:
    using, viewing = guests["using"], guests["viewing"]

    def copies(role: str) -> bool:
        with database.connect(role, autocommit=False) as connection:
            try:
                with connection.cursor().copy("COPY orders FROM STDIN") as copy:
                    copy.write_row(("o1", "copied", "x", 1, None))
            except psycopg.errors.FeatureNotSupported:
                return False
            finally:
                connection.rollback()
        return True

    schema = Schema(Order, Guarded)
    assert copies(using)
    told = [f for f in check_fit(database.dsn, schema.resolved) if f.finding.startswith("a push turns row security on")]
    assert [(f.level, f.object, f.finding.rpartition(" for ")[2]) for f in told] == [
        ("warning", "public.orders", using),
        ("notice", "public.orders", viewing),
    ], "the table with row security of its own is as before"
    assert "COPY .. FROM" in told[0].finding
    plan = push(database.dsn, schema, migrate=False, dry_run=True).plan
    risks = {s.tables: s.risk for s in plan.steps if "row security" in s.title}
    assert f"{using}, {viewing} keep all rows, but Postgres refuses them COPY .. FROM" in risks[("public.orders",)]
    assert using not in risks[("public.guarded",)]
    push(database.dsn, schema, migrate=False)
    assert not copies(using)
    assert copies(guests["owner"])
    assert copies(guests["bypassing"])
    found = [f for f in examine(database.dsn) if f.finding.startswith("row security is on")]
    assert [(f.level, f.object, f.finding.rpartition(" for ")[2]) for f in found] == [
        ("notice", "public.orders", using),
        ("notice", "public.orders", viewing),
    ]
    database.execute(f"ALTER ROLE {using} BYPASSRLS")  # the remedy
    assert copies(using)
