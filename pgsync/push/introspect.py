"""What a database holds now, as far as a push is concerned.

Reads only; nothing here decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row

from pgsync import sqlfiles
from pgsync.models import Model, model_from_json
from pgsync.schema.resolved import ResolvedModel


@dataclass(frozen=True, slots=True)
class Column:
    """A column that exists: its type as `format_type` prints it."""

    sql_type: str
    not_null: bool


@dataclass(frozen=True, slots=True)
class Table:
    """A relation that exists. `kind` is pg_class.relkind; `row_security_was_on`: before pgsync came, not now.

    `primary_key` are the columns of it, in the order of their names.
    """

    kind: str
    row_security_was_on: bool
    columns: Mapping[str, Column]
    primary_key: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InstalledObject:
    """What the last push created, by the hash of its statement."""

    model: str
    kind: str
    identity: str
    hash: str


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
        """The hash of an object's statement; None when it is not installed."""
        found = (self.objects or {}).get((kind, identity))
        return None if found is None else found.hash


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
            row_security_was_on=row["row_security"] and row["public_policy"] is not True,
            columns={name: Column(c["type"], c["notNull"]) for name, c in (row["columns"] or {}).items()},
            primary_key=tuple(row["primary_key"] or ()),
        )
        for row in rows
    }
