"""From the text of a rule to its typed tree, refusing whatever Postgres and Python might decide differently.

sqlglot reads the SQL; every node type that is not in the table below is refused by name, and so is a node with an
argument that we do not look at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from typing import Final
from uuid import UUID

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

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
    Operator,
    Or,
    Predicate,
    Rule,
    Truth,
)
from pgsync.models import Field, Kind, Model

_MAX_BYTES: Final = 10_000
_MAX_DEPTH: Final = 20  # well below where sqlglot runs out of stack, whoever calls

_NUMBERS: Final = (Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT)
_ORDERED: Final = (*_NUMBERS, Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMPTZ, Kind.UUID, Kind.BOOLEAN)
# Types whose values compare the same here and there; a char(n), a citext or a real would not.
_TYPES: Final[Mapping[str, Kind]] = {
    "text": Kind.TEXT,
    "character varying": Kind.TEXT,
    "smallint": Kind.INTEGER,
    "integer": Kind.INTEGER,
    "bigint": Kind.INTEGER,
    "numeric": Kind.DECIMAL,
    "double precision": Kind.FLOAT,
    "boolean": Kind.BOOLEAN,
    "date": Kind.DATE,
    "timestamp without time zone": Kind.TIMESTAMP,
    "timestamp with time zone": Kind.TIMESTAMPTZ,
    "uuid": Kind.UUID,
}
_PARTICIPANTS: Final = ("user", "agent", "system")


@dataclass(frozen=True, slots=True)
class Refusal:
    """One thing in a rule that cannot be had: the construct as written, why, and what to write instead."""

    construct: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.construct}: {self.reason}; {self.remedy}"


class RuleError(Exception):
    """A rule that cannot be used; `refusals` lists every reason."""

    def __init__(self, refusals: Iterable[Refusal]) -> None:
        self.refusals = tuple(refusals)
        super().__init__("\n".join(map(str, self.refusals)))


def parse_rule(text: str, fields: Iterable[Field]) -> Rule:
    """The typed tree of a rule over these columns. Raises RuleError with everything that is wrong with it."""
    reader = _Reader({field.column: field for field in fields})
    predicate = reader.read(text)
    if reader.refusals or predicate is None:
        raise RuleError(dict.fromkeys(reader.refusals))
    return Rule(predicate, tuple(sorted(reader.columns)), reader.uses_actor)


def comparable_kind(field: Field) -> Kind | None:
    """The kind in which values of this field compare alike in Postgres and in Python; None when they do not."""
    base = re.sub(r"\(\d+(,\d+)?\)", "", field.sql_type.removesuffix("[]"))
    return field.kind if _TYPES.get(base) is field.kind else None


def rule_of(model: Model) -> Rule | None:
    """The rule of a pushed model; None when it has none."""
    return None if model.rule is None else parse_rule(model.rule, model.fields)


class _RefusedError(Exception):
    """Leaves the term that is being read; the refusal has been noted by then."""


class _Reader:
    def __init__(self, fields: Mapping[str, Field]) -> None:
        self._fields = fields
        self._depth = 0
        self.refusals: list[Refusal] = []
        self.columns: set[str] = set()
        self.uses_actor = False

    def read(self, text: str) -> Predicate | None:
        """The predicate, or None with at least one refusal noted."""
        shown = text if len(text) < 60 else text[:57] + "..."
        if len(text.encode("utf-8", "replace")) > _MAX_BYTES or "\0" in text:
            self.refusals.append(Refusal(shown, f"is longer than {_MAX_BYTES} bytes or holds NUL", "write less"))
            return None
        try:
            statements = sqlglot.parse(text, read="postgres")
        except RecursionError:
            self.refusals.append(Refusal(shown, f"is nested deeper than {_MAX_DEPTH} levels", "flatten the rule"))
            return None
        except SqlglotError as error:
            reason = str(error).split("\n")[0].rstrip(".").replace("\x1b[4m", "").replace("\x1b[0m", "")
            self.refusals.append(Refusal(shown, f"is not an SQL expression ({reason})", "correct its syntax"))
            return None
        if len(statements) != 1 or not isinstance(statements[0], exp.Expression):
            self.refusals.append(Refusal(shown or "''", "is not one expression", "write one boolean expression"))
            return None
        return self._term(statements[0])

    # Predicates

    def _term(self, node: exp.Expression) -> Predicate | None:
        """A predicate; None when it was refused. Its neighbours are read all the same, for their own refusals."""
        self._depth += 1
        try:
            if self._depth > _MAX_DEPTH:
                raise self._refuse(node, f"is nested deeper than {_MAX_DEPTH} levels", "flatten the rule")
            read = _PREDICATES.get(type(node))
            if read is None:
                raise self._refuse_unknown(node)
            return read(self, node)
        except _RefusedError:
            return None
        finally:
            self._depth -= 1

    def _paren(self, node: exp.Expression) -> Predicate:
        self._only(node, "this")
        return self._must(self._term(node.this))

    def _and(self, node: exp.Expression) -> Predicate:
        return And(self._chain(node, exp.And))

    def _or(self, node: exp.Expression) -> Predicate:
        return Or(self._chain(node, exp.Or))

    def _chain(self, node: exp.Expression, kind: type[exp.Expression]) -> tuple[Predicate, ...]:
        """The terms of `a AND b AND c`, which sqlglot nests to the left, without a level of depth for each."""
        parts: list[exp.Expression] = []
        while isinstance(node, kind):
            self._only(node, "this", "expression")
            parts.append(node.expression)
            node = node.this
        parts.append(node)
        terms = [self._term(part) for part in reversed(parts)]
        return tuple(self._must(term) for term in terms)

    def _not(self, node: exp.Expression) -> Predicate:
        self._only(node, "this")
        return Not(self._must(self._term(node.this)))

    def _boolean(self, node: exp.Expression) -> Predicate:
        self._only(node, "this")
        return Truth(Constant("t" if node.this else "f", Kind.BOOLEAN))

    def _bare(self, node: exp.Expression) -> Predicate:
        operand = self._operand(node)
        if not isinstance(operand, ColumnOperand) or operand.kind is not Kind.BOOLEAN or operand.array:
            raise self._refuse(node, "is not true or false by itself", "compare it with something")
        return Truth(operand)

    def _is(self, node: exp.Expression) -> Predicate:
        self._only(node, "this", "expression", "negate")
        if not isinstance(node.expression, exp.Null):
            raise self._refuse(node, "IS takes only NULL here", "write the column alone, or NOT <column>")
        term = IsNull(self._operand(node.this))
        return Not(term) if node.args.get("negate") else term

    def _compare(self, node: exp.Expression) -> Predicate:
        self._only(node, "this", "expression")
        operator = _OPERATORS[type(node)]
        if isinstance(node.expression, exp.Any):
            return self._any(node, operator)
        left, right = self._operands(node, [node.this, node.expression])
        left, right, kind = self._agree(node, left, right)
        if operator not in ("=", "<>") and kind not in _ORDERED:
            raise self._refuse(
                node,
                "orders text, which depends on the collation of the database",
                "compare text with =, <> or IN, and order only numbers, dates, uuids and booleans",
            )
        return Compare(operator, left, right, kind)

    def _any(self, node: exp.Expression, operator: Operator) -> Predicate:
        self._only(node.expression, "this")
        if operator != "=":
            raise self._refuse(node, "only = goes with ANY", "write NOT (x = ANY (..)) to exclude")
        inner = node.expression.this
        if isinstance(inner, exp.Paren):
            self._only(inner, "this")
            inner = inner.this
        item, array = self._operands(node, [node.this, inner])
        if isinstance(array, ActorOperand) and array.attribute is Actor.GROUPS:
            element: Operand = ActorOperand(Actor.ID)  # any text
        elif isinstance(array, ColumnOperand) and array.array:
            element = ColumnOperand(array.column, array.kind, array.sql_type)
        else:
            raise self._refuse(node, "ANY takes an array column or actor.groups", "write IN (..) for a list of values")
        item, seen, kind = self._agree(node, item, element)
        if isinstance(seen, ColumnOperand) and seen.as_text:
            raise self._refuse(node, "compares text with elements that are not", "keep the ids in a text[] column")
        return AnyOf(item, array, kind)

    def _in(self, node: exp.Expression) -> Predicate:
        self._only(node, "this", "expressions")
        item, *choices = self._operands(node, [node.this, *node.expressions])
        if not choices:
            raise self._refuse(node, "is an empty list", "list at least one value")
        agreed = [self._agree(node, item, choice) for choice in choices]
        kinds = {kind for _, _, kind in agreed}
        kind = max(kinds, key=_NUMBERS.index) if kinds <= set(_NUMBERS) else agreed[0][2]
        if len({left for left, _, _ in agreed}) > 1 or not (kinds == {kind} or kinds <= set(_NUMBERS)):
            raise self._refuse(node, "lists values of different types", "list values of the type of the left side")
        return In(agreed[0][0], tuple(right for _, right, _ in agreed), kind)

    def _between(self, node: exp.Expression) -> Predicate:
        self._only(node, "this", "low", "high")
        return And(
            (
                self._compare(exp.GTE(this=node.this.copy(), expression=node.args["low"].copy())),
                self._compare(exp.LTE(this=node.this.copy(), expression=node.args["high"].copy())),
            )
        )

    # Operands and their types

    def _operands(self, node: exp.Expression, parts: list[exp.Expression]) -> list[Operand]:
        """All operands of a node, each refused for itself."""
        found: list[Operand] = []
        for part in parts:
            try:
                found.append(self._operand(part))
            except _RefusedError:
                continue
        if len(found) < len(parts):
            raise _RefusedError
        return found

    def _operand(self, node: exp.Expression) -> Operand:
        if isinstance(node, exp.Paren):
            self._only(node, "this")
            return self._operand(node.this)
        if isinstance(node, exp.Column):
            return self._column(node)
        if isinstance(node, exp.Literal):
            return self._literal(node, node.this, is_string=node.is_string)
        if isinstance(node, exp.Neg) and isinstance(node.this, exp.Literal) and not node.this.is_string:
            return self._literal(node, "-" + node.this.this, is_string=False)
        if isinstance(node, exp.Boolean):
            return Constant("t" if node.this else "f", Kind.BOOLEAN)
        if isinstance(node, exp.Null):
            raise self._refuse(node, "a comparison with NULL is never true", "write IS NULL or IS NOT NULL")
        raise self._refuse_unknown(node)

    def _column(self, node: exp.Column) -> Operand:
        self._only(node, "this", "table")
        identifier, table = node.this, node.args.get("table")
        if not isinstance(identifier, exp.Identifier):
            raise self._refuse_unknown(node)
        if table is not None:
            if _folded(table) != "actor" or table.args.get("quoted"):
                raise self._refuse(node, "a rule sees the columns of its own row only", "write columns without a table")
            name = _folded(identifier)
            if name not in list(Actor):
                raise self._refuse(node, f"an actor has {', '.join(Actor)} only", "use one of these")
            self.uses_actor = True
            return ActorOperand(Actor(name))
        column = _folded(identifier)
        field = self._fields.get(column)
        if field is None:
            raise self._refuse(node, "is no column of the model", self._suggest(identifier.this))
        if field.kind is not Kind.JSON and comparable_kind(field) is None:
            raise self._refuse(
                node, f"type {field.sql_type} does not compare alike in Postgres and here", "use another column"
            )
        self.columns.add(column)
        return ColumnOperand(column, field.kind, field.sql_type, field.array)

    def _suggest(self, written: str) -> str:
        by_name = {field.name: field.column for field in self._fields.values()}
        if written in by_name:
            return f"a rule names columns: write {by_name[written]}"
        close = get_close_matches(written, self._fields, n=1)
        return f"did you mean {close[0]}?" if close else f"use one of {', '.join(self._fields)}"

    def _literal(self, node: exp.Expression, text: str, *, is_string: bool) -> Constant:
        if is_string:
            return Constant(text, Kind.TEXT)
        try:
            number = Decimal(text)
        except InvalidOperation:
            raise self._refuse(node, "is not a plain number", "write digits and a decimal point") from None
        if len(text) > 40 or not -100 < number.adjusted() < 100:
            raise self._refuse(node, "is too long a number", "write at most 40 digits")
        whole = number == number.to_integral_value()
        return Constant(f"{number:f}", Kind.INTEGER if whole and "." not in text else Kind.DECIMAL)

    def _agree(self, node: exp.Expression, left: Operand, right: Operand) -> tuple[Operand, Operand, Kind]:
        """Both sides and the kind in which they are compared. A string literal becomes what the other side is."""
        for operand in (left, right):
            if isinstance(operand, ActorOperand) and operand.attribute is Actor.GROUPS:
                raise self._refuse(node, "actor.groups is a list", "write <text> = ANY (actor.groups)")
            if isinstance(operand, ColumnOperand) and operand.array:
                raise self._refuse(node, f"{operand.column} is an array", "write <value> = ANY (<array column>)")
            if isinstance(operand, ColumnOperand) and operand.kind is Kind.JSON:
                raise self._refuse(
                    node, f"{operand.column} is JSON, which a rule can only test for NULL", "use a plain column"
                )
        if isinstance(left, Constant) and left.kind is Kind.TEXT and not isinstance(right, Constant):
            right, left, kind = self._agree(node, right, left)
            return left, right, kind
        if isinstance(right, Constant) and right.kind is Kind.TEXT:
            if isinstance(left, ActorOperand) and left.attribute is Actor.KIND and right.text not in _PARTICIPANTS:
                raise self._refuse(node, f"no actor is a {right.text!r}", f"use one of {', '.join(_PARTICIPANTS)}")
            if _kind(left) is not Kind.TEXT:
                right = self._convert(node, right, left)
        left_kind, right_kind = _kind(left), _kind(right)
        if left_kind is right_kind:
            return left, right, left_kind
        if left_kind in _NUMBERS and right_kind in _NUMBERS:
            return left, right, self._number_kind(node, left, right)
        for one, other in ((left, right), (right, left)):
            ids = isinstance(other, ColumnOperand) and other.kind in (Kind.UUID, Kind.INTEGER)
            if isinstance(one, ActorOperand) and isinstance(other, ColumnOperand) and ids:
                text = ColumnOperand(other.column, other.kind, other.sql_type, as_text=True)
                return (text if left is other else left), (text if right is other else right), Kind.TEXT
        raise self._refuse(
            node,
            f"compares {_describe(left)} with {_describe(right)}",
            "compare values of one type",
        )

    def _number_kind(self, node: exp.Expression, left: Operand, right: Operand) -> Kind:
        kinds = {_kind(left), _kind(right)}
        if Kind.FLOAT not in kinds:
            return Kind.DECIMAL
        if Kind.DECIMAL in kinds and isinstance(left, ColumnOperand) and isinstance(right, ColumnOperand):
            raise self._refuse(node, "compares double precision with numeric", "give both columns one type")
        return Kind.FLOAT

    def _convert(self, node: exp.Expression, literal: Constant, other: Operand) -> Constant:
        kind = _kind(other)
        convert = _LITERALS.get(kind)
        if convert is None:
            raise self._refuse(node, f"compares {_describe(other)} with a string", "compare values of one type")
        try:
            return Constant(convert(literal.text), kind)
        except ValueError as error:
            raise self._refuse(
                node, f"{literal.text!r} is not {_KIND_NAMES[kind]} ({error})", _LITERAL_REMEDY[kind]
            ) from None

    # Refusing

    def _only(self, node: exp.Expression, *looked_at: str) -> None:
        """Refuses a node that says more than we read from it."""
        extra = [name for name, value in node.args.items() if value and name not in looked_at]
        if extra:
            raise self._refuse(node, f"{', '.join(extra)} of {_name(node)} is not supported", "write it another way")

    def _must(self, term: Predicate | None) -> Predicate:
        if term is None:
            raise _RefusedError
        return term

    def _refuse_unknown(self, node: exp.Expression) -> _RefusedError:
        return self._refuse(
            node,
            f"{_name(node)} cannot be decided alike in Postgres and on the stream",
            "use columns, actor.*, literals, AND, OR, NOT, =, <>, <, <=, >, >=, IN (..), IS NULL and = ANY (..)",
        )

    def _refuse(self, node: exp.Expression, reason: str, remedy: str) -> _RefusedError:
        shown = node.sql(dialect="postgres", comments=False)
        self.refusals.append(Refusal(shown if len(shown) < 80 else shown[:77] + "...", reason, remedy))
        return _RefusedError()


_OPERATORS: Final[Mapping[type[exp.Expression], Operator]] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}

_PREDICATES: Final[Mapping[type[exp.Expression], Callable[[_Reader, exp.Expression], Predicate]]] = {
    exp.Paren: _Reader._paren,
    exp.And: _Reader._and,
    exp.Or: _Reader._or,
    exp.Not: _Reader._not,
    exp.Boolean: _Reader._boolean,
    exp.Column: _Reader._bare,
    exp.Is: _Reader._is,
    exp.In: _Reader._in,
    exp.Between: _Reader._between,
    **dict.fromkeys(_OPERATORS, _Reader._compare),
}


def _folded(identifier: exp.Expression) -> str:
    """The name that Postgres takes: unquoted names are folded to lower case."""
    name = str(identifier.this)
    return name if identifier.args.get("quoted") else name.lower()


def _kind(operand: Operand) -> Kind:
    if isinstance(operand, ActorOperand):
        return Kind.TEXT
    return operand.kind


def _describe(operand: Operand) -> str:
    if isinstance(operand, ActorOperand):
        return f"actor.{operand.attribute} (text)"
    if isinstance(operand, ColumnOperand):
        return f"{operand.column} ({operand.sql_type})"
    return f"{operand.text!r} ({_KIND_NAMES[operand.kind]})"


def _name(node: exp.Expression) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(node).__name__).upper()


def _date(text: str) -> str:
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        raise ValueError("YYYY-MM-DD")
    return date.fromisoformat(text).isoformat()


def _timestamptz(text: str) -> str:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("it has no time zone")
    return moment.astimezone(UTC).isoformat(sep=" ").replace("+00:00", "+00")


def _timestamp(text: str) -> str:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is not None:
        raise ValueError("it has a time zone")
    return moment.isoformat(sep=" ")


_LITERALS: Final[Mapping[Kind, Callable[[str], str]]] = {
    Kind.UUID: lambda text: str(UUID(text)),
    Kind.DATE: _date,
    Kind.TIMESTAMPTZ: _timestamptz,
    Kind.TIMESTAMP: _timestamp,
}
_LITERAL_REMEDY: Final[Mapping[Kind, str]] = {
    Kind.UUID: "write a UUID",
    Kind.DATE: "write a date such as '2026-01-31'",
    Kind.TIMESTAMPTZ: "write a moment such as '2026-01-31T12:00:00Z'",
    Kind.TIMESTAMP: "write a time such as '2026-01-31T12:00:00'",
}
_KIND_NAMES: Final[Mapping[Kind, str]] = {
    Kind.TEXT: "text",
    Kind.INTEGER: "a whole number",
    Kind.DECIMAL: "a number",
    Kind.FLOAT: "a number",
    Kind.BOOLEAN: "a boolean",
    Kind.DATE: "a date",
    Kind.TIMESTAMP: "a timestamp",
    Kind.TIMESTAMPTZ: "a moment",
    Kind.UUID: "a UUID",
    Kind.JSON: "JSON",
    Kind.BYTES: "bytes",
}
