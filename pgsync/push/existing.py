"""Tables that an application made for itself, as the catalogs describe them: what `pull` writes a schema from.

Reads catalogs only, in a read-only transaction; no table is locked or scanned.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row

from pgsync import sqlfiles

_PATTERN_ESCAPES = str.maketrans({"\\": r"\\", "%": r"\%", "_": r"\_", "*": "%", "?": "_"})
_LISTED = re.compile(r"'((?:[^']|'')*)'::(?:text|character varying(?:\(\d+\))?)")
_IN = re.compile(
    r"CHECK \(\(+(?P<column>[a-z_][a-z0-9_]*|\"(?:[^\"]|\"\")+\")\)?(?:::text)? = "
    r"(?:ANY \(+ARRAY\[(?P<list>.*?)\]\)?(?:::text\[\])?\)|(?P<one>'(?:[^']|'')*'::[a-z ]+))\)+",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class ExistingColumn:
    """`type` is what `format_type` prints; `base` the same of what a domain is over, or of the elements of an array.

    `what` is the pg_type.typtype of the base, `labels` are an enumerated type's; `takes_text`: text is assigned to it.
    `default` is an SQL expression, also that of a generated column; `generated` is `s` stored, `v` virtual, or "".
    """

    name: str
    type: str
    base: str
    what: str
    labels: tuple[str, ...]
    takes_text: bool
    not_null: bool
    default: str | None
    identity: bool
    generated: str


@dataclass(frozen=True, slots=True)
class ExistingReference:
    """A foreign key; `on_delete` is pg_constraint.confdeltype."""

    columns: tuple[str, ...]
    namespace: str
    table: str
    target_columns: tuple[str, ...]
    on_delete: str


@dataclass(frozen=True, slots=True)
class ExistingTable:
    """A table or a partitioned table. `choices` are the values that a check allows, by column."""

    namespace: str
    name: str
    columns: tuple[ExistingColumn, ...]
    primary_key: tuple[str, ...]
    references: tuple[ExistingReference, ...]
    choices: dict[str, tuple[str, ...]]
    server_version: int

    def column(self, name: str) -> ExistingColumn | None:
        """The column with this name."""
        return next((c for c in self.columns if c.name == name), None)


def read_existing(conninfo: str, *, namespaces: Sequence[str], patterns: Sequence[str] = ()) -> list[ExistingTable]:
    """The tables of these namespaces, by name; with `patterns` (`*`, `?`), those that one of them names.

    Raises psycopg.Error.
    """
    values = {
        "namespaces": list(namespaces),
        "patterns": [p.translate(_PATTERN_ESCAPES) for p in patterns] or None,
    }
    with psycopg.connect(
        conninfo, application_name="pgsync pull", client_encoding="UTF8", row_factory=dict_row
    ) as connection:
        connection.read_only = True
        connection.execute("SET LOCAL search_path = ''")  # what is not Postgres's own is printed with its namespace
        rows = connection.execute(sqlfiles.read("pull/tables.sql").encode(), values).fetchall()
    return [_table(row) for row in rows]


def _table(row: dict[str, Any]) -> ExistingTable:
    return ExistingTable(
        namespace=row["namespace"],
        name=row["name"],
        columns=tuple(
            ExistingColumn(
                name=c["name"],
                type=c["type"],
                base=c["base"],
                what=c["what"],
                labels=tuple(c["labels"] or ()),
                takes_text=c["takesText"],
                not_null=c["notNull"],
                default=c["default"],
                identity=c["identity"],
                generated=c["generated"],
            )
            for c in row["columns"] or ()
        ),
        primary_key=tuple(row["primary_key"]),
        references=tuple(
            ExistingReference(
                columns=tuple(f["columns"]),
                namespace=f["namespace"],
                table=f["table"],
                target_columns=tuple(f["targetColumns"]),
                on_delete=f["onDelete"],
            )
            for f in row["foreign_keys"] or ()
        ),
        choices=dict(found for check in row["checks"] if (found := _choices(check)) is not None),
        server_version=row["server_version"],
    )


def _choices(definition: str) -> tuple[str, tuple[str, ...]] | None:
    """The column and the values of a check that lists texts, as Postgres prints it; None for any other check."""
    found = _IN.fullmatch(definition.removesuffix(" NOT VALID"))
    if found is None:
        return None
    listed = found["list"] if found["list"] is not None else found["one"]
    values = tuple(value.replace("''", "'") for value in _LISTED.findall(listed))
    if not values or re.fullmatch(r"[\s,]*", _LISTED.sub("", listed)) is None:
        return None
    column = found["column"]
    return (column[1:-1].replace('""', '"') if column.startswith('"') else column), tuple(dict.fromkeys(values))
