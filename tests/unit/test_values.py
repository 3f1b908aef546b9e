"""What every kind of value looks like in JSON, whoever reads it.

The left sides are what Postgres prints under `SESSION_SETTINGS`; the integration tests hold that against real servers.
"""

from __future__ import annotations

import base64
import json
import math
from datetime import datetime, timedelta
from decimal import Decimal

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsync.models import Field, Kind, Model
from pgsync.values import MAX_SAFE_INTEGER, UNCHANGED, Value, encoder, row_encoder

CASES: list[tuple[Kind, str, str]] = [
    (Kind.TEXT, "", '""'),
    (Kind.TEXT, "plain", '"plain"'),
    (Kind.TEXT, 'a "quote", a \\ and a\nnew line\t', r'"a \"quote\", a \\ and a\nnew line\t"'),
    (Kind.TEXT, "\x01\x7f\u2028 ü 🐘", '"\\u0001\x7f\u2028 ü 🐘"'),
    (Kind.TEXT, "NULL", '"NULL"'),
    (Kind.UUID, "0193b3a0-0000-7000-8000-000000000000", '"0193b3a0-0000-7000-8000-000000000000"'),
    (Kind.BOOLEAN, "t", "true"),
    (Kind.BOOLEAN, "f", "false"),
    (Kind.INTEGER, "0", "0"),
    (Kind.INTEGER, "-32768", "-32768"),
    (Kind.INTEGER, "9007199254740991", "9007199254740991"),
    (Kind.INTEGER, "-9007199254740991", "-9007199254740991"),
    (Kind.INTEGER, "9007199254740992", '"9007199254740992"'),
    (Kind.INTEGER, "-9007199254740992", '"-9007199254740992"'),
    (Kind.INTEGER, "9223372036854775807", '"9223372036854775807"'),
    (Kind.INTEGER, "-9223372036854775808", '"-9223372036854775808"'),
    (Kind.FLOAT, "0.1", "0.1"),
    (Kind.FLOAT, "-0", "-0"),
    (Kind.FLOAT, "1e+20", "1e+20"),
    (Kind.FLOAT, "5e-324", "5e-324"),
    (Kind.FLOAT, "0.30000000000000004", "0.30000000000000004"),
    (Kind.FLOAT, "1.7976931348623157e+308", "1.7976931348623157e+308"),
    (Kind.FLOAT, "NaN", '"NaN"'),
    (Kind.FLOAT, "Infinity", '"Infinity"'),
    (Kind.FLOAT, "-Infinity", '"-Infinity"'),
    (Kind.DECIMAL, "0", "0"),
    (Kind.DECIMAL, "1.50", "1.50"),
    (Kind.DECIMAL, "0.00000000000000000000", "0.00000000000000000000"),
    (Kind.DECIMAL, "1.50000000000000000000", "1.50000000000000000000"),
    (Kind.DECIMAL, "999999999999999", "999999999999999"),
    (Kind.DECIMAL, "-99999999999999.9", "-99999999999999.9"),
    (Kind.DECIMAL, "1234567890123456", '"1234567890123456"'),
    (Kind.DECIMAL, "9007199254740993", '"9007199254740993"'),
    (Kind.DECIMAL, "0.1234567890123456", '"0.1234567890123456"'),
    (Kind.DECIMAL, "123456789012345000000", "123456789012345000000"),
    (Kind.DECIMAL, "100000000000000000000", "100000000000000000000"),
    (Kind.DECIMAL, "1000000000000000000000", '"1000000000000000000000"'),
    (Kind.DECIMAL, "0." + "0" * 299 + "1", "0." + "0" * 299 + "1"),
    (Kind.DECIMAL, "0." + "0" * 300 + "1", '"0.' + "0" * 300 + '1"'),
    (Kind.DECIMAL, "NaN", '"NaN"'),
    (Kind.DECIMAL, "Infinity", '"Infinity"'),
    (Kind.DECIMAL, "-Infinity", '"-Infinity"'),
    (Kind.TIMESTAMPTZ, "2026-01-02 03:04:05+00", '"2026-01-02T03:04:05.000Z"'),
    (Kind.TIMESTAMPTZ, "2026-01-02 03:04:05.1+00", '"2026-01-02T03:04:05.100Z"'),
    (Kind.TIMESTAMPTZ, "2026-01-02 03:04:05.123+00", '"2026-01-02T03:04:05.123Z"'),
    (Kind.TIMESTAMPTZ, "2026-01-02 03:04:05.1234+00", '"2026-01-02T03:04:05.123400Z"'),
    (Kind.TIMESTAMPTZ, "2026-01-02 03:04:05.123456+00", '"2026-01-02T03:04:05.123456Z"'),
    (Kind.TIMESTAMPTZ, "10000-01-02 03:04:05.12345+00", '"10000-01-02 03:04:05.12345+00"'),
    (Kind.TIMESTAMPTZ, "2026-01-02 03:04:05.000001+00", '"2026-01-02T03:04:05.000001Z"'),
    (Kind.TIMESTAMPTZ, "infinity", '"infinity"'),
    (Kind.TIMESTAMPTZ, "-infinity", '"-infinity"'),
    (Kind.TIMESTAMPTZ, "0044-03-15 12:00:00+00 BC", '"0044-03-15 12:00:00+00 BC"'),
    (Kind.TIMESTAMPTZ, "0044-03-15 12:00:00.5+00 BC", '"0044-03-15 12:00:00.5+00 BC"'),
    (Kind.TIMESTAMPTZ, "12026-01-02 03:04:05+00", '"12026-01-02 03:04:05+00"'),
    (Kind.TIMESTAMPTZ, "12026-01-02 03:04:05.25+00", '"12026-01-02 03:04:05.25+00"'),
    (Kind.TIMESTAMP, "2026-01-02 03:04:05", '"2026-01-02T03:04:05.000"'),
    (Kind.TIMESTAMP, "2026-01-02 03:04:05.12", '"2026-01-02T03:04:05.120"'),
    (Kind.TIMESTAMP, "2026-01-02 03:04:05.123456", '"2026-01-02T03:04:05.123456"'),
    (Kind.TIMESTAMP, "10000-01-02 03:04:05.12345", '"10000-01-02 03:04:05.12345"'),
    (Kind.TIMESTAMP, "0044-03-15 12:00:00.123 BC", '"0044-03-15 12:00:00.123 BC"'),
    (Kind.TIMESTAMP, "infinity", '"infinity"'),
    (Kind.TIMESTAMP, "0044-03-15 12:00:00 BC", '"0044-03-15 12:00:00 BC"'),
    (Kind.TIMESTAMP, "0044-03-15 12:00:00.25 BC", '"0044-03-15 12:00:00.25 BC"'),
    (Kind.TIMESTAMP, "12026-01-02 03:04:05", '"12026-01-02 03:04:05"'),
    (Kind.DATE, "2026-01-02", '"2026-01-02"'),
    (Kind.DATE, "infinity", '"infinity"'),
    (Kind.DATE, "0044-03-15 BC", '"0044-03-15 BC"'),
    (Kind.JSON, '{"a": [1, 12345678901234567890, null]}', '{"a": [1, 12345678901234567890, null]}'),
    (Kind.JSON, "null", "null"),
    (Kind.BYTES, "\\x", '""'),
    (Kind.BYTES, "\\x00ff10", '"AP8Q"'),
]

