"""A rule as a Python function over the text form of a row, with SQL's three-valued logic.

The values are what the write-ahead log carries: Postgres's text output under TimeZone UTC and DateStyle ISO.
"""

from __future__ import annotations

import operator as operators
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from pgsync.expression.tree import (
    Actor,
    ActorOperand,
    And,
    AnyOf,
    ColumnOperand,
    Compare,
    Constant,
    In,
    IsNull,
    Not,
    Operand,
    Or,
    Predicate,
    Rule,
    Truth,
)
from pgsync.models import Kind


@dataclass(frozen=True, slots=True)
class Reader:
    """Whom a row is matched for. An unknown id, kind or organization is None, as NULL in SQL."""

    id: str | None
    kind: str | None
    organization_id: str | None
    groups: frozenset[str] = frozenset()


Row = Mapping[str, str | None]
"""Column -> text form, None for NULL. Every column of the rule must be there."""

Verdict = Callable[[Row, Reader], bool | None]
"""True, False, or None for NULL."""

_Value = Callable[[Row, Reader], Any]


def compile_rule(rule: Rule) -> Callable[[Row, Reader], bool]:
    """A function that tells whether the reader may see the row: the rule is true, neither false nor NULL.

    It raises KeyError when the row lacks a column of the rule.
    """
    verdict = compile_verdict(rule)
    return lambda row, reader: verdict(row, reader) is True


def compile_verdict(rule: Rule) -> Verdict:
    """As `compile_rule`, but with the three-valued result itself."""
    return _predicate(rule.predicate)


def _predicate(node: Predicate) -> Verdict:
    match node:
        case And(terms):
            return _connective([_predicate(term) for term in terms], decisive=False)
        case Or(terms):
            return _connective([_predicate(term) for term in terms], decisive=True)
        case Not(term):
            return _negation(_predicate(term))
        case IsNull(operand):
            value = _text(operand)
            return lambda row, reader: value(row, reader) is None
        case Truth(operand):
            return _value(operand, Kind.BOOLEAN)
        case Compare(operator, left, right, kind):
            return _comparison(_OPERATORS[operator], _value(left, kind), _value(right, kind))
        case In(item, choices, kind) if all(isinstance(choice, Constant) for choice in choices):
            convert = _CONVERT[kind]
            known = frozenset(convert(choice.text) for choice in choices if isinstance(choice, Constant))
            return _among(_value(item, kind), known)
        case In(item, choices, kind):
            equal = [_comparison(operators.eq, _value(item, kind), _value(choice, kind)) for choice in choices]
            return _connective(equal, decisive=True)
        case AnyOf(item, array, kind):
            return _membership(_value(item, kind), array, kind)


def _connective(terms: Sequence[Verdict], *, decisive: bool) -> Verdict:
    """AND (decided by a False) or OR (decided by a True); undecided it is NULL if any term was."""

    def evaluate(row: Row, reader: Reader) -> bool | None:
        result: bool | None = not decisive
        for term in terms:
            verdict = term(row, reader)
            if verdict is decisive:
                return decisive
            if verdict is None:
                result = None
        return result

    return evaluate


def _negation(term: Verdict) -> Verdict:
    def evaluate(row: Row, reader: Reader) -> bool | None:
        verdict = term(row, reader)
        return None if verdict is None else not verdict

    return evaluate


def _comparison(compare: Callable[[Any, Any], bool], left: _Value, right: _Value) -> Verdict:
    def evaluate(row: Row, reader: Reader) -> bool | None:
        a = left(row, reader)
        if a is None:
            return None
        b = right(row, reader)
        return None if b is None else compare(a, b)

    return evaluate


def _among(item: _Value, choices: frozenset[Any]) -> Verdict:
    """As a chain of comparisons with constants, of which none is NULL."""

    def evaluate(row: Row, reader: Reader) -> bool | None:
        value = item(row, reader)
        return None if value is None and choices else value in choices

    return evaluate


