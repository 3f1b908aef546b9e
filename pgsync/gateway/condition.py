"""Filters of lists: from what a caller wrote to SQL conditions whose values are parameters.

Two forms: typed equality, one query parameter per field, and tuples `[field, operator, value]` of the `where`
parameter. They mean what SQL means: a comparison with a null is not true, nor is its negation; `IS` and `IS NOT` see
nulls.
"""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, NoReturn

from psycopg import sql

from pgsync import wire
from pgsync.errors import PgsyncError
from pgsync.models import Field, Kind, Model

MAX_TUPLES: Final = 100
MAX_LISTED: Final = 1000
MAX_VALUES: Final = 10_000  # of all tuples together; Postgres takes no statement with more than 65,535
UNCOMPARABLE: Final = frozenset({Kind.JSON, Kind.BYTES})

_COMPARISONS: Final = frozenset({"=", "!=", "<", "<=", ">", ">="})
_LISTS: Final = frozenset({"IN", "NOT IN"})
_IDENTITIES: Final = {"IS": "IS NOT DISTINCT FROM", "IS NOT": "IS DISTINCT FROM"}
_PATTERNS: Final = frozenset({"LIKE", "NOT LIKE", "ILIKE", "NOT ILIKE"})
_OPERATORS: Final = (*sorted(_COMPARISONS), *sorted(_LISTS), *_IDENTITIES, *sorted(_PATTERNS))
_NUMBERS: Final = frozenset({Kind.INTEGER, Kind.FLOAT, Kind.DECIMAL})

_INTEGER = re.compile(r"[+-]?[0-9]{1,40}\Z")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?\Z|[+-]?Infinity\Z|NaN\Z")
_INTEGER_BITS: Final = {"smallint": 16, "integer": 32, "bigint": 64}


class _Digits(str):
    """A JSON number as it is spelled: a float would lose digits of a numeric or bigint."""

    __slots__ = ()


def equality(model: Model, name: str, text: str, values: list[bytes]) -> sql.Composable:
    """The condition of a query parameter `name=text`; its value is appended to `values`.

    Raises query_invalid_identifier, query_invalid_boolean, model_query_failed.
    """
    field = _field(model, name, name)
    if field.array or field.kind in UNCOMPARABLE:
        wire.refuse("model_query_failed", f"a list cannot be filtered by {name}", param=name)
    values.append(filter_value(field, text))
    return sql.SQL("{} = {}").format(sql.Identifier(field.column), place(len(values)))


@dataclass(frozen=True, slots=True)
class Term:
    """One checked tuple: `operator` as the caller means it, `values` in Postgres text form, None for IS (NOT) null."""

    field: Field
    operator: str
    values: tuple[str, ...] | None
    param: str


def where(model: Model, text: str, values: list[bytes]) -> list[sql.Composable]:
    """The conditions of a `where` parameter: a JSON array of `[field, value]` or `[field, operator, value]`, or one.

    All of them hold for a row of the list. Raises query_invalid_identifier, query_invalid_boolean, model_query_failed
    with `where[<index>]` as the place.
    """
    return [to_sql(term, values) for term in terms(model, text)]


def terms(model: Model, text: str, param: str = "where") -> list[Term]:
    """The checked tuples of a `where` parameter. Raises as `where`."""
    return terms_of(model, parse(text, param), param)


