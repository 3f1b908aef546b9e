"""A rule as SQL, for a row-level security policy or the WHERE of a read.

Every term is in parentheses, so that nothing depends on precedence, and what the reader is comes from functions in a
scalar sub-select, which the planner evaluates once per query.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pgsync.expression.tree import (
    Actor,
    ActorOperand,
    And,
    AnyOf,
    ColumnOperand,
    Compare,
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
from pgsync.names import literal, quote

_ACTOR: Final[Mapping[Actor, str]] = {
    Actor.ID: "(SELECT pgsync.participant_id())",
    Actor.KIND: "(SELECT pgsync.participant_kind())",
    Actor.ORGANIZATION_ID: "(SELECT pgsync.organization_id())",
    # The cast keeps ANY from reading the sub-select as a set of rows.
    Actor.GROUPS: "(SELECT pgsync.actor_groups())::pg_catalog.text[]",
}
_CASTS: Final[Mapping[Kind, str]] = {
    Kind.UUID: "::pg_catalog.uuid",
    Kind.DATE: "::pg_catalog.date",
    Kind.TIMESTAMP: "::pg_catalog.timestamp",
    Kind.TIMESTAMPTZ: "::pg_catalog.timestamptz",
}


def render_rule(rule: Rule, *, alias: str | None = None) -> str:
    """The rule as a boolean SQL expression, byte-stable. `alias` goes before each column."""
    return _predicate(rule.predicate, "" if alias is None else f"{quote(alias)}.")


def _predicate(node: Predicate, prefix: str) -> str:
    match node:
        case And(terms):
            return "(" + " AND ".join(_predicate(term, prefix) for term in terms) + ")"
        case Or(terms):
            return "(" + " OR ".join(_predicate(term, prefix) for term in terms) + ")"
        case Not(IsNull(operand)):
            return f"({_operand(operand, prefix)} IS NOT NULL)"
        case Not(term):
            return f"(NOT {_predicate(term, prefix)})"
        case IsNull(operand):
            return f"({_operand(operand, prefix)} IS NULL)"
        case Truth(operand):
            return _operand(operand, prefix)
        case Compare(operator, left, right, _):
            return f"({_operand(left, prefix)} {operator} {_operand(right, prefix)})"
        case In(item, choices, _):
            return f"({_operand(item, prefix)} IN ({', '.join(_operand(choice, prefix) for choice in choices)}))"
        case AnyOf(item, array, _):
            return f"({_operand(item, prefix)} = ANY ({_operand(array, prefix)}))"


def _operand(operand: Operand, prefix: str) -> str:
    match operand:
        case ColumnOperand(column=column, as_text=as_text):
            return prefix + quote(column) + ("::pg_catalog.text" if as_text else "")
        case ActorOperand(attribute):
            return _ACTOR[attribute]
    match operand.kind:
        case Kind.BOOLEAN:
            return "TRUE" if operand.text == "t" else "FALSE"
        case Kind.INTEGER | Kind.DECIMAL | Kind.FLOAT:
            return operand.text
    return literal(operand.text) + _CASTS.get(operand.kind, "")