def _membership(item: _Value, array: Operand, kind: Kind) -> Verdict:
    if isinstance(array, ActorOperand):

        def in_groups(row: Row, reader: Reader) -> bool | None:
            if not reader.groups:
                return False
            wanted = item(row, reader)
            return None if wanted is None else wanted in reader.groups

        return in_groups

    convert = _CONVERT[kind]
    text = _text(array)

    def in_array(row: Row, reader: Reader) -> bool | None:
        found = text(row, reader)
        if found is None:
            return None
        elements = array_elements(found)
        if not elements:
            return False  # even for NULL: Postgres looks at the length first
        wanted = item(row, reader)
        if wanted is None:
            return None
        if any(element is not None and convert(element) == wanted for element in elements):
            return True
        return None if None in elements else False

    return in_array


def _value(operand: Operand, kind: Kind) -> _Value:
    """The operand as a Python value that compares as Postgres compares values of this kind; None for NULL."""
    convert = _CONVERT[kind]
    if isinstance(operand, Constant):
        constant = convert(operand.text)
        return lambda row, reader: constant
    text = _text(operand)
    if kind is Kind.TEXT:
        return text

    def evaluate(row: Row, reader: Reader) -> Any:
        found = text(row, reader)
        return None if found is None else convert(found)

    return evaluate


def _text(operand: Operand) -> Callable[[Row, Reader], str | None]:
    match operand:
        case ColumnOperand(column=column):
            return lambda row, reader: row[column]
        case ActorOperand(Actor.ID):
            return lambda row, reader: reader.id
        case ActorOperand(Actor.KIND):
            return lambda row, reader: reader.kind
        case ActorOperand(Actor.ORGANIZATION_ID):
            return lambda row, reader: reader.organization_id
        case ActorOperand():
            return lambda row, reader: ""  # groups: never NULL
        case Constant(text=text):
            return lambda row, reader: text


_OPERATORS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": operators.eq,
    "<>": operators.ne,
    "<": operators.lt,
    "<=": operators.le,
    ">": operators.gt,
    ">=": operators.ge,
}


def _float(text: str) -> tuple[bool, float]:
    """To Postgres NaN equals NaN and is greater than every number."""
    number = float(text)
    return (True, 0.0) if number != number else (False, number)


def _decimal(text: str) -> tuple[bool, Decimal]:
    number = Decimal(text)
    return (True, Decimal(0)) if number.is_nan() else (False, number)


_MOMENT = re.compile(r"(\d+)-(\d\d)-(\d\d)(?:[ T](\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?)?(?:\+00)?( BC)?\Z")


def _moment(text: str) -> tuple[int, ...]:
    """A date or time as numbers that sort as it does; Python's own types end at year 9999 and know no infinity."""
    if text == "infinity":
        return (1,)
    if text == "-infinity":
        return (-1,)
    found = _MOMENT.match(text)
    if found is None:
        raise ValueError(f"{text!r} is not a date or time in UTC")
    year, month, day, hour, minute, second, fraction, before_christ = found.groups()
    return (
        0,
        1 - int(year) if before_christ else int(year),
        int(month),
        int(day),
        int(hour or 0),
        int(minute or 0),
        int(second or 0),
        int((fraction or "").ljust(6, "0")),
    )


def _boolean(text: str) -> bool:
    return text in ("t", "true")


def _same(text: str) -> str:
    return text


_CONVERT: Final[Mapping[Kind, Callable[[str], Any]]] = {
    Kind.TEXT: _same,
    Kind.UUID: _same,  # lower-case hex sorts as the bytes do
    Kind.INTEGER: int,
    Kind.DECIMAL: _decimal,
    Kind.FLOAT: _float,
    Kind.BOOLEAN: _boolean,
    Kind.DATE: _moment,
    Kind.TIMESTAMP: _moment,
    Kind.TIMESTAMPTZ: _moment,
}

_ELEMENT = re.compile(r'"((?:[^"\\]|\\.)*)"|([^{},"]+)', re.DOTALL)


def array_elements(text: str) -> list[str | None]:
    """The elements of an array in text form, whatever its dimensions, as `= ANY` sees them."""
    body = text[text.index("{") :]  # what stands before it are bounds other than 1
    return [
        re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL) if plain == "" else None if plain.upper() == "NULL" else plain
        for quoted, plain in _ELEMENT.findall(body)
    ]
