"""What a database holds now, as far as a push is concerned.

Reads only; nothing here decides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row

from pgsync import sqlfiles
from pgsync.models import Model, model_from_json
from pgsync.schema.resolved import ResolvedModel

# How Postgres prints `CHECK (c IN ('a', 'b'))` on a text column, with one value and with more.
_LITERAL = r"E?'(?:[^']|'')*'"
_VALUE = rf"{_LITERAL}::[^,'\[\]()]+"
_TEXT = re.compile(rf"({_LITERAL})::")
_COLUMN = r"(?:[^\s\"()]+|\"(?:[^\"]|\"\")+\")"
# Of a column that is a varchar both sides are cast to text.
_ENUM = re.compile(
    rf"CHECK \(\((?:{_COLUMN}|\({_COLUMN}\)::text) = (?P<values>{_VALUE}|"
    rf"ANY \((?:ARRAY\[{_VALUE}(?:, {_VALUE})*\]|\(ARRAY\[{_VALUE}(?:, {_VALUE})*\]\)::text\[\])\))\)\)(?: NOT VALID)?"
)


@dataclass(frozen=True, slots=True)
class Column:
    """A column that exists: its type as `format_type` prints it. `filled`: it has a default or is an identity.

    `generated`: `s` stored, `v` virtual, "" not at all.
    """

    sql_type: str
    not_null: bool
    filled: bool = False
    generated: str = ""
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class Constraint:
    """A check (`c`) or foreign key (`f`) that exists, as `pg_get_constraintdef` prints it; `refers_to`: a table."""

    kind: str
    definition: str
    validated: bool
    refers_to: str | None = None
    comment: str | None = None

    @property
    def enum_values(self) -> tuple[str, ...] | None:
        """The values that a check of an enum field lists, in its order; None for any other constraint."""
        found = _ENUM.fullmatch(self.definition) if self.kind == "c" else None
        if found is None:
            return None
        return tuple(_unquote(quoted) for quoted in _TEXT.findall(found["values"]))


@dataclass(frozen=True, slots=True)
class ExistingIndex:
    """An index as `pg_get_indexdef` prints it. `needed`: by a constraint of somebody, or as the replica identity."""

    valid: bool
    definition: str
    needed: bool = False
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A relation that exists. `kind` is pg_class.relkind, `primary_key` are its columns in the order of their names.

    `logged`: neither unlogged nor temporary. `rules`, quoted, keep writes from the table. `guests` are the login roles
    that row security, still off, will bind.
    """

    kind: str
    comment: str | None
    columns: Mapping[str, Column]
    primary_key: tuple[str, ...]
    constraints: Mapping[str, Constraint]
    indexes: Mapping[str, ExistingIndex]
    server_version: int = 0
    logged: bool = True
    rules: tuple[str, ...] = ()
    guests: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InstalledObject:
    """What the last push created, by the hash of its statement. `changed`: somebody changed or dropped it since."""

    model: str
    kind: str
    identity: str
    hash: str
    changed: bool = False


@dataclass(frozen=True, slots=True)
class Installed:
    """What pgsync has in this database. `version` is 0 when no schema was pushed yet."""

    migrations: frozenset[str] = frozenset()
    objects: Mapping[tuple[str, str], InstalledObject] | None = None
    version: int = 0
    hash: str = ""
    definition_hash: str = ""
    models: tuple[Model, ...] = ()

    def hash_of(self, kind: str, identity: str) -> str | None:
        """The hash of an object's statement; None when it is not installed, or not as the last push left it."""
        found = (self.objects or {}).get((kind, identity))
        return found.hash if found is not None and not found.changed else None


def read_installed(connection: psycopg.Connection[Any], *, as_pushed: bool = False) -> Installed:
    """What pgsync has in this database.

    An object that was changed by hand since the last push counts as missing, unless it is asked for `as_pushed`.
    """
    row = connection.execute(sqlfiles.read("push/is_installed.sql").encode()).fetchone()
    assert row is not None
    is_installed, has_states = row
    if not is_installed:
        return Installed()
    with connection.cursor(row_factory=dict_row) as cursor:
        text = sqlfiles.render("push/installed.sql", has_states=has_states and not as_pushed)
        found = cursor.execute(text.encode()).fetchone()
    assert found is not None
    active = found["active"] or {}
    return Installed(
        migrations=frozenset(found["migrations"] or ()),
        objects={(o["kind"], o["identity"]): InstalledObject(**o) for o in found["objects"] or ()},
        version=active.get("version", 0),
        hash=active.get("hash", ""),
        definition_hash=active.get("definitionHash", ""),
        models=tuple(model_from_json(m) for m in active.get("models", ())),
    )


def read_tables(
    connection: psycopg.Connection[Any], models: Sequence[ResolvedModel | Model]
) -> dict[tuple[str, str], Table]:
    """The relations under the names of the models' tables, by (namespace, name)."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            sqlfiles.read("push/tables.sql").encode(),
            {"namespaces": [m.namespace for m in models], "names": [m.table for m in models]},
        ).fetchall()
    return {
        (row["namespace"], row["name"]): Table(
            kind=row["kind"],
            comment=row["comment"],
            columns={
                name: Column(c["type"], c["notNull"], c["filled"], c["generated"], c["comment"])
                for name, c in (row["columns"] or {}).items()
            },
            primary_key=tuple(row["primary_key"]),
            constraints={
                name: Constraint(c["kind"], c["definition"], c["validated"], c["refersTo"], c["comment"])
                for name, c in (row["constraints"] or {}).items()
            },
            indexes={
                name: ExistingIndex(i["valid"], i["definition"], i["needed"], i["comment"])
                for name, i in (row["indexes"] or {}).items()
            },
            server_version=row["server_version"],
            logged=row["logged"],
            rules=tuple(row["rules"]),
            guests=tuple(row["guests"]),
        )
        for row in rows
    }


def _unquote(quoted: str) -> str:
    """The text that Postgres prints as a literal."""
    body = quoted.removeprefix("E")[1:-1].replace("''", "'")
    return body.replace("\\\\", "\\") if quoted.startswith("E") else body
