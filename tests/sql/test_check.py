"""What `check` says of tables that do not fit, and that it has nothing to say of those that do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from pgsync.push import PushError, push
from pgsync.push.doctor import Finding, worst
from pgsync.push.existing import read_existing
from pgsync.push.fit import check_fit
from pgsync.push.source import write_schema
from pgsync.schema import Field, Model, Ref, Schema, load_schema
from tests.postgres import Database, Server
from tests.sql.test_adopted_tables import BASE, ODD_TABLES, TABLES

WRONG = """
CREATE TABLE docs (
  id uuid, number integer PRIMARY KEY, account_id text, title varchar(9), state integer NOT NULL, must text NOT NULL,
  length integer GENERATED ALWAYS AS (number * 2) STORED, folder text NOT NULL
);
CREATE VIEW shown AS SELECT * FROM docs;
CREATE UNLOGGED TABLE quick (id text PRIMARY KEY, account_id text NOT NULL);
CREATE INDEX ON quick (account_id);
CREATE TABLE kept (account_id text, id text, PRIMARY KEY (account_id, id));
CREATE POLICY asleep ON kept AS RESTRICTIVE USING (false);
CREATE RULE away AS ON DELETE TO kept DO INSTEAD NOTHING;
CREATE TABLE guarded (account_id text, id text, PRIMARY KEY (account_id, id));
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON guarded USING (id = 'x');
CREATE POLICY strict ON guarded AS RESTRICTIVE USING (current_setting('app.user', true) = 'me');
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON guarded FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER later AFTER INSERT ON guarded FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TABLE child () INHERITS (guarded);
"""


class Ours(Model, abstract=True, tenant="account_id", without=BASE):
    pass


class Folder(Ours):
    name: str


class Doc(Ours, groups=["of:state"], without=("updatedAt", "createdBy")):
    id: UUID
    title: str
    state: int | None = None
    length: int | None = None
    missing: datetime | None = None
    folder: Ref[Folder] = Field(relation="folderOf")


class Shown(Ours, table="shown"):
    id: UUID


class Quick(Ours, table="quick"):
    pass


class Kept(Ours, table="kept"):
    pass


class Guarded(Ours, table="guarded"):
    pass


@pytest.fixture(scope="module")
def database(server: Server) -> Iterator[Database]:
    found = server.create_database()
    try:
        found.execute(TABLES + WRONG)
        yield found
    finally:
        found.drop()


@pytest.fixture(scope="module")
def findings(database: Database) -> list[Finding]:
    return check_fit(database.dsn, Schema(Folder, Doc, Shown, Quick, Kept, Guarded).resolved)


@pytest.mark.parametrize(
    ("level", "table", "finding", "remedy"),
    [
        ("error", "folders", "the table of model folders does not exist", "pgsync migrate"),
        ("error", "docs", "its primary key is (number)", "it has to be (id, or with it account_id)"),
        ("error", "docs", "has no column missing for field missing", "ADD COLUMN missing timestamp with time zone"),
        ("error", "docs", "has no column created_at for field createdAt", "ADD COLUMN created_at"),
        ("error", "docs", "column title is character varying(9), field title says text", "'character varying(9)'"),
        ("error", "docs", "column length is generated", ""),
        ("warning", "docs", "column account_id may be null: such a row belongs to no", "SET NOT NULL"),
        ("warning", "docs", "column title may be null, field title says", "ALTER COLUMN title SET NOT NULL"),
        ("warning", "docs", "column state is not null, field state may be", "required"),
        ("warning", "docs", "column must has to have a value", "SET DEFAULT"),
        ("warning", "docs", "no index on account_id finds", "CREATE INDEX CONCURRENTLY ON public.docs (account_id)"),
        ("warning", "docs", "no index on state finds", "(account_id, state)"),
        ("warning", "docs", "no index on folder finds", "(account_id, folder)"),
        ("notice", "docs", "no foreign key on folder", "REFERENCES public.folders NOT VALID"),
        ("notice", "docs", "a push sets REPLICA IDENTITY FULL", ""),
        ("error", "shown", "is not a table", "name the table"),
        ("error", "quick", "is unlogged", "ALTER TABLE public.quick SET LOGGED"),
        ("error", "kept", "policy asleep is restrictive and asleep", "DROP POLICY asleep ON public.kept"),
        ("error", "kept", "rule away", "DROP RULE away"),
        ("notice", "guarded", "policy mine does not narrow", "say it as the rule of model guardeds: (id = 'x'::text)"),
        ("warning", "guarded", "policy strict is restrictive and for everybody", "ALTER POLICY strict"),
        (
            "notice",
            "guarded",
            "trigger touch runs before each row",
            "must not return NULL (the commit is refused then), nor change id or account_id",
        ),
        ("notice", "guarded", "trigger later runs as pgsync_writer", "ALTER FUNCTION public.touch() SECURITY DEFINER"),
        ("warning", "guarded", "other tables inherit from it", "NO INHERIT"),
    ],
)
def test_what_does_not_fit_is_said_with_what_mends_it(
    findings: list[Finding], level: str, table: str, finding: str, remedy: str
) -> None:
    said = [f for f in findings if f.object == f"public.{table}" and f.finding.startswith(finding)]
    assert len(said) == 1, [f.as_json() for f in findings if f.object == f"public.{table}"]
    assert (said[0].level, remedy in said[0].remedy) == (level, True), said[0]


def test_nothing_else_is_said(findings: list[Finding]) -> None:
    more = {
        (
            "public.docs",
            "column number has to have a value and neither a field nor a default gives it one: nobody can create rows",
        ),
        (
            "public.guarded",
            "trigger touch runs as pgsync_writer when a client writes, which has rights on synced tables only",
        ),
        ("public.quick", "a push sets REPLICA IDENTITY FULL: every update and delete logs the whole old row"),
    }
    assert more <= {(f.object, f.finding) for f in findings}
    assert len(findings) == 24 + len(more), [f.as_json() for f in findings]
    assert worst(findings) == "error"


def test_remedies_that_are_statements_are_ones(database: Database, findings: list[Finding]) -> None:
    statements = [f.remedy for f in findings if f.remedy.startswith(("ALTER TABLE", "DROP")) and ".." not in f.remedy]
    with database.connect(autocommit=False) as connection:
        for statement in statements:
            if "REFERENCES" not in statement:  # the other table is not there
                connection.execute(statement.encode())
        connection.rollback()
    assert len(statements) > 5


def test_check_is_silent_about_a_schema_that_was_pulled(server: Server, tmp_path: Path) -> None:
    database = server.create_database()
    try:
        database.execute(TABLES + ODD_TABLES)
        database.execute(
            'CREATE INDEX ON invoices (customer); CREATE INDEX ON invoices (parent); CREATE INDEX ON "Shop\'s".lines'
            ' ("Tenant Id"); CREATE INDEX ON "Shop\'s".lines ("Order")'
        )
        for tenant in ("account_id", "Tenant Id"):
            path = tmp_path / f"{tenant}.py"
            path.write_text(
                write_schema(read_existing(database.dsn, namespaces=["public", "Shop's"]), tenant=tenant).text
            )
            schema = load_schema(path)
            found = check_fit(database.dsn, schema.resolved)
            assert worst(found) in (None, "notice"), [f.as_json() for f in found]
            push(database.dsn, schema, migrate=False, force=True)
            assert worst(check_fit(database.dsn, schema.resolved)) in (None, "notice")
    finally:
        database.drop()


def test_what_check_calls_an_error_is_refused_by_a_push(database: Database) -> None:
    with pytest.raises(PushError):
        push(database.dsn, Schema(Folder, Doc), migrate=False)


def test_check_writes_nothing(database: Database) -> None:
    with psycopg.connect(database.dsn) as connection:
        assert connection.execute("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'pgsync%'").fetchone() == (0,)
