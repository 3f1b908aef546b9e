"""Random schemas, each in two forms: the source that is pushed, and what the oracle believes of it.

The oracle's form shares nothing with `pgsync`: read rules are trees of its own that say their SQL and their verdict,
values become JSON by its own few lines, and who may see a row is written out below once more.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final, Protocol

import orjson

Row = Mapping[str, str | None]
"""A row as the log has it: column -> Postgres's text form, None for NULL."""

SCALARS: Final[Mapping[str, tuple[str, str]]] = {  # column -> (annotation, SQL type)
    "title": ("str | None", "text"),
    "body": ("str | None", "text"),
    "status": ('Literal["open", "busy", "done"] | None', "text"),
    "level": ("int | None", "integer"),
    "private": ("bool | None", "boolean"),
    "owner_id": ("str | None", "text"),
    "team_id": ("str | None", "text"),
    "due": ("date | None", "date"),
    "data": ("JSON | None", "jsonb"),
}
STATUSES: Final = ("open", "busy", "done")
PEOPLE: Final = ("ada", "bob", "bot")
TEAMS: Final = ("t1", "t2", "t3")
ORGANIZATIONS: Final = ("acme", "zeta")

_BASE: Final[Mapping[str, tuple[str, str]]] = {  # column -> (wire name, SQL type)
    "id": ("id", "text"),
    "organization_id": ("organizationId", "text"),
    "created_at": ("createdAt", "timestamptz"),
    "updated_at": ("updatedAt", "timestamptz"),
    "created_by": ("createdBy", "text"),
}


# --- who --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Identity:
    """Who reads. `readable` are the lower-cased typenames of the models it may read, None for all.

    `follows`: memberships add to its groups those that they grant. It is shown those that it has asked for, None for
    all; read rules know all that it has.
    """

    organization: str
    kind: str
    id: str
    groups: frozenset[str]
    readable: frozenset[str] | None = None
    follows: bool = False
    asked: frozenset[str] | None = None

    def with_groups(self, groups: frozenset[str]) -> Identity:
        """The same reader, subscribed to these groups."""
        return replace(self, asked=None if groups >= self.groups else groups)

    @lru_cache(maxsize=10_000)  # noqa: B019  there are few of them
    def holding(self, granted: frozenset[str]) -> Identity:
        """The same reader with the groups of its memberships, these being all that they grant."""
        return replace(self, groups=self.groups | granted, follows=False) if self.follows else self

    @property
    def shown(self) -> frozenset[str]:
        """The groups whose rows it is shown."""
        return self.groups if self.asked is None else self.groups & self.asked


# --- rules ------------------------------------------------------------------------------------------------------------


class Rule(Protocol):
    """A boolean expression over a row and its reader, in SQL and as a verdict: True, False, or None for NULL."""

    def sql(self) -> str: ...

    def verdict(self, row: Row, reader: Identity) -> bool | None: ...


@dataclass(frozen=True, slots=True)
class Equals:
    """`column = constant`, or `<>`; the constant is text, also of a number."""

    column: str
    value: str
    negated: bool = False

    def sql(self) -> str:
        value = self.value if self.column == "level" else f"'{self.value}'"
        return f"{self.column} {'<>' if self.negated else '='} {value}"

    def verdict(self, row: Row, reader: Identity) -> bool | None:
        value = row[self.column]
        return None if value is None else (value == self.value) is not self.negated


@dataclass(frozen=True, slots=True)
class AtLeast:
    """`level >= constant`."""

    value: int

    def sql(self) -> str:
        return f"level >= {self.value}"

    def verdict(self, row: Row, reader: Identity) -> bool | None:
        value = row["level"]
        return None if value is None else int(value) >= self.value


@dataclass(frozen=True, slots=True)
class IsActor:
    """`owner_id = actor.id`."""

    def sql(self) -> str:
        return "owner_id = actor.id"

    def verdict(self, row: Row, reader: Identity) -> bool | None:
        value = row["owner_id"]
        return None if value is None else value == reader.id


