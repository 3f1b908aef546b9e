"""The lines that `pgsync dev` prints: create a row, change it over HTTP, change it with plain SQL.

Pure: a schema in, text for a shell out, quoted so that it works as pasted.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pgsync import names
from pgsync.models import Kind
from pgsync.schema import ResolvedField, ResolvedModel, ResolvedSchema

_UUID: Final = "00000000-0000-4000-8000-00000000000"
_VALUES: Final[Mapping[Kind, tuple[Any, Any, Any]]] = {  # on create, after the update over HTTP, after the one by SQL
    Kind.TEXT: ("Try pgsync", "Changed over HTTP", "Changed with psql"),
    Kind.BOOLEAN: (False, True, False),
    Kind.INTEGER: (1, 2, 3),
    Kind.FLOAT: (1.5, 2.5, 3.5),
    Kind.DECIMAL: (1, 2, 3),
    Kind.TIMESTAMPTZ: ("2030-01-02T03:04:05Z", "2031-01-02T03:04:05Z", "2032-01-02T03:04:05Z"),
    Kind.TIMESTAMP: ("2030-01-02T03:04:05", "2031-01-02T03:04:05", "2032-01-02T03:04:05"),
    Kind.DATE: ("2030-01-02", "2031-01-02", "2032-01-02"),
    Kind.UUID: (f"{_UUID}1", f"{_UUID}2", f"{_UUID}3"),
    Kind.JSON: ({"step": 1}, {"step": 2}, {"step": 3}),
    Kind.BYTES: ("b25l", "dHdv", "dGhyZWU="),
}
# What a person likes to see change comes first.
_LIKED: Final = (
    Kind.TEXT,
    Kind.BOOLEAN,
    Kind.INTEGER,
    Kind.DECIMAL,
    Kind.FLOAT,
    Kind.DATE,
    Kind.TIMESTAMPTZ,
    Kind.JSON,
)


@dataclass(frozen=True, slots=True)
class Sample:
    """Three command lines about one row: curl, curl, psql."""

    create: str
    update: str
    update_by_sql: str


def sample(
    schema: ResolvedSchema, *, url: str, secret_key: str, database_url: str, psql: str, token: str
) -> Sample | None:
    """Lines for a model that clients may write and whose rows need no other row; None when there is none.

    The first such model, or the first with an enum, whose change of state says more than a change of text.
    `psql` is the program's name or path, `token` a few hex digits that make the row's id a new one.
    """
    candidates = [
        (model, changed)
        for model in schema.models
        if model.mutable and not _needs_another_row(model) and (changed := _changeable(model)) is not None
    ]
    if not candidates:
        return None
    model, changed = next((c for c in candidates if c[1].enum_values is not None), candidates[0])
    before, by_http, by_sql = _values(changed)
    row_id = _row_id(model, token)
    data = {
        f.name: _values(f)[0]
        for f in model.declared
        if f.strict and f.default is None and not (f.nullable or f.readonly)
    }
    rows = f"{url}/api/v1/models/{model.key}"
    table = names.quote(model.table)
    if model.namespace != "public":
        table = f"{names.quote(model.namespace)}.{table}"
    value = json.dumps(by_sql) if changed.kind is Kind.JSON else str(by_sql)
    statement = (
        f"UPDATE {table} SET {names.quote(changed.column)} = {names.literal(value)}"
        f" WHERE {names.quote(model.id.column)} = {names.literal(str(row_id))}"
    )
    return Sample(
        create=_curl("POST", rows, secret_key, {"id": str(row_id), "data": data | {changed.name: before}}),
        update=_curl("PATCH", f"{rows}/{row_id}", secret_key, {"data": {changed.name: by_http}}),
        update_by_sql=f"{shlex.join([psql, database_url])} -c {_in_shell(statement)}",
    )


def _needs_another_row(model: ResolvedModel) -> bool:
    required = {f.name for f in model.declared if not (f.nullable or f.readonly)}
    return any(reference.enforced and reference.field in required for reference in model.references)


def _changeable(model: ResolvedModel) -> ResolvedField | None:
    references = {reference.field for reference in model.references}
    fields = [f for f in model.declared if not (f.array or f.identity or f.readonly) and f.name not in references]
    chosen = next((f for f in fields if f.enum_values is not None and len(f.enum_values) > 1), None)
    for kind in _LIKED:
        chosen = chosen or next((f for f in fields if f.kind is kind and f.enum_values is None and not f.unique), None)
    return chosen


def _values(field: ResolvedField) -> tuple[Any, Any, Any]:
    if field.array:
        return [], [], []
    if field.enum_values is not None:
        first, *others = field.enum_values
        return first, (others or [first])[0], (others or [first])[-1]
    return _VALUES[field.kind]


def _row_id(model: ResolvedModel, token: str) -> str | int:
    match model.id.kind:
        case Kind.INTEGER:
            return int(token, 16) % 1_000_000_000 + 1
        case Kind.UUID:
            return f"00000000-0000-4000-8000-{token:0>12}"
        case _:
            return f"{model.name}-{token}"


def _in_shell(text: str) -> str:
    """In double quotes where that is safe, which keeps SQL literals readable."""
    return f'"{text}"' if not set(text) & set('"$`\\!') else shlex.quote(text)


def _curl(method: str, url: str, secret_key: str, body: Mapping[str, Any]) -> str:
    headers = ["-H", f"Authorization: Bearer {secret_key}", "-H", "Content-Type: application/json"]
    return shlex.join(["curl", "-sS", "-w", r"\n", "-X", method, url, *headers, "-d", json.dumps(body)])
