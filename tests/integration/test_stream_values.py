"""Every supported type: what a read and a delta make of the same row is the same JSON, byte for byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import orjson
import psycopg
import pytest

from pgsync.models import ActiveSchema, Field, Kind, Model
from pgsync.stream.connect import Replication, with_settings
from pgsync.stream.group import Grouper
from pgsync.stream.transaction import Change
from pgsync.values import row_encoder
from tests.integration.stream_support import WAIT_SECONDS
from tests.postgres import Database

# column, type, kind, array, and literals whose JSON is given
COLUMNS: list[tuple[str, str, Kind, bool, dict[str, object]]] = [
    ("c_text", "text", Kind.TEXT, False, {"'a \"b\" \\ ü\n'": 'a "b" \\ ü\n', "''": ""}),
    ("c_varchar", "varchar(20)", Kind.TEXT, False, {"'x'": "x"}),
    ("c_char", "char(3)", Kind.TEXT, False, {"'x'": "x  "}),
    ("c_name", "name", Kind.TEXT, False, {"'n'": "n"}),
    ("c_enum", "mood", Kind.TEXT, False, {"'sad'": "sad", "'so so'": "so so"}),
    ("c_interval", "interval", Kind.TEXT, False, {"'1 day 2 hours'": "P1DT2H"}),
    ("c_time", "time", Kind.TEXT, False, {"'03:04:05.5'": "03:04:05.5"}),
    ("c_inet", "inet", Kind.TEXT, False, {"'10.0.0.1/8'": "10.0.0.1/8"}),
    ("c_range", "int4range", Kind.TEXT, False, {"'[1,5)'": "[1,5)"}),
    ("c_bool", "boolean", Kind.BOOLEAN, False, {"true": True, "false": False}),
    ("c_int2", "smallint", Kind.INTEGER, False, {"-32768": -32768}),
    ("c_int4", "integer", Kind.INTEGER, False, {"2147483647": 2147483647}),
    (
        "c_int8",
        "bigint",
        Kind.INTEGER,
        False,
        {
            "9007199254740991": 9007199254740991,
            "9007199254740992": "9007199254740992",
            "-9223372036854775808": "-9223372036854775808",
        },
    ),
    (
        "c_numeric",
        "numeric",
        Kind.DECIMAL,
        False,
        {
            "1.50": 1.5,
            "0.1": 0.1,
            "9007199254740993": "9007199254740993",
            "12345678901234567890.12345": "12345678901234567890.12345",
            "1e20": 1e20,
            "'NaN'": "NaN",
            "'-Infinity'": "-Infinity",
            "0": 0,
        },
    ),
    ("c_numeric2", "numeric(10,2)", Kind.DECIMAL, False, {"1": 1.0}),
    ("c_float4", "real", Kind.FLOAT, False, {"0.1": 0.1, "'Infinity'": "Infinity", "1e20": 1e20}),
    (
        "c_float8",
        "double precision",
        Kind.FLOAT,
        False,
        {
            "0.1::float8 + 0.2": 0.30000000000000004,
            "'NaN'": "NaN",
            "'-Infinity'": "-Infinity",
            "5e-324": 5e-324,
            "1e15": 1e15,
        },
    ),
    (
        "c_timestamptz",
        "timestamptz",
        Kind.TIMESTAMPTZ,
        False,
        {
            "'2026-01-02 03:04:05+02'": "2026-01-02T01:04:05.000Z",
            "'2026-07-02 03:04:05.120+00'": "2026-07-02T03:04:05.120Z",
            "'2026-01-02 03:04:05.000001+00'": "2026-01-02T03:04:05.000001Z",
            "'1890-01-01 00:00:00+00'": "1890-01-01T00:00:00.000Z",
            "'infinity'": "infinity",
            "'0044-03-15 12:00+00 BC'": "0044-03-15 12:00:00+00 BC",
            "'12026-01-02 03:04:05.5+00'": "12026-01-02 03:04:05.5+00",
        },
    ),
    (
        "c_timestamp",
        "timestamp",
        Kind.TIMESTAMP,
        False,
        {"'2026-01-02 03:04:05'": "2026-01-02T03:04:05.000", "'-infinity'": "-infinity"},
    ),
    (
        "c_timestamptz0",
        "timestamptz(0)",
        Kind.TIMESTAMPTZ,
        False,
        {"'2026-01-02 03:04:05.4+00'": "2026-01-02T03:04:05.000Z"},
    ),
    ("c_date", "date", Kind.DATE, False, {"'2026-01-02'": "2026-01-02", "'infinity'": "infinity"}),
    (
        "c_uuid",
        "uuid",
        Kind.UUID,
        False,
        {"'0193B3A0-0000-7000-8000-000000000000'": "0193b3a0-0000-7000-8000-000000000000"},
    ),
    ("c_json", "json", Kind.JSON, False, {'\'{"b": [1, {}],  "a": null}\'': {"b": [1, {}], "a": None}}),
    (
        "c_jsonb",
        "jsonb",
        Kind.JSON,
        False,
        {'\'[1.50, "ü", {"x": {"y": []}}]\'': [1.5, "ü", {"x": {"y": []}}], "'null'": None},
    ),
    ("c_bytea", "bytea", Kind.BYTES, False, {r"'\x00ff10'": "AP8Q", "''": ""}),
    (
        "c_texts",
        "text[]",
        Kind.TEXT,
        True,
        {
            "'{}'": [],
            "ARRAY['a', NULL, 'NULL', '', 'b c', '{\"', E'\\\\']": ["a", None, "NULL", "", "b c", '{"', "\\"],
            "ARRAY[['a', 'b'], ['c', NULL]]": [["a", "b"], ["c", None]],
            "'[0:1]={a,b}'": ["a", "b"],
        },
    ),
    ("c_int8s", "bigint[]", Kind.INTEGER, True, {"ARRAY[1, 9007199254740993, NULL]": [1, "9007199254740993", None]}),
    ("c_numerics", "numeric[]", Kind.DECIMAL, True, {"ARRAY[1.5, 'NaN']": [1.5, "NaN"]}),
    ("c_float8s", "float8[]", Kind.FLOAT, True, {"ARRAY[0.5, 'Infinity']": [0.5, "Infinity"]}),
    ("c_bools", "boolean[]", Kind.BOOLEAN, True, {"ARRAY[true, false, NULL]": [True, False, None]}),
    (
        "c_timestamptzs",
        "timestamptz[]",
        Kind.TIMESTAMPTZ,
        True,
        {"ARRAY['2026-01-02 03:04:05.5+00'::timestamptz, 'infinity']": ["2026-01-02T03:04:05.500Z", "infinity"]},
    ),
    ("c_dates", "date[]", Kind.DATE, True, {"ARRAY['2026-01-02'::date]": ["2026-01-02"]}),
    (
        "c_uuids",
        "uuid[]",
        Kind.UUID,
        True,
        {"'{0193b3a0-0000-7000-8000-000000000000}'": ["0193b3a0-0000-7000-8000-000000000000"]},
    ),
    (
        "c_jsonbs",
        "jsonb[]",
        Kind.JSON,
        True,
        {"ARRAY['{\"a\": \"b,{}\\\\\"}'::jsonb, 'null', NULL]": [{"a": "b,{}\\"}, None, None]},
    ),
    ("c_byteas", "bytea[]", Kind.BYTES, True, {r"ARRAY['\x00'::bytea, '']": ["AA==", ""]}),
    ("c_enums", "mood[]", Kind.TEXT, True, {"'{sad,\"so so\"}'": ["sad", "so so"]}),
    (
        "c_long",
        "text",
        Kind.TEXT,
        False,
        {"(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 1000) AS i)": ...},
    ),
]

MODEL = Model(
    "things",
    "Thing",
    "thing",
    "public",
    "things",
    "id",
    None,
    (
        Field("id", "id", Kind.TEXT, "text", base=True),
        *(Field(column, column, kind, sql_type, array) for column, sql_type, kind, array, _ in COLUMNS),
    ),
)
SCHEMA = ActiveSchema(1, "", None, (MODEL,))


@pytest.fixture
async def stream(database: Database) -> AsyncIterator[tuple[Database, Replication]]:
    """The table of all types, published, and a stream of it."""
    database.execute("CREATE TYPE mood AS ENUM ('sad', 'so so')")
    columns = ", ".join(f"{column} {sql_type}" for column, sql_type, *_ in COLUMNS)
    database.execute(f"CREATE TABLE things (id text PRIMARY KEY, {columns})")
    database.execute("CREATE PUBLICATION pgsync FOR TABLE things")
    # what the database would choose must not matter
    for setting in ("TimeZone = 'Asia/Tokyo'", "DateStyle = 'German'", "IntervalStyle = 'postgres_verbose'"):
        database.execute(f"ALTER DATABASE {database.name} SET {setting}")
    for setting in ("extra_float_digits = -10", "bytea_output = 'escape'"):
        database.execute(f"ALTER DATABASE {database.name} SET {setting}")
    replication = await Replication.connect(database.dsn, application_name="test")
    await replication.create_slot(f"pgsync_{database.name}")
    await replication.start(f"pgsync_{database.name}", publication="pgsync")
    yield database, replication
    await replication.close()


async def _changes(replication: Replication, count: int) -> list[Change]:
    grouper = Grouper(SCHEMA)
    changes: list[Change] = []
    async with asyncio.timeout(WAIT_SECONDS):  # the connection is of no use after this one anyway
        while len(changes) < count:
            for data in await replication.read():
                if (group := grouper.take(data)) is not None:
                    changes += group.transaction.changes
    return changes


def _read(database: Database) -> dict[str, bytes]:
    """The rows as the gateway reads them: text format, the settings of SESSION_SETTINGS, the same encoder."""
    encode = row_encoder(MODEL)
    columns = ", ".join(f.column for f in MODEL.fields)
    with psycopg.connect(with_settings(database.dsn)) as connection:
        connection.pgconn.exec_(b"BEGIN")
        result = connection.pgconn.exec_(f"SELECT {columns} FROM public.things".encode())
        rows = [[result.get_value(i, j) for j in range(result.nfields)] for i in range(result.ntuples)]
        return {(row[0] or b"").decode(): encode(row) for row in rows}


async def test_read_and_delta_are_the_same_bytes_for_every_type(stream: tuple[Database, Replication]) -> None:
    database, replication = stream
    expected: dict[str, tuple[str, object]] = {}
    for column, sql_type, _, _, literals in COLUMNS:
        for i, (literal, value) in enumerate(literals.items()):
            row_id = f"{column}.{i}"
            database.execute(f"INSERT INTO things (id, {column}) VALUES ('{row_id}', ({literal})::{sql_type})")
            expected[row_id] = (column, value)
    deltas = {change.row_id: change.data for change in await _changes(replication, len(expected))}
    assert deltas == _read(database)
    for row_id, (column, value) in expected.items():
        row = orjson.loads(deltas[row_id] or b"")
        assert value is ... or row[column] == value, (row_id, row[column], value)
        assert {name for name, other in row.items() if other is not None} <= {"id", column}


async def test_unchanged_large_value_is_left_out_and_never_null(stream: tuple[Database, Replication]) -> None:
    database, replication = stream
    long = "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 1000) AS i)"
    database.execute(f"INSERT INTO things (id, c_long, c_bool) VALUES ('x', {long}, true)")
    database.execute("UPDATE things SET c_bool = false")
    database.execute("ALTER TABLE things REPLICA IDENTITY FULL")
    database.execute("UPDATE things SET c_bool = NULL")
    database.execute("UPDATE things SET id = 'y'")
    database.execute("UPDATE things SET c_long = NULL")
    rows = [orjson.loads(change.data or b"null") for change in await _changes(replication, 6)]
    assert len(rows[0]["c_long"]) == 32_000
    assert "c_long" not in rows[1]
    assert rows[1]["c_bool"] is False
    assert "c_long" not in rows[2]
    assert rows[3] is None, "the old id is deleted"
    assert rows[4] == rows[0] | {"id": "y", "c_bool": None}, "the new id arrives whole"
    assert rows[5]["c_long"] is None
