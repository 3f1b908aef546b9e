"""The one encoder from Postgres's text form of a value to its JSON form.

Reads, receipts, bootstraps and deltas all pass through it, so a value looks the same wherever a client meets it.

The sessions that produce the text run with `SESSION_SETTINGS`. The forms:

- text, uuid, date, enums and types we do not know: a string, as Postgres prints it. boolean: `true` or `false`.
- integer: a number with Postgres's digits when `abs(n) <= 2**53 - 1`, else a string with the same digits.
- float: a number with Postgres's shortest round-trip digits.
- decimal: a number with Postgres's digits when a double carries it without loss: zero, or at most 15 significant digits
  (zeros at either end do not count) and `1e-300 <= abs(n) < 1e21`. Else a string with the same digits.
- NaN and infinities of float and decimal: `"NaN"`, `"Infinity"`, `"-Infinity"`.
- timestamptz: `"2026-01-02T03:04:05.000Z"`, with three fraction digits, or six when the microseconds are not whole
  milliseconds. timestamp: the same without `Z`. What ISO 8601 cannot hold (`infinity`, BC, a year above 9999): a string
  as Postgres prints it.
- json, jsonb: the document itself, byte for byte. bytea: a base64 string.
- arrays: a JSON array of the element's form, nested as the dimensions are. NULL: `null`.
"""

from __future__ import annotations

import enum
import re
from binascii import b2a_base64, unhexlify
from collections.abc import Callable, Sequence
from typing import Final, Literal, TypeAlias

import orjson

from pgsync.models import Kind, Model

SESSION_SETTINGS: Final[tuple[tuple[str, str], ...]] = (
    ("TimeZone", "UTC"),
    ("DateStyle", "ISO"),
    ("IntervalStyle", "iso_8601"),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
)
"""Settings of every session whose text reaches an encoder; without them the same value would have two forms."""

SESSION_OPTIONS: Final = " ".join(f"-c {name}={value}" for name, value in SESSION_SETTINGS)
"""The same as the `options` keyword of a connection string."""


class _Unchanged(enum.Enum):
    UNCHANGED = "unchanged"


UNCHANGED: Final = _Unchanged.UNCHANGED
"""A stored-out-of-line value that an UPDATE left alone: the log does not carry it, and it is not NULL."""

Value: TypeAlias = bytes | Literal[_Unchanged.UNCHANGED] | None
"""One column of a row: its text, NULL, or left out of the log."""

Encoder: TypeAlias = Callable[[bytes], bytes]
RowEncoder: TypeAlias = Callable[[Sequence[Value]], bytes]

MAX_SAFE_INTEGER: Final = 2**53 - 1
_SURE_DIGITS: Final = 15  # 10**15 - 1 < 2**53, and any 15 significant decimal digits survive a double
_MAX_DECIMAL_DIGITS: Final = 21
_MAX_DECIMAL_FRACTION: Final = 300
_QUOTE: Final = b'"'
_dumps = orjson.dumps


def as_text(text: bytes) -> bytes:
    """Any text as a JSON string."""
    try:
        return _dumps(text.decode())
    except UnicodeDecodeError:  # only a SQL_ASCII database can send this: JSON has no way to carry the bytes
        return _dumps(text.decode(errors="replace"))


def _quoted(text: bytes) -> bytes:
    return b'"%b"' % text


def _boolean(text: bytes) -> bytes:
    return b"true" if text == b"t" else b"false"


def _integer(text: bytes) -> bytes:
    if len(text) <= _SURE_DIGITS or -MAX_SAFE_INTEGER <= int(text) <= MAX_SAFE_INTEGER:
        return text
    return b'"%b"' % text


def _float(text: bytes) -> bytes:
    # NaN, Infinity and -Infinity are the only outputs that end in a letter
    return text if text[-1] <= 57 else b'"%b"' % text


def _decimal(text: bytes) -> bytes:
    if len(text) <= _SURE_DIGITS:
        return text if text[-1] <= 57 else b'"%b"' % text
    whole, _, fraction = text.lstrip(b"-").partition(b".")
    whole, fraction = whole.lstrip(b"0"), fraction.rstrip(b"0")
    significant = len((whole + fraction).strip(b"0"))
    leading_zeros = len(fraction) - len(fraction.lstrip(b"0"))
    carried = (
        significant <= _SURE_DIGITS
        and len(whole) <= _MAX_DECIMAL_DIGITS
        and (bool(whole) or leading_zeros < _MAX_DECIMAL_FRACTION)
    )
    return text if carried else b'"%b"' % text


def _fraction(digits: bytes) -> bytes:
    """The fraction of a second as three digits, or six when it needs them."""
    return digits.ljust(3, b"0") if len(digits) <= 3 else digits.ljust(6, b"0")


def _timestamp(text: bytes) -> bytes:
    # 2026-01-02 03:04:05[.123456]; anything else (infinity, BC, a five-digit year) stays as it is
    size = len(text)
    if size == 26 and text[4] == 45 and text[19] == 46 and text[-1] != 67:  # what nearly every clock gives
        return b'"%bT%b"' % (text[:10], text[11:])
    if size == 19 and text[4] == 45:
        return b'"%bT%b.000"' % (text[:10], text[11:])
    if 21 <= size <= 25 and text[4] == 45 and text[19] == 46 and text[-1] != 67:
        return b'"%bT%b.%b"' % (text[:10], text[11:19], _fraction(text[20:]))
    return b'"%b"' % text