@dataclass(frozen=True, slots=True)
class ActorIs:
    """`actor.kind = constant`."""

    kind: str

    def sql(self) -> str:
        return f"actor.kind = '{self.kind}'"

    def verdict(self, row: Row, reader: Identity) -> bool | None:
        return reader.kind == self.kind


@dataclass(frozen=True, slots=True)
class InGroups:
    """`title = ANY (actor.groups)`, where titles are sometimes the name of a group."""

    def sql(self) -> str:
        return "title = ANY (actor.groups)"

    def verdict(self, row: Row, reader: Identity) -> bool | None:
        value = row["title"]
        return None if value is None else value in reader.groups


@dataclass(frozen=True, slots=True)
class OneOf:
    """`status IN (..)`."""

    values: tuple[str, ...]

    def sql(self) -> str:
        return "status IN (" + ", ".join(f"'{value}'" for value in self.values) + ")"

    def verdict(self, row: Row, reader: Identity) -> bool | None:
        value = row["status"]
        return None if value is None else value in self.values


@dataclass(frozen=True, slots=True)
class Flag:
    """`private`."""

    def sql(self) -> str:
        return "private"

    def verdict(self, row: Row, reader: Identity) -> bool | None:
        value = row["private"]
        return None if value is None else value == "t"


@dataclass(frozen=True, slots=True)
class Missing:
    """`column IS NULL`."""

    column: str

    def sql(self) -> str:
        return f"{self.column} IS NULL"

    def verdict(self, row: Row, reader: Identity) -> bool | None:
        return row[self.column] is None


@dataclass(frozen=True, slots=True)
class Not:
    """`NOT (..)`."""

    term: Rule

    def sql(self) -> str:
        return f"NOT ({self.term.sql()})"

    def verdict(self, row: Row, reader: Identity) -> bool | None:
        found = self.term.verdict(row, reader)
        return None if found is None else not found


@dataclass(frozen=True, slots=True)
class Chain:
    """`(..) AND (..)` or `(..) OR (..)`. `decides` is the verdict of one term that settles all: False for AND."""

    decides: bool
    terms: tuple[Rule, ...]

    def sql(self) -> str:
        return (" OR " if self.decides else " AND ").join(f"({term.sql()})" for term in self.terms)

    def verdict(self, row: Row, reader: Identity) -> bool | None:
        found = [term.verdict(row, reader) for term in self.terms]
        if self.decides in found:
            return self.decides
        return None if None in found else not self.decides


def random_rule(rng: random.Random, depth: int = 2, *, by_groups: bool) -> Rule:
    """A rule that lets through some rows and some not, for most readers. `by_groups`: it may name their groups."""

    def part() -> Rule:
        return random_rule(rng, depth - 1, by_groups=by_groups)

    if depth and rng.random() < 0.65:
        if rng.random() < 0.25:
            return Not(part())
        return Chain(rng.random() < 0.6, tuple(part() for _ in range(rng.randint(2, 3))))
    leaves: tuple[Rule, ...] = (
        Equals("status", rng.choice(STATUSES), rng.random() < 0.4),
        Equals("level", str(rng.randint(0, 5)), rng.random() < 0.5),
        AtLeast(rng.randint(1, 5)),
        IsActor(),
        IsActor(),
        ActorIs(rng.choice(("user", "agent"))),
        InGroups() if by_groups else IsActor(),
        OneOf(tuple(sorted(rng.sample(STATUSES, 2)))),
        Flag(),
        Not(Flag()),
        Missing(rng.choice(("owner_id", "status"))),
    )
    return rng.choice(leaves)


# --- models -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reference:
    """A belongs-to column. `parent`: the row is in the groups of the row it refers to. `fk`: the database checks it."""

    column: str
    target: str
    parent: bool
    on_delete: str
    fk: bool = True


@dataclass(frozen=True, slots=True)
class Granting:
    """A row of the model gives the participant in `subject` the group `<kind>:<value of scope>`; both are columns."""

    subject: str
    scope: str
    kind: str


