"""The column types a schema can name, their spelling in SchemaJSON, and the JSON form of a default.

SchemaJSON knows six types; the exact Postgres type of a Python-authored field travels beside it (`pgsync` key).
"""

from __future__ import annotations

import json
import math
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any, Final
from uuid import UUID

from pgsync.models import Kind


@dataclass(frozen=True, slots=True)
class ColumnType:
    """A Postgres type as `format_type` prints it, with its SchemaJSON type and the `Kind` of its (element's) values.

    `like` is the type whose JSON form its (element's) values have, by its `sql`. `cast` is the type that a write turns
    the text of an (element's) value into, "" for none: the rest is Postgres's assignment to the column, which refuses
    what is too long where a cast would cut it off.
    """

    sql: str
    json: str
    kind: Kind
    array: bool = False
    like: str = ""
    cast: str | None = None


TEXT: Final = ColumnType("text", "string", Kind.TEXT)
INTEGER: Final = ColumnType("integer", "number", Kind.INTEGER)
BIGINT: Final = ColumnType("bigint", "number", Kind.INTEGER)
DOUBLE: Final = ColumnType("double precision", "number", Kind.FLOAT)
NUMERIC: Final = ColumnType("numeric", "number", Kind.DECIMAL)
BOOLEAN: Final = ColumnType("boolean", "boolean", Kind.BOOLEAN)
TIMESTAMPTZ: Final = ColumnType("timestamp with time zone", "date", Kind.TIMESTAMPTZ)
DATE: Final = ColumnType("date", "date", Kind.DATE)
UUID_TYPE: Final = ColumnType("uuid", "string", Kind.UUID)
JSONB: Final = ColumnType("jsonb", "json", Kind.JSON)
BYTEA: Final = ColumnType("bytea", "string", Kind.BYTES)

SMALLINT: Final = ColumnType("smallint", "number", Kind.INTEGER)
REAL: Final = ColumnType("real", "number", Kind.FLOAT, like=DOUBLE.sql)
TIMESTAMP: Final = ColumnType("timestamp without time zone", "date", Kind.TIMESTAMP)
JSON_TEXT: Final = ColumnType("json", "json", Kind.JSON, like=JSONB.sql)

SCALARS: Final = (TEXT, INTEGER, BIGINT, DOUBLE, NUMERIC, BOOLEAN, TIMESTAMPTZ, DATE, UUID_TYPE, JSONB, BYTEA)
ELEMENTS: Final = tuple(t for t in SCALARS if t not in (JSONB, BYTEA))


def array_of(element: ColumnType) -> ColumnType:
    """The array type of a scalar type; to SchemaJSON it is `json`."""
    return ColumnType(
        f"{element.sql}[]", "json", element.kind, array=True, like=element.like or element.sql, cast=element.cast
    )


BY_SQL: Final[Mapping[str, ColumnType]] = {t.sql: t for t in (*SCALARS, *(array_of(e) for e in ELEMENTS))}

PLAIN: Final[Mapping[str, ColumnType]] = {
    "string": TEXT,
    "number": DOUBLE,
    "boolean": BOOLEAN,
    "date": TIMESTAMPTZ,
    "enum": TEXT,
    "json": JSONB,
}
"""What a SchemaJSON type means when nothing more exact is said."""

# Types of tables that somebody else made, as `format_type` prints them.
_IDENTIFIER: Final = r'(?:[a-z_][a-z0-9_]*|"(?:[^"$\x00-\x1f]|"")+")'
_OF_SOMEBODY: Final = re.compile(rf"{_IDENTIFIER}\.{_IDENTIFIER}")
_EXACT: Final[Sequence[tuple[re.Pattern[str], ColumnType]]] = (
    (re.compile(r"character varying(\(\d+\))?"), ColumnType("", "string", Kind.TEXT, like=TEXT.sql, cast="")),
    (re.compile(r"character\(\d+\)"), ColumnType("", "string", Kind.TEXT, like=TEXT.sql, cast="bpchar")),
    (re.compile(r"numeric\(\d+,-?\d+\)"), ColumnType("", "number", Kind.DECIMAL, like=NUMERIC.sql)),
    (re.compile(r"timestamp\(\d\) with time zone"), ColumnType("", "date", Kind.TIMESTAMPTZ, like=TIMESTAMPTZ.sql)),
    (re.compile(r"timestamp\(\d\) without time zone"), ColumnType("", "date", Kind.TIMESTAMP, like=TIMESTAMP.sql)),
    (
        # What JSON has no form for travels as the text that Postgres prints.
        re.compile(
            r"time(\(\d\))? with(out)? time zone|interval(\(\d\))?|inet|cidr|macaddr8?"
            r"|(int4|int8|num|ts|tstz|date)range"
        ),
        ColumnType("", "string", Kind.TEXT, like=TEXT.sql),
    ),
)


def named(sql: str, base: ColumnType | None = None) -> ColumnType | None:
    """The type that `format_type` prints as `sql`; None when fields cannot have it.

    `base` is the plain type of the Python annotation: it says what the values of a domain or of another type of
    somebody's own (`public.citext`) are; these are always written with their namespace.
    """
    if (known := BY_SQL.get(sql)) is not None:
        return known
    if sql.endswith("[]"):
        element = named(sql.removesuffix("[]"), base)
        return (
            None if element is None or element.array or element.kind in (Kind.JSON, Kind.BYTES) else array_of(element)
        )
    for other in (SMALLINT, REAL, TIMESTAMP, JSON_TEXT):
        if sql == other.sql:
            return other
    for pattern, exact in _EXACT:
        if pattern.fullmatch(sql):
            return replace(exact, sql=sql)
    if base is not None and _OF_SOMEBODY.fullmatch(sql):
        return replace(base, sql=sql, like=base.like or base.sql, cast="" if base.kind is Kind.TEXT else base.sql)
    return None


