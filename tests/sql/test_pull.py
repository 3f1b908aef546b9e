"""A schema that `pull` wrote loads, says exactly what the tables are, and can be pushed as it is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgsync.push import push
from pgsync.push.existing import read_existing
from pgsync.push.source import write_schema
from pgsync.schema import Schema, load_schema
from tests.postgres import Database, Server
from tests.sql.conftest import World, ok, refused
from tests.sql.test_adopted_tables import ODD_TABLES, TABLES

OTHERS = """
CREATE TYPE pair AS (a integer, b integer);
CREATE DOMAIN price AS numeric(8,2) CHECK (VALUE >= 0);
CREATE DOMAIN fine_price AS price;
CREATE TABLE people (
  organization_id text, id text, name varchar(20) NOT NULL,
  state varchar(10) NOT NULL DEFAULT 'new' CHECK (state IN ('new', 'it''s', 'old')),
  role text CHECK (role IN ('one')),
  "class" text, "order" integer DEFAULT -1, "camelCase" bigint, "HTTPStatus" smallint, "a b" text, "été" text,
  boss text, paid fine_price, two pair, list integer[] NOT NULL DEFAULT '{}', moods "Mood"[],
  at timestamptz NOT NULL DEFAULT now(), day date DEFAULT '2026-01-01', flag boolean NOT NULL DEFAULT false,
  doc jsonb NOT NULL DEFAULT '{"a": 1}', raw json DEFAULT '[]', serial_no serial, token uuid DEFAULT gen_random_uuid(),
  tz timetz, span tstzrange, bits bit varying(3), search tsvector, rate double precision DEFAULT 1.5,
  shape point, cents numeric(6) DEFAULT 12, fullname text GENERATED ALWAYS AS (name || '!') STORED,
  "x$y$" text, "line
break" text, created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamp,
  PRIMARY KEY (organization_id, id),
  FOREIGN KEY (organization_id, boss) REFERENCES people (organization_id, id)
);
CREATE TABLE "orderItems" ("itemId" integer PRIMARY KEY, organization_id uuid NOT NULL, qty int NOT NULL, "date" date);
CREATE TABLE notes (
  id uuid PRIMARY KEY, organization_id uuid NOT NULL, item integer REFERENCES "orderItems" ON DELETE SET NULL,
  item_id integer REFERENCES "orderItems", "itemId" integer NOT NULL REFERENCES "orderItems" ON DELETE CASCADE,
  theirs uuid REFERENCES customers (id), made_by integer, elsewhere text REFERENCES "Shop's".lines (id)
);
CREATE TABLE countries (code varchar(2) PRIMARY KEY, id integer, name text NOT NULL, first_note uuid REFERENCES notes);
CREATE TABLE country (code text PRIMARY KEY);
CREATE TABLE shapes (id text PRIMARY KEY, organization_id text NOT NULL, corner point NOT NULL);
CREATE TABLE pairs (a integer, b integer, PRIMARY KEY (a, b));
CREATE TABLE keyless (a integer);
CREATE TABLE "123" (id text PRIMARY KEY, organization_id text NOT NULL);
CREATE TABLE parts (organization_id text, id text, n integer, PRIMARY KEY (organization_id, id)) PARTITION BY LIST (organization_id);
CREATE TABLE parts_1 PARTITION OF parts DEFAULT;
CREATE VIEW seen AS SELECT * FROM countries;
"""  # noqa: E501


@pytest.fixture(scope="module")
def database(server: Server) -> Iterator[Database]:
    found = server.create_database()
    try:
        found.execute(TABLES + ODD_TABLES + OTHERS)
        yield found
    finally:
        found.drop()


def pulled(database: Database, tmp_path: Path, **options: str) -> tuple[str, Schema]:
    tables = read_existing(database.dsn, namespaces=["public", "Shop's"])
    text = write_schema(tables, **options).text
    path = tmp_path / "pulled.py"
    path.write_text(text)
    return text, load_schema(path)


@pytest.mark.parametrize("tenant", ["organization_id", "account_id", "Tenant Id"])
def test_pulled_schema_loads_and_fits_the_tables(database: Database, tmp_path: Path, tenant: str) -> None:
    text, schema = pulled(database, tmp_path, tenant=tenant)
    result = push(database.dsn, schema, migrate=False, dry_run=True)  # raises where a column is not what it says
    assert result.changed, text


def test_pulled_schema_says_what_is_there(database: Database, tmp_path: Path) -> None:
    text, schema = pulled(database, tmp_path)
    models = {m.table: m for m in schema.resolved.models}
    assert set(models) == {
        "customers", "invoices", "Order", "lines", "people", "orderItems", "notes", "countries", "123", "parts",
        "shapes",
    }  # fmt: skip
    people = models["people"]
    assert [(r.column, r.target) for r in people.references] == [("boss", "people")]
    assert people.field("state").enum_values == ("new", "it's", "old")  # type: ignore[union-attr]
    assert people.field("state").default == "new"  # type: ignore[union-attr]
    assert people.field("role").enum_values == ("one",)  # type: ignore[union-attr]
    assert {f.column for f in people.fields if f.readonly} >= {"at", "serial_no", "token"}
    for line in (
        "two is left out: public.pair is of a composite type",
        "moods is left out",
        "public.pairs is left out: its primary key is (a, b)",
        "public.keyless is left out: it has no primary key",
        "public.country is left out",
    ):
        assert line in text, text
    shared = {m.table for m in models.values() if m.tenant_column is None}
    assert shared == {"Order", "countries", "invoices", "customers", "lines"}
    # Nobody could give a shape its corner; what all organizations share, nobody writes unasked.
    assert {m.table for m in models.values() if not m.mutable} == {"shapes", *shared}
    notes = {r.column: (r.relation, r.on_delete) for r in models["notes"].references}
    assert notes["item"] == ("item_row", "set null")
    assert notes["itemId"][1] == "cascade"
    assert models["orderItems"].id.column == "itemId"
    assert models["countries"].tenant_column is None
    assert models["notes"].fields[1].sql_type == "uuid"


def test_pattern_chooses_tables_and_five_hundred_others_cost_nothing(database: Database, tmp_path: Path) -> None:
    database.execute(
        "CREATE SCHEMA crowd; DO $$ BEGIN FOR i IN 1..500 LOOP"
        " EXECUTE format('CREATE TABLE crowd.other_%s (id text PRIMARY KEY)', i); END LOOP; END $$"
    )
    begun = time.monotonic()
    tables = read_existing(database.dsn, namespaces=["public", "crowd"], patterns=["peopl?", "order*"])
    assert [t.name for t in tables] == ["orderItems", "people"]
    assert time.monotonic() - begun < 5
    everything = read_existing(database.dsn, namespaces=["crowd"])
    assert len(everything) == 500
    assert "class Other499(Model, " in write_schema(everything).text


TENANTS = """
CREATE SCHEMA t;
CREATE TABLE t.accounts (id uuid PRIMARY KEY, name text NOT NULL);
CREATE TABLE t.users (id bigint PRIMARY KEY, account_id uuid NOT NULL REFERENCES t.accounts, email text NOT NULL);
CREATE TABLE t.bills (id bigint PRIMARY KEY, "OrgId" uuid NOT NULL, sum numeric NOT NULL);
CREATE TABLE t.currencies (id text PRIMARY KEY, name text NOT NULL);
"""


def test_tenant_column_may_be_another_in_each_table_and_is_proposed_where_it_is_missing(
    server: Server, tmp_path: Path
) -> None:
    database = server.create_database()
    try:
        database.execute(TENANTS)
        tables = read_existing(database.dsn, namespaces=["t"])
        unknown = write_schema(tables)
        assert set(unknown.shared) == {"Account", "Bill", "Currency", "User"}
        assert unknown.candidates == (("OrgId", 1), ("account_id", 1))
        assert "# No table has a column organization_id that could say" in unknown.text
        assert "mutable=False" not in unknown.text.partition("class ")[2], "as for a database of one organization"
        path = tmp_path / "schema.py"
        path.write_text(write_schema(tables, tenant=["account_id", "OrgId"]).text)
        models = {m.table: m for m in load_schema(path).resolved.models}
        assert {name: (m.tenant_column, m.mutable) for name, m in models.items()} == {
            "accounts": (None, False),
            "bills": ("OrgId", True),
            "currencies": (None, False),
            "users": ("account_id", True),
        }
        push(database.dsn, load_schema(path), migrate=False)
        us, them = ("00000000-0000-0000-0000-00000000000" + end for end in "ab")
        database.execute(f"INSERT INTO t.accounts VALUES ('{us}', 'us'), ('{them}', 'them')")
        world = World(database)
        assert world.caller(us).read("SELECT name FROM t.accounts") == ["us"], "an organization sees its own row only"
        ok(world.caller(us).create("users", "1", {"email": "x"}))
        assert refused(world.caller(us).create("accounts", us, {"name": "x"})).code == "forbidden"
        world.close()
    finally:
        database.drop()


def test_pull_changes_nothing_and_needs_nothing_of_pgsync(database: Database) -> None:
    assert read_existing(database.dsn, namespaces=["nowhere"]) == []
    assert database.execute("SELECT FROM pg_namespace WHERE nspname LIKE 'pgsync%%'", ()) == []
