"""Tables of an application, with any names and types, over HTTP and on a socket, from the schema that pull wrote."""

from __future__ import annotations

import contextlib
import io
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import aiohttp
import orjson
import psycopg
import pytest
from psycopg import sql

from pgsync.cli import main
from pgsync.gateway import serve
from pgsync.push import push
from pgsync.schema import Field, Model, Schema
from tests import postgres
from tests.acceptance.conftest import Client, World, config_of, until

# citext as its extension makes it, on functions that every server has.
CITEXT: Final = """
CREATE TYPE public.citext;
CREATE FUNCTION public.citextin(cstring) RETURNS public.citext LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION public.citextout(public.citext) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE public.citext (INPUT = public.citextin, OUTPUT = public.citextout, LIKE = text, CATEGORY = 'S');
CREATE CAST (public.citext AS text) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (text AS public.citext) WITHOUT FUNCTION AS ASSIGNMENT;
CREATE FUNCTION public.citext_eq(a public.citext, b public.citext) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT
  RETURN lower(a::text) = lower(b::text);
CREATE OPERATOR public.= (LEFTARG = public.citext, RIGHTARG = public.citext, FUNCTION = public.citext_eq);
"""
TYPES: Final = """
CREATE SCHEMA "Shop's";
CREATE TYPE public."Mood" AS ENUM ('ok', 'Not ok', 'it''s');
CREATE DOMAIN public.percent AS integer CHECK (VALUE BETWEEN 0 AND 100);
CREATE DOMAIN public.email AS text CHECK (VALUE LIKE '%@%');
"""
# Of each column: its name, its type, a value as it is sent, as it comes back, and another one.
COLUMNS: Final[tuple[tuple[str, str, Any, Any, Any], ...]] = (
    ("select", "text", "from", "from", "where"),
    ("order", "integer", -7, -7, 2147483647),
    ("user", "character varying(10)", "ünï", "ünï", ""),
    ("Mixed Case", "character(4)", "ab", "ab  ", "abcd"),
    ("table", "smallint", 3, 3, -32768),
    ("group", "bigint", "9007199254740993", "9007199254740993", 12),
    ("quote\"d", "boolean", True, True, False),
    ("new", "numeric", "12345678901234567890.5", "12345678901234567890.5", 1),
    ("old", "numeric(8,2)", 1.005, 1.01, 999999.99),
    ("data", "real", 0.1, 0.1, -1.5),
    ("id2", "double precision", 1e300, 1e300, 0.1),
    ("p_data", "uuid", "11111111-1111-4111-8111-111111111111", "11111111-1111-4111-8111-111111111111", None),
    ("p_id", "date", "2026-02-28", "2026-02-28", "0001-01-01"),
    ("v_ignored", "timestamp with time zone", "2026-01-02T03:04:05+02:00", "2026-01-02T01:04:05.000Z", None),
    ("found", "timestamp without time zone", "2026-01-02T03:04:05.123456", "2026-01-02T03:04:05.123456", None),
    ("t", "json", {"b": [1, None], "a": "x"}, {"b": [1, None], "a": "x"}, [1]),
    ("été", "jsonb", {"b": 1, "a": {"c": "ü"}}, {"a": {"c": "ü"}, "b": 1}, "text"),
    ("bl%sob", "bytea", "AAH/", "AAH/", ""),
    ("mood", 'public."Mood"', "Not ok", "Not ok", "it's"),
    ("share", "public.percent", 100, 100, 0),
    ("mail", "public.email", "a@b", "a@b", "c@d"),
    ("nick", "public.citext", "Ada", "Ada", "ADA"),
    ("host", "inet", "10.0.0.1", "10.0.0.1", "::1"),
    ("tags", "text[]", ["a", None, 'q"uote', ""], ["a", None, 'q"uote', ""], []),
    ("numbers", "integer[]", [1, None, -3], [1, None, -3], []),
    ("sums", "numeric(6,2)[]", [1.5, 2], [1.5, 2], None),
    ("names", "character varying(4)[]", ["abcd"], ["abcd"], None),
    ("refs", "uuid[]", ["11111111-1111-4111-8111-111111111111"], ["11111111-1111-4111-8111-111111111111"], None),
)  # fmt: skip
UNFILTERED: Final = ("json", "jsonb", "bytea", "public.email")
PARAMETERS: Final = ("order", "limit", "where")  # of lists: a field of this name is filtered by with `where`
KEYS: Final = {
    "Whole": ("integer", "12"),
    "Long": ("bigint", "9007199254740993"),
    "Random": ("uuid", "22222222-2222-4222-8222-222222222222"),
    "Word": ("character varying(20)", "Ein Wort/ü"),
}


