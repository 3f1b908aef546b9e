"""The tuples of a `where` parameter as a function over rows of the log, by the engine that judges read rules there.

What Postgres and Python might decide differently (an order of texts, which depends on the database's collation; types
of somebody's own) is refused, so that a reader never sees one set of rows in a list and another on the stream.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from typing import Final
from uuid import UUID

from pgsync import wire
from pgsync.errors import PgsyncError
from pgsync.expression import Reader, comparable_kind, compile_verdict
from pgsync.expression.tree import (
    And,
    ColumnOperand,
    Compare,
    Constant,
    In,
    IsNull,
    Not,
    Operator,
    Or,
    Predicate,
    Rule,
)
from pgsync.gateway.condition import Term
from pgsync.models import Field, Kind
from pgsync.stream.events import Condition
from pgsync.stream.transaction import RuleRow

_ORDERS: Final = frozenset({"<", "<=", ">", ">="})
_COMPARISONS: Final[dict[str, Operator]] = {
    "=": "=",
    "!=": "<>",
    "<": "<",
    "<=": "<=",
    ">": ">",
    ">=": ">=",
    "IS": "=",
    "IS NOT": "<>",
}
_NOBODY: Final = Reader(None, None, None)
_FRACTION = re.compile(r"[.,]\d{7}")


def condition_of(terms: Sequence[Term], text: str) -> Condition:
    """What all of these tuples say together. Raises query_unsupported_operator for one that the stream cannot judge."""
    tree: list[Predicate] = []
    patterns: list[Callable[[RuleRow], bool]] = []
    for term in terms:
        if term.operator in ("LIKE", "NOT LIKE"):
            patterns.append(_like(term))
        else:
            tree.append(_predicate(term))
    columns = tuple(sorted({term.field.column for term in terms}))
    verdict = compile_verdict(Rule(And(tuple(tree)), columns, uses_actor=False))

    def holds(row: RuleRow) -> bool:
        return verdict(row, _NOBODY) is True and all(like(row) for like in patterns)

    return Condition(text, columns, holds)


def _predicate(term: Term) -> Predicate:
    field = term.field
    column = ColumnOperand(field.column, field.kind, field.sql_type, field.array)
    if term.values is None:
        null = IsNull(column)
        return null if term.operator == "IS" else Not(null)
    kind = comparable_kind(field)
    if kind is None:
        wire.refuse(
            "query_unsupported_operator",
            f"{field.name} is of type {field.sql_type}, which the stream can only compare with null",
            param=term.param,
        )
    if term.operator not in ("IN", "NOT IN", *_COMPARISONS):
        wire.refuse(
            "query_unsupported_operator",
            f"{term.operator} depends on the collation of the database: the stream takes LIKE",
            param=term.param,
        )
    if term.operator in _ORDERS and kind is Kind.TEXT:
        wire.refuse(
            "query_unsupported_operator",
            f"the order of texts such as {field.name} depends on the collation of the database",
            param=term.param,
        )
    constants = tuple(Constant(_canonical(field, value, term.param), kind) for value in term.values)
    match term.operator:
        case "IN":
            return In(column, constants, kind)
        case "NOT IN":
            return Not(In(column, constants, kind)) if constants else And(())
        case "IS":
            return And((Not(IsNull(column)), Compare("=", column, constants[0], kind)))
        case "IS NOT":
            return Or((IsNull(column), Compare("<>", column, constants[0], kind)))
        case operator:
            return Compare(_COMPARISONS[operator], column, constants[0], kind)


def _canonical(field: Field, text: str, param: str) -> str:
    """The value as Postgres would print it, in UTC."""
    match field.kind:
        case Kind.BOOLEAN:
            return "t" if text == "true" else "f"
        case Kind.UUID:
            return str(UUID(text))
        case Kind.DATE | Kind.TIMESTAMPTZ | Kind.TIMESTAMP if text in ("infinity", "-infinity"):
            return text
        case Kind.DATE:
            return date.fromisoformat(text).isoformat()
        case Kind.TIMESTAMPTZ | Kind.TIMESTAMP:
            if _FRACTION.search(text):
                wire.refuse("query_unsupported_operator", f"{field.name} has microseconds and no less", param=param)
            moment = datetime.fromisoformat(text)
            if field.kind is Kind.TIMESTAMP or moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)  # the session's zone is UTC, and a plain timestamp has none
            try:
                return moment.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ")
            except OverflowError as error:
                raise PgsyncError("model_query_failed", f"{field.name} cannot be that value", param=param) from error
        case _:
            return text


def _like(term: Term) -> Callable[[RuleRow], bool]:
    """LIKE as Postgres matches it in any deterministic collation: %, _ and the backslash."""
    if comparable_kind(term.field) is not Kind.TEXT:
        wire.refuse(
            "query_unsupported_operator",
            f"{term.field.name} is of type {term.field.sql_type}: the stream matches text only",
            param=term.param,
        )
    assert term.values is not None
    column, wanted = term.field.column, term.operator == "LIKE"
    segments = _segments(term.values[0])
    first, *others = [re.compile("".join(segment), re.DOTALL) for segment in segments]
    last_length = len(segments[-1])

    def matches(value: str) -> bool:
        # Segment by segment, each at its first place: one expression with many .* takes a time that nobody can bound.
        found = first.match(value)
        if found is None:
            return False
        if not others:
            return found.end() == len(value)
        at = found.end()
        for segment in others[:-1]:
            found = segment.search(value, at)
            if found is None:
                return False
            at = found.end()
        rest = len(value) - last_length
        return rest >= at and others[-1].fullmatch(value, rest) is not None

    def holds(row: RuleRow) -> bool:
        value = row[column]
        return value is not None and matches(value) is wanted

    return holds


def _segments(pattern: str) -> list[list[str]]:
    """What stands between the %s of a pattern, one expression a character."""
    parts: list[list[str]] = [[]]
    escaped = False
    for character in pattern:
        if escaped or character not in "\\%_":
            parts[-1].append(re.escape(character))
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == "_":
            parts[-1].append(".")
        else:
            parts.append([])
    return parts
