"""SELECTs composed from a model: identifiers are quoted, values are parameters, nonsense is refused by its name."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsync.errors import PgsyncError
from pgsync.gateway.query import MAX_LIMIT, ModelReader, check_id, filter_value
from pgsync.models import Field, Kind, Model

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


def text_of(parameters: list[tuple[str, str]]) -> str:
    return READER.page(parameters).call.statement.sql.decode()


def test_row_by_id_is_one_prepared_statement_of_the_version() -> None:
    call = READER.one("x' OR true")
    assert call.statement.name == b"v3_task_one"
    assert call.statement.sql.startswith(b'SELECT "id", "title"')
    assert call.statement.sql.endswith(b', xmin FROM "public"."my tasks" WHERE "id" = $1')
    assert call.parameters == (b"x' OR true",)


def test_filters_are_equalities_of_parameters() -> None:
    page = READER.page([("status", "todo"), ("isDone", "true"), ("limit", "10")])
    assert b'WHERE "status" = $2 AND "is_done" = $3 ORDER BY "id" LIMIT $1' in page.call.statement.sql
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