def pgsync(*arguments: str) -> str:
    """Runs a command that has to succeed; what it prints."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0, err.getvalue()
    return out.getvalue()


def identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@pytest.fixture(scope="module")
def made(server: postgres.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[postgres.Database]:
    """The tables, with exactly the schema that pull wrote of them, to copy."""
    database = server.create_database()
    columns = ", ".join(f"{identifier(name)} {type_name}" for name, type_name, *_ in COLUMNS)
    database.execute(
        f'{CITEXT}{TYPES} CREATE TABLE "Shop\'s"."Order" ("Id" text PRIMARY KEY, "Tenant Id" text NOT NULL, {columns});'
        + "".join(
            f'CREATE TABLE "Shop\'s"."{name}" ("Tenant Id" text NOT NULL, "Key" {type_name} PRIMARY KEY, "Note" text,'
            f' "of" {type_name} REFERENCES "Shop\'s"."{name}" ON DELETE CASCADE);'
            for name, (type_name, _) in KEYS.items()
        )
    )
    schema = tmp_path_factory.mktemp("shop") / "schema.py"
    where = ("--database-url", database.dsn)
    schema.write_text(pgsync("pull", *where, "--namespace", "Shop's", "--tenant", "Tenant Id"), encoding="utf-8")
    pgsync("push", str(schema), *where)
    yield database
    database.drop()


@pytest.fixture
async def shop(server: postgres.Server, made: postgres.Database) -> AsyncIterator[World]:
    """A gateway on a copy."""
    database = server.create_database(template=made.name)
    try:
        async with serve(config_of(database)) as gateway, aiohttp.ClientSession() as session:
            yield World(gateway, database, session)
    finally:
        database.drop()


async def fields_of(client: Client, key: str, columns: dict[str, Any]) -> dict[str, str]:
    """The field of each column, as the OpenAPI document's model would have it: found by writing one row with SQL."""
    row = await client.row(key, "probe")
    assert row is not None
    names = [name for name in row if name not in ("id", "organizationId")]
    assert len(names) == len(columns), names
    return dict(zip(columns, names, strict=True))


async def test_each_type_is_written_read_listed_and_streamed_under_any_name(shop: World) -> None:
    ada, eve = shop.client(), shop.client("other")
    shop.database.execute("""INSERT INTO "Shop's"."Order" ("Id", "Tenant Id") VALUES ('probe', 'acme')""")
    fields = await fields_of(ada, "order", {name: None for name, *_ in COLUMNS})
    async with ada.socket() as socket:
        await socket.sync()
        sent = {fields[name]: value for name, _, value, _, _ in COLUMNS}
        back = {fields[name]: value for name, _, _, value, _ in COLUMNS}
        other = {fields[name]: value for name, _, _, _, value in COLUMNS}
        made = await ada.create("order", "o/1", sent)
        assert made.status == 200, made.body
        row = await ada.row("order", quote("o/1", safe=""))
        assert {name: row[name] for name in back} == back
        for name, type_name, *_ in COLUMNS:
            if type_name in UNFILTERED or type_name.endswith("[]"):
                continue
            field, value = fields[name], back[fields[name]]
            query = urlencode({field: str(value).lower() if isinstance(value, bool) else str(value)})
            if field in PARAMETERS:
                query = urlencode({"where": orjson.dumps([field, value])})
            listed = await ada.get(f"/api/v1/models/order?{query}")
            assert listed.status == 200, (name, listed.body)
            assert [found["id"] for found in listed.json["data"]] == ["o/1"], (name, type_name)
        changed = await ada.update("order", quote("o/1", safe=""), other)
        assert changed.status == 200, changed.body
        after = await ada.row("order", quote("o/1", safe=""))
        told = [d for d in await deltas_of(socket, 2) if d["modelId"] == "o/1"]
        assert [{k: v for k, v in d["data"].items() if k in back} for d in told] == [
            back,
            {k: v for k, v in after.items() if k in back},
        ]
        for name, type_name, _, _, value in COLUMNS:
            if value is not None and type_name not in ("character(4)", "public.percent"):
                assert after[fields[name]] == value, (name, type_name)
    assert (await eve.get("/api/v1/models/order")).json["data"] == []


