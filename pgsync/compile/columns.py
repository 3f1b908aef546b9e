"""How a field's JSON becomes its column's value, and how a default stands in SQL.

The JSON forms are those of `pgsync.values`, which encodes the other way round.
"""

from __future__ import annotations

import json
from typing import Any

from pgsync.models import Kind
from pgsync.names import literal
from pgsync.schema.resolved import ResolvedField

_STRING = "a string"
_EXPECTED = {
    Kind.TEXT: ("'string'", _STRING),
    Kind.INTEGER: ("'number', 'string'", "a number, or a string of digits"),
    Kind.FLOAT: ("'number', 'string'", "a number, or the string NaN, Infinity or -Infinity"),
    Kind.DECIMAL: ("'number', 'string'", "a number, or a string of digits"),
    Kind.BOOLEAN: ("'boolean'", "true or false"),
    Kind.TIMESTAMPTZ: ("'string'", "a string such as 2026-01-02T03:04:05.000Z"),
    Kind.TIMESTAMP: ("'string'", "a string such as 2026-01-02T03:04:05.000"),
    Kind.DATE: ("'string'", "a string such as 2026-01-02"),
    Kind.UUID: ("'string'", "a string such as 123e4567-e89b-12d3-a456-426614174000"),
    Kind.BYTES: ("'string'", "a base64 string"),
}


def cast_of(field: ResolvedField) -> str:
    """The type that a write turns the text of an (element's) value into; "" for none."""
    return field.sql_type.removesuffix("[]") if field.cast is None else field.cast


def is_assigned(field: ResolvedField) -> bool:
    """Whether only the assignment to the column tells if a value fits: it is longer, or not of the domain."""
    return cast_of(field) not in ("text", field.sql_type.removesuffix("[]")) or "(" in field.sql_type


def expected(field: ResolvedField) -> tuple[str, str] | None:
    """The JSON types that a field takes, as an SQL list and in words; None when it takes any."""
    if field.array:
        return "'array', 'null'", "an array"
    if field.kind is Kind.JSON:
        return None
    types, words = _EXPECTED[field.kind]
    return f"{types}, 'null'", words


def from_data(field: ResolvedField) -> str:
    """The SQL expression that takes the field's value out of `p_data`; SQL null when it is absent or null."""
    name = literal(field.name)
    if field.array:
        return (
            f"CASE WHEN pg_catalog.jsonb_typeof(p_data -> {name}) = 'array' THEN ARRAY("
            f"SELECT e.e{_cast(cast_of(field))}"
            f" FROM pg_catalog.jsonb_array_elements_text(p_data -> {name}) WITH ORDINALITY AS e(e, n) ORDER BY e.n) END"
        )
    if field.kind is Kind.JSON:
        value = f"NULLIF(p_data -> {name}, 'null')"
        return value if cast_of(field) == "jsonb" else f"({value})::{cast_of(field)}"
    if field.kind is Kind.BYTES:
        return f"pg_catalog.decode(p_data ->> {name}, 'base64')"
    cast = _cast(cast_of(field))
    return f"(p_data ->> {name}){cast}" if cast else f"p_data ->> {name}"


def default_literal(field: ResolvedField) -> str:
    """The field's default as an SQL expression."""
    if field.kind is Kind.BYTES:
        return f"pg_catalog.decode({literal(field.default)}, 'base64')"
    if field.array:
        return _literal(field.default, f"{cast_of(field) or 'text'}[]")
    return _literal(field.default, cast_of(field) or "text")


def _literal(value: Any, sql_type: str) -> str:
    if sql_type.endswith("[]"):
        element = sql_type.removesuffix("[]")
        return f"ARRAY[{', '.join(_literal(item, element) for item in value)}]::{sql_type}"
    if value is None:
        return "NULL"
    if sql_type in ("jsonb", "json"):
        return f"{literal(json.dumps(value, ensure_ascii=False, sort_keys=True))}::{sql_type}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value >= 0:
        return str(value)
    text = value if isinstance(value, str) else json.dumps(value)
    return literal(text) if sql_type == "text" else f"{literal(text)}::{sql_type}"


def _cast(sql_type: str) -> str:
    return "" if sql_type in ("", "text") else f"::{sql_type}"