ARRAYS: list[tuple[Kind, str, str]] = [
    (Kind.TEXT, "{}", "[]"),
    (Kind.TEXT, "{a}", '["a"]'),
    (Kind.TEXT, '{a,NULL,"NULL","",b c}', '["a",null,"NULL","","b c"]'),
    (Kind.TEXT, r'{"a,b","{c}","\"d\"","\\e","f\nü"}', r'["a,b","{c}","\"d\"","\\e","fnü"]'),
    (Kind.TEXT, '{"line\nbreak"}', r'["line\nbreak"]'),
    (Kind.TEXT, "{{a,b},{c,NULL}}", '[["a","b"],["c",null]]'),
    (Kind.TEXT, "[0:1]={a,b}", '["a","b"]'),
    (Kind.TEXT, "[-1:0][2:3]={{a,b},{c,d}}", '[["a","b"],["c","d"]]'),
    (Kind.TEXT, '[0:0]={"x=1"}', '["x=1"]'),
    (Kind.INTEGER, "{1,-2,9007199254740992,NULL}", '[1,-2,"9007199254740992",null]'),
    (Kind.FLOAT, "{0.5,NaN,-Infinity}", '[0.5,"NaN","-Infinity"]'),
    (Kind.DECIMAL, "{1.10,12345678901234567890}", '[1.10,"12345678901234567890"]'),
    (Kind.BOOLEAN, "{t,f,NULL}", "[true,false,null]"),
    (Kind.TIMESTAMPTZ, '{"2026-01-02 03:04:05+00",infinity}', '["2026-01-02T03:04:05.000Z","infinity"]'),
    (Kind.DATE, "{2026-01-02}", '["2026-01-02"]'),
    (Kind.JSON, r'{"{\"a\": \"b\\\\c\"}",1,"null"}', r'[{"a": "b\\c"},1,null]'),
    (Kind.BYTES, r'{"\\x00ff10","\\x"}', '["AP8Q",""]'),
    (Kind.UUID, "{0193b3a0-0000-7000-8000-000000000000}", '["0193b3a0-0000-7000-8000-000000000000"]'),
]


