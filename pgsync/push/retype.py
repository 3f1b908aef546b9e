"""What becomes of the values of a column whose type changes. Pure: two types as `format_type` prints them, a way out.

Postgres changes some types in the catalog alone (https://www.postgresql.org/docs/current/sql-altertable.html): where
the new type takes the old one's values as they are stored. All others would write the table anew while nobody can read
it, so they are copied.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final


class Way(Enum):
    """`RELABEL`: the catalog alone changes. `EXACT`: every value has one of the new type that says the same, and no two
    share one. `LOSSY`: values may be refused, cut off or rounded.
    """

    RELABEL = "relabel"
    EXACT = "exact"
    LOSSY = "lossy"


_PARTS: Final = re.compile(r"(?P<name>[^(]+?)(?:\((?P<modifier>[\d,-]+)\))?(?P<rest> with(?:out)? time zone)?")
_WHOLE: Final = {"smallint": 5, "integer": 10, "bigint": 19}
"""Digits of the largest value."""
_EXACT: Final = frozenset(
    {
        ("smallint", "real"),
        ("smallint", "double precision"),
        ("integer", "double precision"),
        ("real", "double precision"),
        ("date", "timestamp without time zone"),
        ("date", "timestamp with time zone"),
        ("timestamp without time zone", "timestamp with time zone"),
        ("cidr", "inet"),
    }
)
_SAID_BY_TEXT: Final = frozenset(
    {
        *_WHOLE, "numeric", "real", "double precision", "boolean", "uuid", "date", "character varying", "text",
        "timestamp without time zone", "timestamp with time zone", "inet", "cidr", "json",
    }
)  # fmt: skip
_MICROSECONDS: Final = 6


def way_of(before: str, now: str) -> Way:
    """How values of type `before` become values of type `now`."""
    if before.endswith("[]") or now.endswith("[]"):
        if not (before.endswith("[]") and now.endswith("[]")):
            return Way.LOSSY
        element = way_of(before.removesuffix("[]"), now.removesuffix("[]"))
        return Way.EXACT if element is Way.RELABEL else element
    name, modifier = _parts(before)
    other, room = _parts(now)
    if name == other:
        return _modified(name, modifier, room)
    if {name, other} == {"text", "character varying"}:
        return Way.RELABEL if not room else Way.LOSSY
    if other == "text":
        return Way.EXACT if name in _SAID_BY_TEXT else Way.LOSSY
    if name in _WHOLE and other in _WHOLE:
        return Way.EXACT if _WHOLE[name] < _WHOLE[other] else Way.LOSSY
    if name in _WHOLE and other == "numeric":
        return Way.EXACT if not room or room[0] - room[1] >= _WHOLE[name] else Way.LOSSY
    full = not room or room[0] == _MICROSECONDS or name == "date"
    return Way.EXACT if (name, other) in _EXACT and full else Way.LOSSY


def base_of(sql_type: str) -> str:
    """The type without its modifier: what an explicit cast may name without cutting off what is too long."""
    array = "[]" if sql_type.endswith("[]") else ""
    return _parts(sql_type.removesuffix("[]"))[0] + array


def _modified(name: str, modifier: tuple[int, ...], room: tuple[int, ...]) -> Way:
    if not room or modifier == room:
        return Way.RELABEL
    if name == "character varying" or name.startswith("time"):
        return Way.RELABEL if modifier and modifier[0] <= room[0] else Way.LOSSY
    if name == "numeric" and modifier:
        if modifier[1] == room[1] and modifier[0] <= room[0]:
            return Way.RELABEL
        if modifier[1] <= room[1] and modifier[0] - modifier[1] <= room[0] - room[1]:
            return Way.EXACT
    return Way.LOSSY


def _parts(sql_type: str) -> tuple[str, tuple[int, ...]]:
    found = _PARTS.fullmatch(sql_type)
    if found is None or sql_type.startswith('"'):
        return sql_type, ()
    modifier = found["modifier"]
    return found["name"] + (found["rest"] or ""), tuple(map(int, modifier.split(","))) if modifier else ()
