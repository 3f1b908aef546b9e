"""A read rule means the same to row security and to the stream: for any rule, any row and any reader.

Rules, rows and readers are made from a seed. `--rules N` runs so many, with as many rows and readers as the long form
has; `--rules-seed S` begins at another seed.
"""

from __future__ import annotations

import itertools
import random
import types
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from pgsync import names
from pgsync.expression import Reader, RuleError, compile_rule, compile_verdict, parse_rule, render_rule, rule_of
from pgsync.models import ActiveSchema, Field, active_schema_from_json
from pgsync.push import push
from pgsync.schema import JSON, Model, Schema
from pgsync.schema.resolved import to_runtime
from pgsync.values import SESSION_OPTIONS
from tests.postgres import Server

RULES, ROWS = 24, 60
LONG_ROWS = 200
SEED: Final = 1

COLUMNS: Final[dict[str, Any]] = {
    "text_a": str | None,
    "text_b": str | None,
    "flag_a": bool | None,
    "flag_b": bool | None,
    "whole_a": int | None,
    "whole_b": int | None,
    "exact_a": Decimal | None,
    "exact_b": Decimal | None,
    "ratio_a": float | None,
    "ratio_b": float | None,
    "day_a": date | None,
    "day_b": date | None,
    "moment_a": datetime | None,
    "moment_b": datetime | None,
    "token_a": UUID | None,
    "token_b": UUID | None,
    "words": list[str] | None,
    "numbers": list[int] | None,
    "document": JSON | None,
}
ARRAYS: Final = {"words": "text", "numbers": "whole"}


# What a column may hold, as Postgres reads it: the edges of each type, and what looks alike but is not.
VALUES: Final[dict[str, Sequence[str]]] = {
    "text": (
        "",
        " ",
        "a",
        "A",
        "a ",
        "ä",
        "a\u0308",
        "Z",
        "z",
        "ß",
        "SS",
        "ss",
        "i",
        "I",
        "İ",
        "ı",
        "é",
        "\u00a0",
        "ab",
        "a\tb",
        "a\nb",
        "'",
        '"',
        "\\",
        "%",
        "_",
        "NULL",
        "null",
        "{}",
        "{a}",
        "🦉",
        "\ufeffa",
        "ann",
        "Ann",
        "user",
        "agent",
        "acme",
        "org:acme",
        "team:red",
        "6f9619ff-8b86-d011-b42d-00c04fc964ff",
        "6F9619FF-8B86-D011-B42D-00C04FC964FF",
        "0",
        "00",
    ),
    "flag": ("t", "f"),
    "whole": ("-2147483648", "-1", "0", "1", "2", "9", "10", "2147483647"),
    "exact": (
        "0",
        "-0",
        "0.0",
        "1",
        "1.0",
        "1.00",
        "1.5",
        "-1.5",
        "NaN",
        "Infinity",
        "-Infinity",
        "12345678901234567890.5",
        "1e-20",
        "10",
        "9",
    ),
    "ratio": (
        "0",
        "-0",
        "1",
        "1.5",
        "0.1",
        "0.30000000000000004",
        "NaN",
        "Infinity",
        "-Infinity",
        "1e308",
        "5e-324",
        "-1.5",
        "10",
    ),
    "day": (
        "2026-01-31",
        "2026-02-01",
        "0001-01-01",
        "0044-03-15 BC",
        "0044-03-16 BC",
        "12026-01-01",
        "infinity",
        "-infinity",
        "1999-12-31",
    ),
    "moment": (
        "2026-01-31 10:00:00+00",
        "2026-01-31 12:00:00+02",
        "2026-01-31 10:00:00.5+00",
        "2026-01-31 10:00:00.500001+00",
        "0044-03-15 00:00:00 BC",
        "infinity",
        "-infinity",
        "12026-01-01 00:00:00+00",
        "2026-01-31 09:59:59.999999+00",
    ),
    "token": (
        "00000000-0000-0000-0000-000000000000",
        "6f9619ff-8b86-d011-b42d-00c04fc964ff",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "00000000-0000-0000-0000-00000000000a",
    ),
    "words": (
        "{}",
        "{a}",
        "{A,b}",
        '{NULL,"a"}',
        '{"","NULL",NULL}',
        '{"a b","c,d","\\"","\\\\"}',
        "{{a,b},{c,ann}}",
        "{ann}",
        "[5:6]={x,ann}",
    ),
    "numbers": ("{}", "{1}", "{0,1,2}", "{NULL}", "{{1},{3}}", "{2147483647,-2147483648}", "[0:1]={1,9}"),
    "document": ("null", "{}", '{"a": [1, null]}', '"a"', "1"),
}
CONSTANTS: Final[dict[str, Sequence[str]]] = {
    "text": [
        "'" + value.replace("'", "''") + "'" for value in VALUES["text"] if "\t" not in value and "\n" not in value
    ],
    "flag": ("TRUE", "FALSE"),
    "whole": ("-2147483648", "-1", "0", "1", "2", "9", "10", "2147483647", "2147483648"),
    "exact": ("0", "1", "1.0", "1.5", "-1.5", "12345678901234567890.5", "10", "9.99"),
    "ratio": ("0", "1", "1.5", "0.1", "0.3", "-1.5", "10"),
    "day": ("'2026-01-31'", "'0001-01-01'", "'9999-12-31'"),
    "moment": (
        "'2026-01-31T10:00:00Z'",
        "'2026-01-31T12:00:00+02:00'",
        "'2026-01-31T10:00:00.5Z'",
        "'0001-01-01T00:00:00Z'",
    ),
    "token": (*(f"'{value}'" for value in VALUES["token"]), "'6F9619FF-8B86-D011-B42D-00C04FC964FF'"),
}
ACTOR_IDS: Final = ("ann", "Ann", "6f9619ff-8b86-d011-b42d-00c04fc964ff", "", "ä", "a")
READERS: Final = (
    Reader("ann", "user", "acme", frozenset({"org:acme", "team:red"})),
    Reader("6f9619ff-8b86-d011-b42d-00c04fc964ff", "agent", "acme", frozenset({"org:acme"})),
    Reader("ä", "system", "acme", frozenset({"org:acme", "a", "A", "", "🦉"})),
)