@dataclass(frozen=True, slots=True)
class Model:
    """One model as the oracle knows it. `groups` are (kind, column); `late` columns come with a later version."""

    typename: str
    key: str
    tenant: bool
    scope: str | None
    groups: tuple[tuple[str, str], ...]
    rule: Rule | None
    references: tuple[Reference, ...] = ()
    late: tuple[str, ...] = ()
    grants: Granting | None = None

    @property
    def table(self) -> str:
        """The name of its table, which is the key."""
        return self.key

    def columns(self) -> dict[str, tuple[str, str]]:
        """Column -> (wire name, SQL type), in no particular order."""
        found = {name: value for name, value in _BASE.items() if self.tenant or name != "organization_id"}
        found |= {name: (name, sql_type) for name, (_, sql_type) in SCALARS.items()}
        found |= {reference.column: (reference.column, "text") for reference in self.references}
        return found | {name: (name, "text") for name in self.late}

    def writable(self) -> list[str]:
        """The columns that anybody may write."""
        return [*SCALARS, *(reference.column for reference in self.references), *self.late]

    def organization(self, row: Row) -> str | None:
        """Whose the row is; None when it is everybody's."""
        return row["organization_id"] if self.tenant else None

    def key_of(self, row: Row) -> tuple[str, str | None, str]:
        """What tells the row from all others."""
        row_id = row["id"]
        assert row_id is not None
        return self.key, self.organization(row), row_id

    def groups_of(self, row: Row) -> frozenset[str]:
        """The sync groups of a row (contract, section 0)."""
        if self.groups:
            return frozenset(f"{kind}:{value}" for kind, column in self.groups if (value := row[column]) is not None)
        return frozenset({f"org:{row['organization_id']}"} if self.tenant else {"default"})

    def granted(self, row: Row | None) -> tuple[str, str] | None:
        """The participant and the sync group that this row gives it."""
        if self.grants is None or row is None:
            return None
        subject, scope = row[self.grants.subject], row[self.grants.scope]
        return None if subject is None or scope is None else (subject, f"{self.grants.kind}:{scope}")

    def shows(self, row: Row | None, reader: Identity) -> bool:
        """Whether the reader may see the row; no row is never seen."""
        if row is None or (reader.readable is not None and self.typename.lower() not in reader.readable):
            return False
        if self.tenant and row["organization_id"] != reader.organization:
            return False
        if not self.groups_of(row) & (reader.shown | {"default"}):
            return False
        return self.rule is None or self.rule.verdict(row, reader) is True

    def to_json(self, row: Row) -> dict[str, Any]:
        """The row as it is on the wire."""
        return {wire: _value(sql_type, row.get(column)) for column, (wire, sql_type) in self.columns().items()}

    def source(self) -> str:
        """The class that declares it."""
        options = [f"scope={self.scope!r}"] if self.scope else []
        options += ["tenant=None"] if not self.tenant else []
        roles = [f"{kind}:{column}" for kind, column in self.groups if column == "team_id"]
        options += [f"groups={roles!r}"] if roles else []
        options += [f"rule={self.rule.sql()!r}"] if self.rule is not None else []
        if self.grants is not None:
            relations = tuple(column.removesuffix("_id") for column in (self.grants.subject, self.grants.scope))
            options.append(f"grants={relations!r}")
        lines = [f"class {self.typename}({', '.join(['Model', *options])}):"]
        lines += [f"    {name}: {annotation} = None" for name, (annotation, _) in SCALARS.items()]
        lines += [f"    {name}: str | None = None" for name in self.late]
        for r in self.references:
            target = f'Ref["{r.target}"]'
            how = f"parent={r.parent}, on_delete={r.on_delete!r}" if r.fk else "fk=False"
            lines.append(f"    {r.column}: {target} | None = Field(None, {how})")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Schema:
    """The models of one version, a target before what refers to it."""

    models: tuple[Model, ...]
    by_table: Mapping[str, Model] = field(init=False, repr=False, compare=False)
    by_typename: Mapping[str, Model] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_table", {model.table: model for model in self.models})
        object.__setattr__(self, "by_typename", {model.typename: model for model in self.models})

    def source(self) -> str:
        """The schema file to push."""
        imports = (
            "from datetime import date\nfrom typing import Literal\n\nfrom pgsync.schema import *\n"
            "from pgsync.schema import JSON, Field, Model, Ref, Schema\n"
        )
        sources, names = [model.source() for model in self.models], [model.typename for model in self.models]
        if any(model.grants is not None for model in self.models):  # whom memberships name; nobody writes it down
            sources.append(f"class {PERSON}(Model):\n    name: str | None = None")
            names.append(PERSON)
        classes = "\n\n\n".join(sources)
        return f"{imports}\n\n{classes}\n\n\nschema = Schema({', '.join(names)})\n"


