"""The contract's hashes of a schema and of one model (section 1.12).

Canonical JSON as JavaScript spells it, then 32-bit FNV-1a over its UTF-16 code units, so that a schema has the same
hash here and in a TypeScript client.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

EXTENSION: Final = "pgsync"
"""The one top-level key of the document that is ours; it takes no part in the hash."""

_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def schema_hash(document: Mapping[str, Any]) -> str:
    """Eight hex digits for a whole SchemaJSON, without its `pgsync` key."""
    return fnv1a({key: value for key, value in document.items() if key != EXTENSION})


def model_hash(entry: Mapping[str, Any]) -> str:
    """Eight hex digits for one entry of `models`."""
    return fnv1a(entry)


def fnv1a(value: Any) -> str:
    """32-bit FNV-1a of the canonical JSON of a value."""
    state = 0x811C9DC5
    encoded = canonical_json(value).encode("utf-16-le", "surrogatepass")
    for low, high in zip(encoded[::2], encoded[1::2], strict=True):
        state = ((state ^ (low | high << 8)) * 0x01000193) & 0xFFFFFFFF
    return f"{state:08x}"


def canonical_json(value: Any) -> str:
    """JSON with keys in the order of their UTF-16 code units, no spaces, numbers and strings in JavaScript's spelling.

    Raises TypeError for a value that JSON does not have.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return _number(value)
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, (list, tuple)):
        return f"[{','.join(canonical_json(item) for item in value)}]"
    if isinstance(value, Mapping):
        items = sorted(value.items(), key=lambda item: item[0].encode("utf-16-be", "surrogatepass"))
        return "{" + ",".join(f"{_string(key)}:{canonical_json(item)}" for key, item in items) + "}"
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _string(text: str) -> str:
    """`JSON.stringify` of a string: lone surrogates and control characters escaped, all else as it stands."""
    # Two surrogate escapes side by side in a document are one character to JavaScript.
    text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    parts = []
    for char in text:
        escape = _ESCAPES.get(char)
        if escape is not None:
            parts.append(escape)
        elif char < " " or "\ud800" <= char <= "\udfff":
            parts.append(f"\\u{ord(char):04x}")
        else:
            parts.append(char)
    return '"' + "".join(parts) + '"'


def _number(value: int | float) -> str:
    """`Number.prototype.toString`: the shortest digits for the double, an exponent from 1e21 on and below 1e-6."""
    if isinstance(value, int) and -(2**53) <= value <= 2**53:
        return str(value)
    try:
        double = float(value)
    except OverflowError:  # JSON.parse reads such a number as Infinity, and JSON.stringify writes that as null
        return "null"
    if not math.isfinite(double):
        return "null"
    if double == 0:
        return "0"
    sign, digit_tuple, exponent = Decimal(repr(double)).normalize().as_tuple()
    assert isinstance(exponent, int)
    digits = "".join(map(str, digit_tuple))
    point = len(digits) + exponent  # position of the decimal point counted from the first digit
    if len(digits) <= point <= 21:
        text = digits + "0" * (point - len(digits))
    elif 0 < point <= 21:
        text = f"{digits[:point]}.{digits[point:]}"
    elif -6 < point <= 0:
        text = f"0.{'0' * -point}{digits}"
    else:
        shown = point - 1
        mantissa = digits if len(digits) == 1 else f"{digits[0]}.{digits[1:]}"
        text = f"{mantissa}e{'+' if shown >= 0 else '-'}{abs(shown)}"
    return ("-" if sign else "") + text
