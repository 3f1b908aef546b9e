"""SELECTs composed from a model: identifiers are quoted, values are parameters, nonsense is refused by its name."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsync.errors import PgsyncError
from pgsync.gateway.condition import MAX_LISTED, MAX_TUPLES, filter_value
from pgsync.gateway.query import MAX_LIMIT, ModelReader, check_id
from pgsync.gateway.snapshot import widen
from pgsync.models import Field, Kind, Model
from pgsync.stream.timeline import Snapshot

TASK = Model(
    key="tasks",
    typename="Task",
    name="task",
    namespace="public",
    table="my tasks",
    id_column="id",
    tenant_column="organization_id",
    fields=(
        Field("id", "id", Kind.TEXT, "text", required=True, base=True),
        Field("title", "title", Kind.TEXT, "text", required=True),
        Field("status", "status", Kind.TEXT, "text", enum_values=("todo", "done")),
        Field("isDone", "is_done", Kind.BOOLEAN, "boolean"),
        Field("count", "count", Kind.INTEGER, "integer"),
        Field("price", "price", Kind.DECIMAL, "numeric"),
        Field("ref", "ref", Kind.UUID, "uuid"),
        Field("dueAt", "due_at", Kind.TIMESTAMPTZ, "timestamp with time zone"),
        Field("day", "day", Kind.DATE, "date"),
        Field("tags", "tags", Kind.TEXT, "text[]", array=True),
        Field("meta", "meta", Kind.JSON, "jsonb"),
    ),
)
READER = ModelReader(TASK, version=3)


def refused(parameters: list[tuple[str, str]]) -> tuple[str, str | None]:
    with pytest.raises(PgsyncError) as caught:
        READER.page(parameters)
    return caught.value.code, caught.value.param


GUARD = """WHERE (SELECT pgsync.require_guard_v1('"public"."my tasks"'::pg_catalog.regclass))"""


def text_of(parameters: list[tuple[str, str]]) -> str:
    return READER.page(parameters).call.statement.sql.decode()


def test_row_by_id_is_one_prepared_statement_of_the_version() -> None:
    call = READER.one("x' OR true")
    assert call.statement.name == b"v3_task_one"
    assert call.statement.sql.startswith(b'SELECT "id", "title"')
    assert call.statement.sql.decode().endswith(f', xmin FROM "public"."my tasks" {GUARD} AND "id" = $1')
    assert call.parameters == (b"x' OR true",)


def test_filters_are_equalities_of_parameters() -> None:
    page = READER.page([("status", "todo"), ("isDone", "true"), ("limit", "10")])
    assert b' AND "status" = $2 AND "is_done" = $3 ORDER BY "id" LIMIT $1' in page.call.statement.sql
    assert page.call.parameters == (b"11", b"todo", b"true")


def test_order_by_has_the_id_as_tie_breaker_in_the_same_direction() -> None:
    assert text_of([("order_by", "title"), ("order", "desc")]).endswith('ORDER BY "title" DESC, "id" DESC LIMIT $1')
    assert text_of([("order_by", "id"), ("order", "desc")]).endswith('ORDER BY "id" DESC LIMIT $1')


@pytest.mark.parametrize(
    ("parameters", "code", "param"),
    [
        ([("nope", "1")], "query_invalid_identifier", "nope"),
        ([("order_by", "nope")], "query_invalid_identifier", "order_by"),
        ([("is_done", "true")], "query_invalid_identifier", "is_done"),
        ([("isDone", "1")], "query_invalid_boolean", "isDone"),
        ([("isDone", "")], "query_invalid_boolean", "isDone"),
        ([("count", "many")], "model_query_failed", "count"),
        ([("count", "2147483648")], "model_query_failed", "count"),
        ([("count", "1.5")], "model_query_failed", "count"),
        ([("price", "1e")], "model_query_failed", "price"),
        ([("ref", "not-a-uuid")], "model_query_failed", "ref"),
        ([("dueAt", "soon")], "model_query_failed", "dueAt"),
        ([("day", "2026-02-30")], "model_query_failed", "day"),
        ([("status", "maybe")], "model_query_failed", "status"),
        ([("title", "a\0b")], "model_query_failed", "title"),
        ([("title", "\udcff")], "model_query_failed", "title"),
        ([("tags", "a")], "model_query_failed", "tags"),
        ([("meta", "{}")], "model_query_failed", "meta"),
        ([("order_by", "meta")], "model_query_failed", "order_by"),
        ([("order", "up")], "model_query_failed", "order"),
        ([("limit", "0")], "model_query_failed", "limit"),
        ([("limit", str(MAX_LIMIT + 1))], "model_query_failed", "limit"),
        ([("limit", "²")], "model_query_failed", "limit"),
        ([("starting_after", "garbage")], "model_query_failed", "starting_after"),
        ([("starting_after", "ü")], "model_query_failed", "starting_after"),
        ([("starting_after", "bnVsbA")], "model_query_failed", "starting_after"),
    ],
)
def test_nonsense_is_refused_with_its_parameter(parameters: list[tuple[str, str]], code: str, param: str) -> None:
    assert refused(parameters) == (code, param)


@given(st.text())
def test_any_text_as_a_filter_becomes_a_parameter_or_is_refused(text: str) -> None:
    try:
        call = READER.page([("title", text)]).call
    except PgsyncError:
        assert "\0" in text or re.search("[\ud800-\udfff]", text)
    else:
        assert call.parameters[1] == text.encode()


CONDITIONS: list[tuple[Any, str, list[bytes]]] = [
    ([["title", "a"]], '"title" = $2', [b"a"]),
    (["title", "=", "a"], '"title" = $2', [b"a"]),
    (["isDone", "!=", True], '"is_done" != $2', [b"true"]),
    (["count", ">=", -3], '"count" >= $2', [b"-3"]),
    (["count", "<", "7"], '"count" < $2', [b"7"]),
    (["dueAt", "<=", "2026-01-02T03:04:05.000Z"], '"due_at" <= $2', [b"2026-01-02T03:04:05.000Z"]),
    (["status", "in", ["todo", "done"]], '"status" IN ($2, $3)', [b"todo", b"done"]),
    (["status", "not  in", ["todo"]], '"status" NOT IN ($2)', [b"todo"]),
    (["status", "IN", []], "false", []),
    (["status", "NOT IN", []], "true", []),
    (["count", "IS", None], '"count" IS NULL', []),
    (["meta", "IS NOT", None], '"meta" IS NOT NULL', []),
    (["tags", "IS", None], '"tags" IS NULL', []),
    (["isDone", "IS", True], '"is_done" IS NOT DISTINCT FROM $2', [b"true"]),
    (["count", "IS NOT", 3], '"count" IS DISTINCT FROM $2', [b"3"]),
    (["title", "LIKE", "a%"], '"title" LIKE $2', [b"a%"]),
    (["title", "NOT ILIKE", "_\\_"], '"title" NOT ILIKE $2', [b"_\\_"]),
    ([["count", ">", 1], ["count", "<", 9]], '"count" > $2 AND "count" < $3', [b"1", b"9"]),
]


@pytest.mark.parametrize(("tuples", "condition", "values"), CONDITIONS)
def test_tuples_are_conditions_on_parameters(tuples: Any, condition: str, values: list[bytes]) -> None:
    call = READER.page([("where", json.dumps(tuples))]).call
    assert f"{GUARD} AND {condition} ORDER BY " in call.statement.sql.decode()
    assert call.parameters == (b"1001", *values)


def test_tuples_join_equalities_and_each_other() -> None:
    page = READER.page(
        [("where", '["count",">",1]'), ("status", "todo"), ("where", "[]"), ("where", '["count","<",9]')]
    )
    assert b' AND "count" > $2 AND "status" = $3 AND "count" < $4 ORDER BY' in page.call.statement.sql


def test_tuples_with_more_values_than_a_statement_takes_are_refused() -> None:
    def where(tuples: int) -> list[tuple[str, str]]:
        return [("where", json.dumps([["title", "IN", ["x"] * 1000]] * tuples))]

    assert len(READER.page(where(10)).call.parameters) == 10_001
    with pytest.raises(PgsyncError, match="at most 10000 values") as refused:
        READER.page(where(11))
    assert (refused.value.code, refused.value.param) == ("model_query_failed", "where")


def test_number_of_a_tuple_keeps_its_digits() -> None:
    call = READER.page([("where", '["price",">",123456789012345678901234567890.12345]')]).call
    assert call.parameters[1] == b"123456789012345678901234567890.12345"


def test_pattern_matches_an_enumerated_type_as_text() -> None:
    model = Model(
        "n", "N", "n", "public", "n", "id", None, (*TASK.fields[:1], Field("mood", "mood", Kind.TEXT, "mood"))
    )
    call = ModelReader(model, 1).page([("where", '["mood","LIKE","h%"]')]).call
    assert b' AND "mood"::text LIKE $2 ORDER BY' in call.statement.sql


@pytest.mark.parametrize(
    ("tuples", "code", "param"),
    [
        ("[", "model_query_failed", "where"),
        ("{}", "model_query_failed", "where"),
        ("[" * 100_000, "model_query_failed", "where"),
        ('["count",">",NaN]', "model_query_failed", "where"),
        (json.dumps([["count", 1]] * (MAX_TUPLES + 1)), "model_query_failed", "where"),
        ('[["count",1],["nope",1]]', "query_invalid_identifier", "where[1]"),
        ('["count; --",1]', "query_invalid_identifier", "where[0]"),
        ("[[]]", "model_query_failed", "where[0]"),
        ('[["count"]]', "model_query_failed", "where[0]"),
        ('[["count","=",1,2]]', "model_query_failed", "where[0]"),
        ('["count","~",1]', "model_query_failed", "where[0]"),
        ('["count","= 1 OR",1]', "model_query_failed", "where[0]"),
        ('["count","=",null]', "model_query_failed", "where[0]"),
        ('["count","=",true]', "model_query_failed", "where[0]"),
        ('["count","=",1.5]', "model_query_failed", "where[0]"),
        ('["count","=",[1]]', "model_query_failed", "where[0]"),
        ('["count","IN",1]', "model_query_failed", "where[0]"),
        ('["count","IN",[1,null]]', "model_query_failed", "where[0]"),
        (json.dumps(["count", "IN", [1] * (MAX_LISTED + 1)]), "model_query_failed", "where[0]"),
        ('["count","LIKE","1%"]', "model_query_failed", "where[0]"),
        ('["title","LIKE",1]', "model_query_failed", "where[0]"),
        ('["title","LIKE","a\\\\\\\\\\\\"]', "model_query_failed", "where[0]"),
        ('["title","LIKE","\\ud800"]', "model_query_failed", "where[0]"),
        ('["title","=",1]', "model_query_failed", "where[0]"),
        ('["title","=",{"a":1}]', "model_query_failed", "where[0]"),
        ('["title","=","\\u0000"]', "model_query_failed", "where[0]"),
        ('["isDone","=","maybe"]', "query_invalid_boolean", "where[0]"),
        ('["status","=","maybe"]', "model_query_failed", "where[0]"),
        ('["tags","=","a"]', "model_query_failed", "where[0]"),
        ('["meta","LIKE","a"]', "model_query_failed", "where[0]"),
    ],
)
def test_wrong_tuple_is_refused_with_its_place(tuples: str, code: str, param: str) -> None:
    assert refused([("where", tuples)]) == (code, param)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@given(
    st.sampled_from([field.name for field in TASK.fields]),
    st.sampled_from(["=", "!=", "<", "IN", "NOT IN", "IS", "LIKE", "NOT ILIKE"]),
    SCALARS | st.lists(SCALARS, max_size=3),
)
def test_no_value_of_a_tuple_reaches_the_statement(name: str, operator: str, value: Any) -> None:
    try:
        call = READER.page([("where", json.dumps([name, operator, value]))]).call
    except PgsyncError:
        return
    places = set(re.findall(rb"\$\d+", call.statement.sql))
    assert len(places) == len(call.parameters)
    column = TASK.field(name)
    assert column is not None
    condition = call.statement.sql.decode().partition(f"{GUARD} AND ")[2].partition(" ORDER BY ")[0]
    assert re.fullmatch(
        rf'"{column.column}" ({operator}|IS NOT DISTINCT FROM) (NULL|\$2|\((\$\d(, )?)+\))|true|false', condition
    )


@pytest.mark.parametrize("value", ["0", "-1.5", ".5", "1e3", "NaN", "-Infinity"])
def test_every_spelling_of_a_number_is_taken(value: str) -> None:
    assert filter_value(Field("price", "price", Kind.DECIMAL, "numeric"), value) == value.encode()


def test_id_must_fit_the_models_id_type() -> None:
    fields = (Field("id", "id", Kind.INTEGER, "bigint", required=True, base=True),)
    numbered = Model("n", "N", "n", "public", "n", "id", None, fields)
    assert check_id(numbered, "9223372036854775807")
    for wrong in ("x", "9223372036854775808", "", "x" * 300):
        with pytest.raises(PgsyncError) as caught:
            check_id(numbered, wrong)
        assert (caught.value.code, caught.value.param) == ("invalid_id", "id")


@pytest.mark.parametrize("xmax", [3, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 32) + 3, 7 << 33])
@pytest.mark.parametrize("distance", [0, 1, 5, 1 << 20, (1 << 31) - 1])
def test_last_writer_of_a_row_is_the_transaction_that_the_snapshot_sees(xmax: int, distance: int) -> None:
    if (xid := xmax - distance) >= 3:
        assert widen(xid & 0xFFFFFFFF, Snapshot(xmax, xmax, frozenset())) == xid
