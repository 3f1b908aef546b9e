"""A read rule as a tree of our own: small enough that every node can be rendered to SQL and matched in Python.

A tree is typed: `parse_rule` only builds one whose comparisons Postgres and Python decide alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal as OneOf

from pgsync.models import Kind


class Actor(StrEnum):
    """What a rule may know about the reader. `groups` is a text array, the others are text."""

    ID = "id"
    KIND = "kind"
    ORGANIZATION_ID = "organization_id"
    GROUPS = "groups"


@dataclass(frozen=True, slots=True)
class ColumnOperand:
    """The value of a column. `as_text`: its text form is compared, because the other side is text (an actor's id)."""

    column: str
    kind: Kind
    sql_type: str
    array: bool = False
    as_text: bool = False


@dataclass(frozen=True, slots=True)
class ActorOperand:
    """What the reader is."""

    attribute: Actor


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal in the spelling in which Postgres would print it, to be read as `kind`."""

    text: str
    kind: Kind


Operand = ColumnOperand | ActorOperand | Constant
Operator = OneOf["=", "<>", "<", "<=", ">", ">="]


@dataclass(frozen=True, slots=True)
class Compare:
    """`left <operator> right`, both read as `kind`."""

    operator: Operator
    left: Operand
    right: Operand
    kind: Kind


@dataclass(frozen=True, slots=True)
class In:
    """`item IN (choices)`, all read as `kind`."""

    item: Operand
    choices: tuple[Operand, ...]
    kind: Kind


@dataclass(frozen=True, slots=True)
class AnyOf:
    """`item = ANY (array)`, the elements read as `kind`."""

    item: Operand
    array: Operand
    kind: Kind


@dataclass(frozen=True, slots=True)
class IsNull:
    """`operand IS NULL`."""

    operand: Operand


@dataclass(frozen=True, slots=True)
class Truth:
    """A boolean column by itself, or TRUE or FALSE."""

    operand: ColumnOperand | Constant


@dataclass(frozen=True, slots=True)
class Not:
    """`NOT term`."""

    term: Predicate


@dataclass(frozen=True, slots=True)
class And:
    """All terms."""

    terms: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any term."""

    terms: tuple[Predicate, ...]


Predicate = Compare | In | AnyOf | IsNull | Truth | Not | And | Or


@dataclass(frozen=True, slots=True)
class Rule:
    """A whole rule. `columns` are those it looks at, sorted; without `uses_actor` it is the same for every reader."""

    predicate: Predicate
    columns: tuple[str, ...]
    uses_actor: bool