def parse(text: str, param: str = "where") -> Any:
    """A `where` parameter as JSON whose numbers keep their spelling. Raises model_query_failed."""
    try:
        return json.loads(text, parse_int=_Digits, parse_float=_Digits, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise PgsyncError("model_query_failed", f"{param} is not JSON", param=param) from error


def terms_of(model: Model, parsed: Any, param: str = "where") -> list[Term]:
    """The checked tuples of what `parse` gave. Raises as `where`."""
    if isinstance(parsed, list) and parsed and isinstance(parsed[0], str):
        parsed = [parsed]
    if not isinstance(parsed, list) or len(parsed) > MAX_TUPLES:
        wire.refuse(
            "model_query_failed",
            f"where is a JSON array of at most {MAX_TUPLES} tuples [field, operator, value]",
            param=param,
        )
    found = [_term(model, one, f"{param}[{index}]") for index, one in enumerate(parsed)]
    if sum(len(term.values or ()) for term in found) > MAX_VALUES:
        wire.refuse("model_query_failed", f"the tuples of a where have at most {MAX_VALUES} values", param=param)
    return found


def to_sql(term: Term, values: list[bytes]) -> sql.Composable:
    """The condition in SQL; its values are appended to `values`."""
    column = sql.Identifier(term.field.column)
    if term.values is None:
        return sql.SQL("{} {} NULL").format(column, sql.SQL(term.operator))
    places: list[sql.Composable] = []
    for value in term.values:
        values.append(value.encode())
        places.append(place(len(values)))
    if term.operator in _LISTS:
        if not places:
            return sql.SQL("false" if term.operator == "IN" else "true")
        return sql.SQL("{} {} ({})").format(column, sql.SQL(term.operator), sql.SQL(", ").join(places))
    if term.operator in _PATTERNS:
        column_text = _as_text(term.field)
        return sql.SQL("{} {} {}").format(column_text, sql.SQL(term.operator), places[0])
    operator = _IDENTITIES.get(term.operator, term.operator)
    return sql.SQL("{} {} {}").format(column, sql.SQL(operator), places[0])


def filter_value(field: Field, text: str, param: str | None = None) -> bytes:
    """The value of a query parameter in Postgres text form, if the field can hold it.

    Raises query_invalid_boolean, model_query_failed.
    """
    if field.kind is Kind.BOOLEAN:
        if text not in ("true", "false"):
            wire.refuse("query_invalid_boolean", f"{field.name} is true or false", param=param or field.name)
    elif not can_hold(field, text):
        wire.refuse("model_query_failed", f"{field.name} cannot be that value", param=param or field.name)
    return text.encode()


def can_hold(field: Field, text: str) -> bool:
    """Whether a field can have the value that Postgres would read from this text."""
    if not _is_storable(text):
        return False
    try:
        match field.kind:
            case Kind.INTEGER:
                bits = _INTEGER_BITS.get(field.sql_type, 64)
                return _INTEGER.match(text) is not None and -(2 ** (bits - 1)) <= int(text) < 2 ** (bits - 1)
            case Kind.FLOAT | Kind.DECIMAL:
                return _NUMBER.match(text) is not None
            case Kind.UUID:
                return len(text) == 36 and bool(uuid.UUID(text))
            case Kind.DATE:
                return text in ("infinity", "-infinity") or bool(date.fromisoformat(text))
            case Kind.TIMESTAMPTZ | Kind.TIMESTAMP:
                return text in ("infinity", "-infinity") or bool(datetime.fromisoformat(text))
            case Kind.BOOLEAN:
                return text in ("true", "false")
            case _:
                return field.enum_values is None or text in field.enum_values
    except ValueError:
        return False


def place(number: int) -> sql.SQL:
    """The place of a parameter."""
    return sql.SQL(f"${number}")


def _term(model: Model, one: Any, param: str) -> Term:
    match one:
        case [str(name), value]:
            operator = "="
        case [str(name), str(written), value]:
            operator = " ".join(written.upper().split())
        case _:
            wire.refuse("model_query_failed", "a tuple is [field, operator, value]", param=param)
    if operator not in _OPERATORS:
        wire.refuse("model_query_failed", f"an operator is one of {', '.join(_OPERATORS)}", param=param)
    field = _field(model, name, param)
    if operator in _IDENTITIES and value is None:
        return Term(field, operator, None, param)
    if field.array or field.kind in UNCOMPARABLE:
        wire.refuse("model_query_failed", f"{name} can only be compared with IS null and IS NOT null", param=param)
    if operator in _PATTERNS:
        if field.kind is not Kind.TEXT:
            wire.refuse("model_query_failed", f"{field.name} is no text: LIKE does not apply", param=param)
        return Term(field, operator, (_pattern(field, value, param),), param)
    if operator in _LISTS:
        if not isinstance(value, list) or len(value) > MAX_LISTED:
            limit = f"{operator} takes an array of at most {MAX_LISTED} values"
            wire.refuse("model_query_failed", limit, param=param)
        return Term(field, operator, tuple(_scalar(field, element, param) for element in value), param)
    return Term(field, operator, (_scalar(field, value, param),), param)


def _as_text(field: Field) -> sql.Composable:
    column = sql.Identifier(field.column)
    if field.sql_type in ("text", "citext") or field.sql_type.startswith("character"):
        return column
    return sql.SQL("{}::text").format(column)  # an enumerated type, say, has no LIKE of its own


def _pattern(field: Field, value: Any, param: str) -> str:
    if type(value) is not str or not _is_storable(value):
        wire.refuse("model_query_failed", f"{field.name} is compared with a pattern, which is text", param=param)
    if (len(value) - len(value.rstrip("\\"))) % 2:  # Postgres would mind only when a row matches that far
        wire.refuse("model_query_failed", "a pattern may not end inside an escape", param=param)
    return value


def _scalar(field: Field, value: Any, param: str) -> str:
    """A JSON scalar of the kind that the field's values have, in Postgres text form."""
    if value is None:
        wire.refuse("model_query_failed", "null is compared with IS or IS NOT", param=param)
    if isinstance(value, bool) and field.kind is Kind.BOOLEAN:
        text = "true" if value else "false"
    elif isinstance(value, _Digits) and field.kind not in _NUMBERS:
        wire.refuse("model_query_failed", f"{field.name} is no number", param=param)
    elif isinstance(value, str):
        text = value
    else:
        wire.refuse("model_query_failed", f"{field.name} cannot be that value", param=param)
    return filter_value(field, text, param).decode()


def _field(model: Model, name: str, param: str) -> Field:
    field = model.field(name)
    if field is None:
        wire.refuse("query_invalid_identifier", f"model {model.key} has no field {name!r}", param=param)
    return field


def _is_storable(text: str) -> bool:
    return "\0" not in text and wire.is_text(text)


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
