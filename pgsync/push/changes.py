"""What of a new version the clients of the active one cannot live with. Pure: the two versions in, sentences out.

Additions are no such thing. Everything here needs a word from whoever pushes, and says which.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pgsync.errors import PgsyncError
from pgsync.models import ActiveSchema, Field, Model
from pgsync.push.introspect import Installed
from pgsync.push.retype import Way, way_of
from pgsync.push.wishes import Wishes, wishes_of_wire
from pgsync.schema import Schema
from pgsync.schema.resolved import ResolvedField, ResolvedModel, ResolvedSchema


@dataclass(frozen=True, slots=True)
class Break:
    """One change that breaks clients. `subject` is `model` or `model.field`, `remedy` the options that allow it."""

    subject: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.message} ({self.remedy})"


def breaks(schema: ResolvedSchema, installed: Installed, wishes: Wishes) -> Iterator[Break]:
    """What breaks clients and has not been allowed. `wishes` are settled."""
    clients = f"clients of version {installed.version}"
    for before in installed.models:
        model = schema.model(before.key)
        if model is None:
            message = f"model {before.key} leaves the schema; its table and rows stay, {clients} that use it break"
            yield from _unless(wishes, before.key, message)
            continue
        is_renamed = wishes.model_before(model.key) is not None
        if (before.namespace, before.table) != (model.namespace, model.table) and not is_renamed:
            message = f"model {before.key} moves from table {before.table} to {model.table}"
            yield from _unless(wishes, before.key, f"{message}; {clients} lose the rows of the old one")
        if before.tenant_column != model.tenant_column:
            columns = f"{before.tenant_column or 'no column'} to {model.tenant_column or 'no column'}"
            message = f"the organization of {before.key} moves from {columns}; {clients} see other rows"
            yield from _unless(wishes, before.key, message)
        if before.mutable and not model.mutable:
            message = f"model {before.key} can only be read from now on; {clients} that write it are refused"
            yield from _unless(wishes, before.key, message)
        for field in before.fields:
            yield from _of_field(before, field, model, clients, wishes)
        yield from _of_new_fields(before, model, clients, wishes)


def breaks_of_wire(schema: Schema, active: ActiveSchema, options: Mapping[str, Any]) -> list[str]:
    """What a schema that came over HTTP breaks although it may (`force`), as warnings.

    `options` are those of `POST /api/schema` (contract 1.12). Raises PgsyncError, incompatible_change with
    `unexecutable` and `warnings`, for what it may not break.
    """
    installed = Installed(version=active.version, models=active.models)
    wishes = wishes_of_wire(options, migrate=True).settled(schema.resolved, installed.models)
    models = tuple(replace(m, key=wishes.model_now(m.key)) for m in installed.models)
    installed = replace(installed, models=models)
    broken = [*breaks(schema.resolved, installed, replace(wishes, force=False))]
    if broken and not wishes.force:
        said = [b.message for b in broken]
        message = "the schema would break connected clients; send it with force to go on: " + "; ".join(said)
        raise PgsyncError("incompatible_change", message, details={"unexecutable": said, "warnings": []})
    return [b.message for b in broken]


def _of_field(before: Model, field: Field, model: ResolvedModel, clients: str, wishes: Wishes) -> Iterator[Break]:
    subject = f"{before.key}.{field.name}"
    where = f"field {subject}"
    rename = wishes.rename_of(before.key, field.name)
    now = model.field(rename.now if rename is not None else field.name)
    if now is None:
        message = f"{where} leaves the schema; its column and values stay, {clients} that use it break"
        yield from _unless(wishes, subject, message, also=f"--rename {subject}:NAME if it has another name now")
        return
    is_said = (field.column, now.column) == (before.tenant_column, model.tenant_column)  # that of the organization
    if rename is None and field.column != now.column and not is_said:
        message = f"{where} moves from column {field.column} to {now.column}"
        yield from _unless(wishes, subject, message, also=f"--rename {subject}:{now.name} to keep its values")
    if field.sql_type != now.sql_type and not _is_wider(field, now):
        message = f"{where} becomes {now.sql_type} in place of {field.sql_type}; {clients} send and expect the other"
        yield from _unless(wishes, subject, message)
    filled = wishes.backfill_of(before.key, now.name) is not None
    if filled:
        return
    if now.enum_values is not None and field.enum_values is None:
        message = f"{where} takes only {_list(now.enum_values)} from now on; {clients} that send others are refused"
        yield from _unless(wishes, subject, message, also=_fill(subject))
    elif now.enum_values is not None:
        lost = [v for v in field.enum_values or () if v not in now.enum_values]
        if lost:
            message = f"{where} loses the values {_list(lost)}; {clients} that send them are refused"
            yield from _unless(wishes, subject, message, also=_fill(subject))
    if not field.required and now.strict and not now.nullable:
        message = f"{where} becomes required; rows may have none, {clients} that leave it out are refused"
        yield from _unless(wishes, subject, message, also=_fill(subject))


def _of_new_fields(before: Model, model: ResolvedModel, clients: str, wishes: Wishes) -> Iterator[Break]:
    for field in model.declared:
        subject = f"{model.key}.{field.name}"
        known = before.field(field.name) is not None or wishes.rename_to(model.key, field.name) is not None
        if known or not _must_be_given(field) or wishes.backfill_of(model.key, field.name) is not None:
            continue
        message = f"field {subject} is required and has no default; {clients} cannot create rows"
        yield from _unless(wishes, subject, message, also=_fill(subject))


def _is_wider(field: Field, now: ResolvedField) -> bool:
    """Whether everything that clients send and expect is as it was, and there may be more."""
    same = (field.kind, field.array) == (now.kind, now.array)
    return same and way_of(field.sql_type, now.sql_type) is not Way.LOSSY


def _must_be_given(field: ResolvedField) -> bool:
    return field.strict and not field.nullable and field.default is None


def _unless(wishes: Wishes, subject: str, message: str, *, also: str = "") -> Iterator[Break]:
    if not wishes.allows(subject):
        yield Break(subject, message, f"--allow {subject}" + (f", or {also}" if also else ""))


def _fill(subject: str) -> str:
    return f"--backfill {subject}=VALUE"


def _list(values: tuple[str, ...] | list[str]) -> str:
    return ", ".join(map(repr, values))