async def deltas_of(socket: Any, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    async def enough() -> bool:
        payload = await socket.wait_for("delta")
        found.extend(payload.get("deltas", [payload]) if isinstance(payload, dict) else payload)
        return len(found) >= count

    await until(enough, f"{count} deltas")
    return found


@pytest.mark.parametrize("name", KEYS)
async def test_rows_are_found_by_a_key_of_any_type(shop: World, name: str) -> None:
    ada, eve = shop.client(), shop.client("other")
    model, row_id = name.lower(), KEYS[name][1]
    path = quote(row_id, safe="")
    async with ada.socket() as socket:
        await socket.sync()
        made = await ada.create(model, row_id, {"note": "x"})
        assert made.status == 200, made.body
        row = await ada.row(model, path)
        assert (str(row["id"]), row["note"], row["of"]) == (row_id, "x", None)
        again = await ada.create(model, row_id, {"note": "again"})
        assert again.status == 200
        assert (await ada.update(model, path, {"note": "y", "of": row["id"]})).status == 200
        listed = (await ada.get(f"/api/v1/models/{model}?{urlencode({'of': row_id, 'note': 'y'})}")).json["data"]
        assert [found["id"] for found in listed] == [row["id"]]
        assert (await eve.update(model, path, {"note": "z"})).error[:2] == (404, "mutate_update_entity_not_found")
        assert (await eve.create(model, row_id, {"note": "z"})).status == 409
        assert (await ada.delete(model, path)).status == 200
        told = await deltas_of(socket, 3)
    assert [(d["actionType"], d["modelId"]) for d in told] == [("I", row_id), ("U", row_id), ("D", row_id)]
    assert (await ada.get(f"/api/v1/models/{model}/{path}")).json["data"] is None


@pytest.mark.parametrize(
    ("column", "value", "code"),
    [
        ("order", 2147483648, "column_type_mismatch"),
        ("group", "9223372036854775808", "column_type_mismatch"),
        ("host", "nowhere", "column_type_mismatch"),
        ("refs", ["x"], "column_type_mismatch"),
        ("mood", "bad", "check_violation"),
        ("share", 101, "check_violation"),
        ("mail", "nobody", "check_violation"),
    ],
)
async def test_value_that_its_column_does_not_take_is_refused_by_name(
    shop: World, column: str, value: object, code: str
) -> None:
    ada = shop.client()
    assert (await ada.create("order", "o2", {column: value})).error == (400, code, column)
    assert (await ada.get("/api/v1/models/order/o2")).json["data"] is None


OTHERS: Final = """
CREATE TABLE counted (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "Größe" text);
CREATE TABLE totals (n integer);
CREATE FUNCTION count_up() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO totals VALUES (1); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER count_up AFTER INSERT ON counted DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION count_up();
"""


async def test_database_of_another_encoding_is_served_and_says_what_it_cannot_hold(
    server: postgres.Server, tmp_path: Path
) -> None:
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        name = f"Test {secrets.token_hex(6)}"
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'").format(
                sql.Identifier(name)
            )
        )
    database = postgres.Database(server, name)
    try:
        with psycopg.connect(database.dsn, client_encoding="UTF8", autocommit=True) as connection:
            connection.execute(OTHERS.encode())
        schema = tmp_path / "schema.py"
        where = ("--database-url", database.dsn)
        schema.write_text(pgsync("pull", *where, "--table", "counted"), encoding="utf-8")
        pgsync("push", str(schema), *where)
        database.execute("GRANT INSERT ON totals TO pgsync_writer, pgsync_gateway")
        config = config_of(database, deployment=name.lower().replace(" ", "_"))
        async with serve(config) as gateway, aiohttp.ClientSession() as session:
            ada = World(gateway, database, session).client()
            async with ada.socket() as socket:
                await socket.sync()
                for _ in range(2):  # the row of a create without an id is where its answer says, retried or not
                    answer = await ada.create("counted", None, {"gr_e": "ÿ"}, Idempotency_Key="first")
                    assert answer.headers["Location"] == "/api/v1/models/counted/1"
                assert (await ada.get(answer.headers["Location"])).json["data"]["gr_e"] == "ÿ"
                assert (await ada.create("counted", "7", {"gr_e": "x"})).error[:2] == (400, "invalid_id")
                assert (await ada.create("counted", None, {"gr_e": "€"})).error[:2] == (400, "column_type_mismatch")
                with psycopg.connect(database.dsn, client_encoding="UTF8") as connection:
                    connection.execute('INSERT INTO counted ("Größe") VALUES (%s)', ["é"])
                operations = [
                    {"action": "create", "model": "counted", "data": {"gr_e": x}, "transactionId": x} for x in "ab"
                ]
                batch = await ada.call("POST", "/api/v1/commits", {"operations": operations}, Idempotency_Key="batch")
                assert batch.status == 200, batch.body
                told = await deltas_of(socket, 4)
                assert [d["data"]["gr_e"] for d in told] == ["ÿ", "é", "a", "b"]
                record = (await ada.get("/api/v1/commits/batch")).json
                by_record = [(each["id"], name) for each, name in zip(record["operations"], "ab", strict=True)]
                assert [(d["modelId"], d["transactionId"]) for d in told[2:]] == by_record
                listed = (await ada.get("/api/v1/models/counted?gr_e=%C3%BF")).json["data"]
                assert [row["gr_e"] for row in listed] == ["ÿ"]
        assert database.execute("SELECT count(*) FROM totals") == [(4,)]
    finally:
        database.drop()