@pytest.mark.parametrize(("kind", "text", "expected"), CASES)
def test_value_has_its_documented_form(kind: Kind, text: str, expected: str) -> None:
    encoded = encoder(kind)(text.encode())
    assert encoded == expected.encode()
    orjson.loads(encoded)


@pytest.mark.parametrize(("kind", "text", "expected"), ARRAYS)
def test_array_has_the_form_of_its_elements(kind: Kind, text: str, expected: str) -> None:
    encoded = encoder(kind, array=True)(text.encode())
    assert encoded == expected.encode()
    orjson.loads(encoded)


def test_every_kind_is_covered() -> None:
    assert {kind for kind, _, _ in CASES} == set(Kind)
    assert {kind for kind, _, _ in ARRAYS} == set(Kind) - {Kind.TIMESTAMP}
    for kind in Kind:
        encoder(kind), encoder(kind, array=True)


@pytest.mark.parametrize("text", ["", "a", "a,b", "{a", '{"a}', "{a}}x\\"])
def test_text_that_is_no_array_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="array"):
        encoder(Kind.TEXT, array=True)(text.encode())


def test_time_in_another_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="UTC"):
        encoder(Kind.TIMESTAMPTZ)(b"2026-01-02 03:04:05+02")


def test_text_that_is_not_utf8_is_still_valid_json() -> None:
    assert orjson.loads(encoder(Kind.TEXT)(b"caf\xe9")) == "caf\ufffd"


@given(st.text(alphabet=st.characters(exclude_characters="\x00", exclude_categories=["Cs"])))
def test_text_survives(text: str) -> None:
    assert orjson.loads(encoder(Kind.TEXT)(text.encode())) == text


@given(st.integers(min_value=-(2**63), max_value=2**63 - 1))
def test_integer_keeps_its_digits_and_is_a_number_exactly_when_a_double_holds_it(number: int) -> None:
    encoded = encoder(Kind.INTEGER)(str(number).encode())
    value = json.loads(encoded)
    assert int(value) == number
    assert isinstance(value, int) == (abs(number) <= MAX_SAFE_INTEGER)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_float_survives(number: float) -> None:
    value = float(json.loads(encoder(Kind.FLOAT)(repr(number).encode())))
    assert value == number
    assert math.copysign(1, value) == math.copysign(1, number)