PERSON: Final = "Person"
_NAMES: Final = ("Alpha", "Beta", "Gamma", "Delta", "Kappa", "Omega")


def random_schema(rng: random.Random) -> Schema:
    """Four or five models, one of every way in which rows can be visible, some with rules, and one of memberships."""
    kinds = ["plain", "scope", "child", rng.choice(("team", "shared"))]
    if rng.random() < 0.6:
        kinds.append(rng.choice(("plain", "team", "shared", "shared team", "nephew")))
    models: list[Model] = []
    # With such rules every change of memberships is a bootstrap; without, rows come and go one by one.
    by_groups = rng.random() < 0.35
    for name, kind in zip(_NAMES, kinds, strict=False):
        models.append(_random_model(rng, name, kind, models, by_groups=by_groups))
    return Schema((*models, _membership(next(model for model in models if model.scope))))


def _membership(scope: Model) -> Model:
    column = f"{scope.typename.lower()}_id"
    references = (
        Reference("person_id", PERSON, False, "no action", fk=False),
        Reference(column, scope.typename, False, "cascade"),
    )
    return Model(
        "Member",
        "members",
        True,
        None,
        (),
        None,
        references,
        grants=Granting("person_id", column, scope.scope or ""),
    )


def _random_model(rng: random.Random, name: str, kind: str, before: list[Model], *, by_groups: bool) -> Model:
    scope = name.lower() if kind == "scope" else None
    groups: list[tuple[str, str]] = [(scope, "id")] if scope else []
    references: list[Reference] = []
    if kind in ("child", "nephew"):
        target = next(model for model in before if model.scope)
        references.append(Reference(f"{target.typename.lower()}_id", target.typename, True, _on_delete(rng)))
        groups.append((target.scope or "", references[0].column))
    elif before and kind == "plain" and before[0].tenant:
        references.append(Reference(f"{before[0].typename.lower()}_id", before[0].typename, False, _on_delete(rng)))
    if kind in ("team", "shared team") or (kind in ("scope", "child") and rng.random() < 0.4):
        groups.append(("team", "team_id"))
    has_rule = rng.random() < (0.75 if kind in ("plain", "child") else 0.35)
    rule = random_rule(rng, by_groups=by_groups) if has_rule else None
    return Model(name, name.lower() + "s", not kind.startswith("shared"), scope, tuple(groups), rule, tuple(references))


def _on_delete(rng: random.Random) -> str:
    return rng.choice(("cascade", "cascade", "set null", "no action"))


def grown(schema: Schema, rng: random.Random, version: int) -> Schema:
    """The schema with one more column somewhere, or with one more model."""
    named = sum(model.grants is None for model in schema.models)
    if rng.random() < 0.4 and named < len(_NAMES):
        name = _NAMES[named]
        return Schema((*schema.models, Model(name, name.lower() + "s", True, None, (), None)))
    at = rng.randrange(len(schema.models))
    models = list(schema.models)
    old = models[at]
    models[at] = replace(old, late=(*old.late, f"late{version}"))
    return Schema(tuple(models))


# --- values -----------------------------------------------------------------------------------------------------------

_MOMENT: Final = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d+))?\+00")


def _value(sql_type: str, text: str | None) -> Any:
    if text is None:
        return None
    match sql_type:
        case "integer":
            return int(text)
        case "boolean":
            return text == "t"
        case "jsonb":
            return orjson.loads(text)
        case "timestamptz":
            found = _MOMENT.fullmatch(text)
            assert found is not None, text
            micros = (found[3] or "").ljust(6, "0")
            return f"{found[1]}T{found[2]}.{micros[:3] if micros[3:] == '000' else micros}Z"
        case _:
            return text