# Operators and functions that fit better than Postgres's own what is written without a cast. Whoever may create in a
# namespace of the gateway's search_path could run code as the gateway that way: in databases from before PostgreSQL 15,
# every role.
TRAPS: Final = """
CREATE FUNCTION public.trap() RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE ''trapped as %'', current_user; END';
CREATE FUNCTION public.trap(varchar, varchar) RETURNS boolean LANGUAGE sql AS 'SELECT public.trap()';
CREATE FUNCTION public.trap(jsonb, jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT to_jsonb(public.trap())';
CREATE FUNCTION public.trap_text(jsonb, jsonb) RETURNS text LANGUAGE sql AS 'SELECT public.trap()::text';
CREATE FUNCTION public.pg_advisory_lock(smallint, smallint) RETURNS void LANGUAGE sql AS 'SELECT public.trap()';
CREATE FUNCTION public.pg_advisory_lock_shared(smallint, smallint) RETURNS void LANGUAGE sql AS 'SELECT public.trap()';
CREATE FUNCTION public.pg_advisory_unlock(smallint, smallint) RETURNS boolean LANGUAGE sql AS 'SELECT public.trap()';
CREATE OPERATOR public.= (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = public.trap);
CREATE OPERATOR public.<> (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = public.trap);
CREATE OPERATOR public.> (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = public.trap);
CREATE OPERATOR public.~~ (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = public.trap);
CREATE OPERATOR public.- (LEFTARG = jsonb, RIGHTARG = jsonb, FUNCTION = public.trap);
CREATE OPERATOR public.-> (LEFTARG = jsonb, RIGHTARG = jsonb, FUNCTION = public.trap);
CREATE OPERATOR public.->> (LEFTARG = jsonb, RIGHTARG = jsonb, FUNCTION = public.trap_text);
"""


class Word(Model, tenant="tenant", without=("createdAt", "updatedAt", "createdBy")):
    """A model whose columns compare by operators of a type that they can be read as."""

    id: str = Field(sql="character varying(20)")
    word: str | None = Field(None, sql="character varying(20)")


async def test_gateway_runs_nothing_that_others_put_where_names_are_looked_up(server: postgres.Server) -> None:
    database = server.create_database()
    try:
        database.execute(
            "CREATE TABLE words (id varchar(20) PRIMARY KEY, tenant text NOT NULL, word varchar(20)); " + TRAPS
        )
        push(database.dsn, Schema(Word))
        async with serve(config_of(database)) as gateway, aiohttp.ClientSession() as session:
            ada = World(gateway, database, session).client()
            async with ada.socket() as socket:
                await socket.sync()
                operation = {"type": "CREATE", "model": "Word", "id": "w1", "input": {"word": "one"}}
                await socket.send("commit", {"operations": [operation], "clientTxId": "k1"})
                assert (await socket.wait_for("mutation_result"))["success"]
            for query in ("word=one", 'where=["word","IN",["one","two"]]', 'where=["word","LIKE","o%25"]'):
                listed = await ada.get(f"/api/v1/models/words?{query}")
                assert [row["id"] for row in listed.json["data"]] == ["w1"], listed.body
            assert (await ada.get("/api/v1/models/words/w1")).json["data"]["word"] == "one"
            first = (await ada.get("/api/v1/models/words?limit=1&order_by=word")).json
            assert (first["data"][0]["word"], first["has_more"]) == ("one", False)
            assert (await ada.get("/api/sync/bootstrap")).json["models"]["Word"][0]["id"] == "w1"
    finally:
        database.drop()