class _Maker:
    """Rules as text, from the grammar and a little beyond it: what the parser refuses is not asked."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def rule(self) -> str:
        return self._term(self.random.choice((1, 2, 2, 3, 3, 4)))

    def _term(self, depth: int) -> str:
        choose = self.random.choice
        if depth > 1 and self.random.random() < 0.75:
            connective = choose(("AND", "OR", "AND", "OR", "NOT"))
            if connective == "NOT":
                return f"NOT ({self._term(depth - 1)})"
            return f" {connective} ".join(f"({self._term(depth - 1)})" for _ in range(choose((2, 2, 3))))
        kind = choose(("text", "flag", "whole", "exact", "ratio", "day", "moment", "token", "text", "token"))
        match choose(("compare", "compare", "compare", "in", "null", "truth", "any", "actor", "actor", "between")):
            case "compare":
                return f"{self._side(kind)} {self._operator(kind)} {self._side(kind)}"
            case "in":
                items = ", ".join(self._side(kind) for _ in range(choose((1, 2, 3))))
                return f"{self._column(kind)} {choose(('IN', 'NOT IN'))} ({items})"
            case "null":
                column = choose(tuple(COLUMNS))
                return f"{column} IS {choose(('', 'NOT '))}NULL"
            case "truth":
                return choose((self._column("flag"), "TRUE", "FALSE", "flag_a = flag_b"))
            case "any":
                array = choose(tuple(ARRAYS))
                return f"{self._side(ARRAYS[array])} = ANY({array})"
            case "between":
                return f"{self._column(kind)} BETWEEN {self._side(kind)} AND {self._side(kind)}"
            case _:
                return choose(
                    (
                        f"{choose(('text_a', 'token_a', 'text_b'))} {choose(('=', '<>'))} actor.id",
                        f"actor.kind {choose(('=', '<>'))} {choose(('text_a', chr(39) + 'agent' + chr(39)))}",
                        f"actor.organization_id = {self._side('text')}",
                        f"{self._side('text')} = ANY(actor.groups)",
                        "actor.id = ANY(words)",
                        "actor.id IN (text_a, 'ann', text_b)",
                    )
                )

    def _operator(self, kind: str) -> str:
        return self.random.choice(("=", "<>") if kind == "text" else ("=", "<>", "<", "<=", ">", ">=", "!="))

    def _column(self, kind: str) -> str:
        return f"{kind}_{self.random.choice('ab')}"

    def _side(self, kind: str) -> str:
        return self._column(kind) if self.random.random() < 0.6 else self.random.choice(CONSTANTS[kind])

    def row(self) -> dict[str, str | None]:
        def value(column: str) -> str | None:
            kind = column if column in VALUES else column.split("_")[0]
            return None if self.random.random() < 0.15 else self.random.choice(VALUES[kind])

        return {column: value(column) for column in COLUMNS}


def test_row_security_and_the_stream_give_the_same_verdict(server: Server, pytestconfig: pytest.Config) -> None:
    asked: int | None = pytestconfig.getoption("--rules")
    seed: int = pytestconfig.getoption("--rules-seed")
    maker = _Maker(seed)
    fields = _fields()
    rules = [*itertools.islice(_accepted(maker, fields), asked or RULES)]
    rows = [maker.row() for _ in range(LONG_ROWS if asked else ROWS)]
    database = server.create_database()
    try:
        triples = 0
        for part in _batched(rules, 40):
            triples += _compare(database.dsn, database.dsn_as(names.GATEWAY), part, rows, seed)
        assert triples == len(rules) * len(rows) * len(READERS)
        if asked:
            pytestconfig.get_terminal_writer().line(f"{triples} triples of {len(rules)} rules, seed {seed}")
    finally:
        database.drop()


def _batched(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _fields() -> list[Field]:
    schema = Schema(_model("Plain", None))
    return [field for model in _runtime(schema) for field in model.fields]


def _runtime(schema: Schema) -> Sequence[Any]:
    return [to_runtime(model) for model in schema.resolved.models]


def _accepted(maker: _Maker, fields: list[Field]) -> Iterator[str]:
    """Rules that a push takes. Most of what the grammar makes has to be among them."""
    made = taken = 0
    while True:
        text = maker.rule()
        made += 1
        try:
            parse_rule(text, fields)
        except RuleError:
            assert made < 50 or taken > made / 3, f"only {taken} of {made} rules are taken, not: {text}"
            continue
        taken += 1
        yield text


def _model(name: str, rule: str | None) -> type[Model]:
    def body(namespace: dict[str, Any]) -> None:
        namespace["__annotations__"] = dict(COLUMNS)
        namespace["__module__"] = __name__
        namespace.update(dict.fromkeys(COLUMNS))

    made = types.new_class(name, (Model,), {"key": name.lower(), "table": name.lower(), "rule": rule}, body)
    assert issubclass(made, Model)
    return made


def _compare(dsn: str, gateway_dsn: str, rules: Sequence[str], rows: Sequence[dict[str, str | None]], seed: int) -> int:
    """Pushes the rules, each on a table of its own with the same rows, and compares; how many triples there were."""
    schema = Schema(*(_model(f"Ruled{number}", rule) for number, rule in enumerate(rules)))
    push(dsn, schema, migrate=True, force=True)
    with psycopg.connect(dsn, autocommit=True, options=SESSION_OPTIONS) as admin:
        admin.execute("TRUNCATE ruled0")
        _fill(admin, "ruled0", rows)
        for number in range(1, len(rules)):
            table = sql.Identifier(f"ruled{number}")
            admin.execute(sql.SQL("TRUNCATE {}").format(table))
            admin.execute(sql.SQL("INSERT INTO {} SELECT * FROM ruled0").format(table))
        # The text of the values as the log has it.
        columns = sql.SQL(", ").join(
            sql.SQL("left({}::text, 1)" if name.startswith("flag") else "{}::text").format(sql.Identifier(name))
            for name in COLUMNS
        )
        found = admin.execute(sql.SQL("SELECT id, {} FROM ruled0").format(columns)).fetchall()
        texts = {row_id: dict(zip(COLUMNS, values, strict=True)) for row_id, *values in found}
        active = _active(admin)
    triples = 0
    with psycopg.connect(gateway_dsn, autocommit=True) as gateway, psycopg.connect(dsn, autocommit=True) as admin:
        for reader, (number, text) in itertools.product(READERS, enumerate(rules)):
            model = next(m for m in active.models if m.table == f"ruled{number}")
            rule = rule_of(model)
            assert rule is not None
            matches, verdict = compile_rule(rule), compile_verdict(rule)
            with gateway.transaction():
                gateway.execute("SELECT pgsync.set_identity_v1(%s)", [_identity(reader)])
                seen = {
                    row_id
                    for (row_id,) in gateway.execute(
                        sql.SQL("SELECT id FROM {}").format(sql.Identifier(model.table))
                    ).fetchall()
                }
                said = sql.SQL("SELECT id, ({}) FROM {}").format(
                    sql.SQL(render_rule(rule)),
                    sql.Identifier(model.table),
                )
                told: dict[str, bool | None] = dict(gateway.execute(said).fetchall())
                # Who asks for fewer groups is shown fewer rows, never others.
                narrowed = _identity(reader, subscribed=[f"org:{reader.organization_id}"])
                gateway.execute("SELECT pgsync.set_identity_v1(%s)", [narrowed])
                few = gateway.execute(sql.SQL("SELECT id FROM {}").format(sql.Identifier(model.table))).fetchall()
                assert {row_id for (row_id,) in few} == seen, f"seed {seed}: {text!r} for {reader}"
            assert _seen_in_log(admin, reader, model.name) == seen, f"seed {seed}: {text!r} for {reader}"
            for row_id, row in texts.items():
                triples += 1
                where = f"seed {seed}: {text!r} for {reader} on {row}"
                assert matches(row, reader) is (row_id in seen), where
                if row_id in told:
                    assert verdict(row, reader) is told[row_id], where
    return triples


def _seen_in_log(admin: psycopg.Connection[Any], reader: Reader, model: str) -> set[str]:
    """The rows that the change log says the reader saw enter: premises are judged by what it keeps of their values."""
    with admin.transaction():
        admin.execute("SELECT pgsync.set_identity_v1(%s)", [_identity(reader)])
        query = (
            "SELECT c.row_id FROM pgsync_private.change AS c WHERE c.model = %s AND c.op = 'I'"
            " AND c.seq > (SELECT max(t.seq) FROM pgsync_private.change AS t WHERE t.model = c.model AND t.op = 'T')"
            " AND pgsync_generated.seen_as(c, true) = 'E'"
        )
        return {row_id for (row_id,) in admin.execute(query, [model]).fetchall()}


def _fill(admin: psycopg.Connection[Any], table: str, rows: Sequence[dict[str, str | None]]) -> None:
    statement = sql.SQL("INSERT INTO {} (organization_id, id, {}) VALUES ('acme', %s, {})").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, COLUMNS)),
        sql.SQL(", ").join(sql.Placeholder() * len(COLUMNS)),
    )
    with admin.cursor() as cursor:
        cursor.executemany(statement, [(str(number), *row.values()) for number, row in enumerate(rows)])


def _active(admin: psycopg.Connection[Any]) -> ActiveSchema:
    row = admin.execute("SELECT pgsync.schema_v1()").fetchone()
    assert row is not None
    return active_schema_from_json(row[0])


def _identity(reader: Reader, **more: Any) -> Jsonb:
    return Jsonb(
        {
            "organizationId": reader.organization_id,
            "participantKind": reader.kind,
            "participantId": reader.id,
            "syncGroups": sorted(reader.groups),
            "operations": [],
        }
        | more
    )