@given(
    st.decimals(allow_nan=False, allow_infinity=False, places=4)
    | st.builds(
        lambda digits, scale: Decimal(digits).scaleb(-scale), st.integers(-(10**40), 10**40), st.integers(0, 340)
    )
)
def test_decimal_is_a_number_only_when_a_double_gives_its_digits_back(number: Decimal) -> None:
    text = format(number, "f")
    encoded = encoder(Kind.DECIMAL)(text.encode())
    assert encoded.strip(b'"') == text.encode()
    if not encoded.startswith(b'"'):
        assert Decimal(f"{float(text):.15g}") == number


@given(st.datetimes())
def test_timestamptz_survives_to_the_microsecond(moment: datetime) -> None:
    fraction = f".{moment.microsecond:06}".rstrip("0").rstrip(".")
    text = f"{moment:%H:%M:%S}{fraction}+00"
    value = json.loads(encoder(Kind.TIMESTAMPTZ)(f"{moment.year:04}-{moment:%m-%d} {text}".encode()))
    assert value.endswith("Z")
    assert datetime.fromisoformat(value[:-1]) - moment == timedelta(0)
    assert len(value) == (24 if moment.microsecond % 1000 == 0 else 27)


@given(st.binary())
def test_bytes_survive(data: bytes) -> None:
    assert base64.b64decode(json.loads(encoder(Kind.BYTES)(b"\\x" + data.hex().encode()))) == data


def _array_out(value: object) -> str:
    """As array_out prints it: quotes where it must, and sometimes where it need not."""
    if isinstance(value, list):
        return "{" + ",".join(map(_array_out, value)) + "}"
    if value is None:
        return "NULL"
    text = str(value)
    if text == "" or text.upper() == "NULL" or any(c in '{},"\\' or c.isspace() for c in text):
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return text


_ELEMENT = st.none() | st.text(alphabet=st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))


@given(st.lists(_ELEMENT) | st.lists(st.lists(_ELEMENT, min_size=2, max_size=2), min_size=1))
def test_array_of_text_survives(value: list[object]) -> None:
    assert json.loads(encoder(Kind.TEXT, array=True)(_array_out(value).encode())) == value


def _model(*fields: Field) -> Model:
    return Model("tasks", "Task", "task", "public", "tasks", "id", "organization_id", fields)


ID = Field("id", "id", Kind.TEXT, "text", base=True)
DUE = Field("dueAt", "due_at", Kind.TIMESTAMPTZ, "timestamp with time zone")
TAGS = Field("tags", "tags", Kind.TEXT, "text[]", array=True)


def test_row_has_wire_names_in_declared_order() -> None:
    encode = row_encoder(_model(ID, DUE, TAGS))
    assert encode([b"t1", None, b"{a}"]) == b'{"id":"t1","dueAt":null,"tags":["a"]}'


def test_row_leaves_out_what_the_log_left_out() -> None:
    encode = row_encoder(_model(ID, DUE, TAGS))
    assert encode([b"t1", None, UNCHANGED]) == b'{"id":"t1","dueAt":null}'
    assert encode([UNCHANGED, UNCHANGED, UNCHANGED]) == b"{}"


def test_row_finds_columns_by_name() -> None:
    encode = row_encoder(_model(ID, DUE, TAGS), columns=["tags", "by_hand", "id"])
    row: list[Value] = [b"{a}", b"whatever", b"t1"]
    assert encode(row) == b'{"id":"t1","tags":["a"]}'


def test_wire_name_is_escaped() -> None:
    encode = row_encoder(_model(Field('a"b', "a", Kind.TEXT, "text")))
    assert json.loads(encode([b"x"])) == {'a"b': "x"}


def test_value_that_does_not_fit_its_kind_becomes_a_string() -> None:
    encode = row_encoder(_model(ID, DUE, TAGS))
    assert (
        encode([b"t1", b"2026-01-02 03:04:05+02", b"a,b"])
        == b'{"id":"t1","dueAt":"2026-01-02 03:04:05+02","tags":"a,b"}'
    )