def type_of(sql: str, kind: Kind) -> ColumnType:
    """The type of a column that a schema has, whatever it is called."""
    found = named(sql, next(t for t in (*SCALARS, SMALLINT, REAL, TIMESTAMP, JSON_TEXT) if t.kind is kind))
    assert found is not None
    return found


def enumerated(sql: str) -> ColumnType | None:
    """The type of an enum field's column where it is not text: a type of somebody's own is what values are cast to."""
    found = named(sql, TEXT)
    if found is None or (found.like or found.sql) != TEXT.sql or found.array:
        return None
    return replace(found, cast=sql) if _OF_SOMEBODY.fullmatch(sql) else found


def is_id_type(column_type: ColumnType) -> bool:
    """Whether rows can be told apart by values of this type: its text is the same wherever it is printed."""
    known = {t.sql for t in (TEXT, UUID_TYPE, SMALLINT, INTEGER, BIGINT)}
    return column_type.sql in known or re.fullmatch(r"character varying(\(\d+\))?", column_type.sql) is not None


def default_to_json(value: object, column_type: ColumnType, enum_values: Sequence[str] | None = None) -> Any:
    """The JSON form in which a default travels, the same form in which a client would send the value.

    Takes Python values and the JSON form itself. Raises ValueError, saying what was expected, for anything else.
    """
    if isinstance(value, Enum):
        value = value.value
    if column_type.array:
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"expected a list for {column_type.sql}")
        element = replace(column_type, sql=column_type.sql.removesuffix("[]"), array=False)
        return [None if item is None else default_to_json(item, element) for item in value]
    result = _CONVERT[column_type.like or column_type.sql](value)
    if enum_values is not None and result not in enum_values:
        raise ValueError(f"expected one of {', '.join(map(repr, enum_values))}")
    return result


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("expected a string")
    if "\0" in value:
        raise ValueError("expected a string without NUL, which Postgres cannot store")
    return str(value)


def _whole(bits: int) -> Callable[[object], int]:
    def convert(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError("expected a whole number")
        if not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
            raise ValueError(f"expected a number of {bits} bits")
        return int(value)

    return convert


_SPECIAL: Final = ("NaN", "Infinity", "-Infinity")


def _float(value: object) -> float | str:
    if isinstance(value, str) and value in _SPECIAL:
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("expected a number")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError("expected a number that fits double precision") from None
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _numeric(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        raise ValueError("expected a number")
    if (
        isinstance(value, str)
        and value not in _SPECIAL
        and not re.fullmatch(r"-?\d+(\.\d+)?([eE][+-]?\d{1,4})?", value)
    ):
        raise ValueError("expected a number")
    try:
        number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    except InvalidOperation:
        raise ValueError("expected a number") from None
    if number.is_nan():
        return "NaN"
    if number.is_infinite():
        return "Infinity" if number > 0 else "-Infinity"
    return f"{number:f}"


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


def _timestamptz(value: object) -> str:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("expected a date and time in ISO 8601 form") from None
    if not isinstance(value, datetime):
        raise ValueError("expected a datetime")
    if value.tzinfo is None:
        raise ValueError("expected a datetime with a time zone")
    utc = value.astimezone(UTC).replace(tzinfo=None)
    return utc.isoformat(timespec="milliseconds" if utc.microsecond % 1000 == 0 else "microseconds") + "Z"


def _timestamp(value: object) -> str:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("expected a date and time in ISO 8601 form") from None
    if not isinstance(value, datetime) or value.tzinfo is not None:
        raise ValueError("expected a datetime without a time zone")
    return value.isoformat(timespec="milliseconds" if value.microsecond % 1000 == 0 else "microseconds")


def _bytes(value: object) -> str:
    if isinstance(value, str):
        try:
            value = b64decode(value, validate=True)
        except ValueError:
            raise ValueError("expected bytes, or their base64 form") from None
    if not isinstance(value, bytes):
        raise ValueError("expected bytes")
    return b64encode(value).decode()


def _date(value: object) -> str:
    if isinstance(value, str):
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", value):
            raise ValueError("expected a date such as 2026-01-31")
        try:
            value = date.fromisoformat(value)
        except ValueError:
            raise ValueError("expected a date that exists") from None
    if isinstance(value, datetime) or not isinstance(value, date):
        raise ValueError("expected a date")
    return value.isoformat()


def _uuid(value: object) -> str:
    if isinstance(value, str):
        try:
            value = UUID(value)
        except ValueError:
            raise ValueError("expected a UUID") from None
    if not isinstance(value, UUID):
        raise ValueError("expected a UUID")
    return str(value)


def _json(value: object) -> Any:
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise ValueError("expected a value that JSON can carry") from None
    if "\\u0000" in text:
        raise ValueError("expected JSON without NUL, which Postgres cannot store")
    return json.loads(text)


_CONVERT: Final[Mapping[str, Callable[[object], Any]]] = {
    TEXT.sql: _text,
    INTEGER.sql: _whole(32),
    BIGINT.sql: _whole(64),
    DOUBLE.sql: _float,
    NUMERIC.sql: _numeric,
    BOOLEAN.sql: _boolean,
    TIMESTAMPTZ.sql: _timestamptz,
    DATE.sql: _date,
    UUID_TYPE.sql: _uuid,
    JSONB.sql: _json,
    BYTEA.sql: _bytes,
    SMALLINT.sql: _whole(16),
    TIMESTAMP.sql: _timestamp,
}