def _timestamptz(text: bytes) -> bytes:
    # 2026-01-02 03:04:05[.123456]+00
    if text[-3:] != b"+00":
        if text[-1] <= 57:
            raise ValueError("a timestamptz that is not in UTC: the session that read it lacks SESSION_SETTINGS")
        return b'"%b"' % text
    size = len(text)
    if size == 29 and text[4] == 45 and text[19] == 46:  # what nearly every clock gives
        return b'"%bT%bZ"' % (text[:10], text[11:26])
    if size == 22 and text[4] == 45:
        return b'"%bT%b.000Z"' % (text[:10], text[11:19])
    if 24 <= size <= 28 and text[4] == 45 and text[19] == 46:
        return b'"%bT%b.%bZ"' % (text[:10], text[11:19], _fraction(text[20:-3]))
    return b'"%b"' % text


def _json(text: bytes) -> bytes:
    return text


def _bytes(text: bytes) -> bytes:
    return _QUOTE + b2a_base64(unhexlify(text[2:]), newline=False) + _QUOTE


_SCALARS: Final[dict[Kind, Encoder]] = {
    Kind.TEXT: as_text,
    Kind.INTEGER: _integer,
    Kind.FLOAT: _float,
    Kind.DECIMAL: _decimal,
    Kind.BOOLEAN: _boolean,
    Kind.TIMESTAMPTZ: _timestamptz,
    Kind.TIMESTAMP: _timestamp,
    Kind.DATE: _quoted,
    Kind.UUID: _quoted,
    Kind.JSON: _json,
    Kind.BYTES: _bytes,
}

# array_out quotes every element that holds a brace, comma, quote, backslash or white space, is empty, or reads NULL
_ARRAY_TOKEN: Final = re.compile(rb'[{},]|"((?:[^"\\]|\\.)*)"|[^{},"\\]+', re.DOTALL)
_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)
_PUNCTUATION: Final = {b"{": b"[", b"}": b"]", b",": b","}


def _array_encoder(element: Encoder) -> Encoder:
    def encode(text: bytes) -> bytes:
        # an array whose subscripts do not start at 1 prints them first: [0:1]={a,b}
        at = 0 if text[:1] == b"{" else text.find(b"=") + 1
        if text[at : at + 1] != b"{" or text[-1:] != b"}":
            raise ValueError("not the text form of a Postgres array")
        parts: list[bytes] = []
        for token in _ARRAY_TOKEN.finditer(text, at):
            if token.start() != at:
                break
            at = token.end()
            whole = token.group()
            if (quoted := token.group(1)) is not None:
                parts.append(element(_ESCAPED.sub(rb"\1", quoted) if b"\\" in quoted else quoted))
            elif (mark := _PUNCTUATION.get(whole)) is not None:
                parts.append(mark)
            else:
                parts.append(b"null" if whole == b"NULL" else element(whole))
        if at != len(text):
            raise ValueError("not the text form of a Postgres array")
        return b"".join(parts)

    return encode


_ARRAYS: Final[dict[Kind, Encoder]] = {kind: _array_encoder(encode) for kind, encode in _SCALARS.items()}


def encoder(kind: Kind, array: bool = False) -> Encoder:
    """The function from the text of a non-null value of this kind to its JSON bytes.

    It trusts the text to be Postgres's own output under `SESSION_SETTINGS`; ValueError when it plainly is not.
    """
    return _ARRAYS[kind] if array else _SCALARS[kind]


def field_encoders(model: Model, columns: Sequence[str]) -> list[tuple[int, bytes, bytes, Encoder]]:
    """The fields of a model that have a column among these, in declared order.

    For each: the index of its column, `"name":`, `"name":null`, and the encoder of its values.
    """
    plan: list[tuple[int, bytes, bytes, Encoder]] = []
    for field in model.fields:
        if field.column in columns:
            name = _dumps(field.name) + b":"
            plan.append((columns.index(field.column), name, name + b"null", encoder(field.kind, field.array)))
    return plan


def row_encoder(model: Model, columns: Sequence[str] | None = None) -> RowEncoder:
    """The function from a row of this model to the bytes of its JSON object, under wire names in declared order.

    `columns` names the columns of the sequences it will be given; by default they are those of `model.fields`. A field
    whose column is not among them is left out of the object, as is one whose value is `UNCHANGED`. A value that is not
    of its field's kind (somebody changed the column's type by hand) becomes a string: it must not stop the row.
    """
    plan = field_encoders(model, [f.column for f in model.fields] if columns is None else columns)

    def encode(values: Sequence[Value]) -> bytes:
        parts: list[bytes] = []
        for index, name, null, convert in plan:
            value = values[index]
            if value is None:
                parts.append(null)
            elif value is not UNCHANGED:
                try:
                    parts.append(name + convert(value))
                except (ValueError, IndexError):  # the latter for an empty text
                    parts.append(name + as_text(value))
        return b"{%b}" % b",".join(parts)

    return encode
