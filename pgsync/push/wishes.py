"""What whoever pushes asks for beyond the schema itself: renames, values to fill in, changes that break clients.

On a command line a model is named by its key or typename, as in `task.title`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pgsync.errors import PgsyncError
from pgsync.models import Kind, Model
from pgsync.schema.resolved import ResolvedField, ResolvedModel, ResolvedSchema
from pgsync.schema.types import default_to_json, type_of


@dataclass(frozen=True, slots=True)
class Rename:
    """Field `before` of a model is field `now`; the values stay."""

    model: str
    before: str
    now: str

    def __str__(self) -> str:
        return f"{self.model}.{self.before}:{self.now}"


@dataclass(frozen=True, slots=True)
class ModelRename:
    """Model `before` is model `now`; its rows and history stay."""

    before: str
    now: str

    def __str__(self) -> str:
        return f"{self.before}:{self.now}"


@dataclass(frozen=True, slots=True)
class Backfill:
    """Rows in which a field has no value that it may have get this one. `value` is JSON, or text as it was typed."""

    model: str
    field: str
    value: Any
    typed: bool = False

    def __str__(self) -> str:
        return f"{self.model}.{self.field}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """`migrate`: tables may be made and altered. `force`: whatever breaks clients may happen; `allow` names such things
    one by one, as `model` or `model.field`.
    """

    migrate: bool = True
    force: bool = False
    allow: frozenset[str] = frozenset()
    renames: tuple[Rename | ModelRename, ...] = ()
    backfills: tuple[Backfill, ...] = ()

    def settled(self, schema: ResolvedSchema, before: Sequence[Model]) -> Wishes:
        """The same with models named by key. Raises PgsyncError (incompatible_change) for what names nothing."""
        keys = _spellings((*before, *schema.models))
        unknown = []

        def key(name: str, whole: object) -> str:
            found = keys.get(name.lower())
            if found is None:
                unknown.append(f"{whole}: no model {name!r}")
            return found or name

        models = self._models(schema, before, unknown)
        now = {m.before: m.now for m in models}
        for each in (r for r in self.renames if isinstance(r, ModelRename)):  # whose own name is gone already
            keys.setdefault(each.before.lower(), _named(each.now, schema.models) or each.now)

        def key_now(name: str, whole: object) -> str:
            found = key(name, whole)
            return now.get(found, found)

        renames = tuple(Rename(key_now(r.model, r), r.before, r.now) for r in self.renames if isinstance(r, Rename))
        backfills = tuple(Backfill(key_now(b.model, b), b.field, b.value, b.typed) for b in self.backfills)
        allow = frozenset(
            ".".join([now.get(found, found), *rest])  # one that names nothing allows nothing
            for entry in self.allow
            for name, *rest in [entry.split(".", 1)]
            for found in [keys.get(name.lower(), name)]
        )
        for rename in renames:
            model = schema.model(rename.model)
            if model is not None and model.field(rename.now) is None:
                unknown.append(f"{rename}: the schema has no field {rename.now!r}")
        for backfill in backfills:
            model = schema.model(backfill.model)
            field = model.field(backfill.field) if model is not None else None
            if field is None or field.base:
                unknown.append(f"{backfill}: the schema declares no field {backfill.field!r}")
            else:
                try:
                    value_of(backfill, field)
                except ValueError as exc:
                    unknown.append(f"{backfill}: {exc}")
        if unknown:
            message = "the push cannot do what was asked:\n" + "\n".join(f"  {u}" for u in unknown)
            raise PgsyncError("incompatible_change", message, details={"unexecutable": unknown, "warnings": []})
        renamed: tuple[Rename | ModelRename, ...] = (*models, *renames)
        return Wishes(migrate=self.migrate, force=self.force, allow=allow, renames=renamed, backfills=backfills)

    def _models(self, schema: ResolvedSchema, before: Sequence[Model], unknown: list[str]) -> tuple[ModelRename, ...]:
        """The renames of models by key, without those that an earlier push has done."""
        found = []
        there = {m.key for m in before}
        for each in (r for r in self.renames if isinstance(r, ModelRename)):
            then = _named(each.before, before)
            now = _named(each.now, schema.models)
            if now is None:
                unknown.append(f"{each}: the schema has no model {each.now!r}")
            elif now in there and (then is None or then == now):
                continue
            elif then is None:
                unknown.append(f"{each}: the active version has no model {each.before!r}")
            elif schema.model(then) is not None or now in there:
                unknown.append(f"{each}: both are models of a version")
            else:
                found.append(ModelRename(then, now))
        return tuple(found)

    def model_now(self, before: str) -> str:
        """The key that a model of the active version has from now on."""
        found = (r.now for r in self.renames if isinstance(r, ModelRename) and r.before == before)
        return next(found, before)

    def model_before(self, now: str) -> str | None:
        """The key that this model had in the active version, if it is renamed."""
        return next((r.before for r in self.renames if isinstance(r, ModelRename) and r.now == now), None)

    def rename_to(self, model: str, now: str) -> Rename | None:
        """The rename whose result is this field."""
        return next((r for r in self._fields if (r.model, r.now) == (model, now)), None)

    def rename_of(self, model: str, before: str) -> Rename | None:
        """The rename of this field."""
        return next((r for r in self._fields if (r.model, r.before) == (model, before)), None)

    @property
    def _fields(self) -> Iterator[Rename]:
        return (r for r in self.renames if isinstance(r, Rename))

    def backfill_of(self, model: str, field: str) -> Backfill | None:
        """What to fill a field with."""
        return next((b for b in self.backfills if (b.model, b.field) == (model, field)), None)

    def allows(self, subject: str) -> bool:
        """Whether a change of `model` or `model.field` that breaks clients may happen."""
        return self.force or subject in self.allow


def value_of(backfill: Backfill, field: ResolvedField) -> Any:
    """The value in JSON form, as a default would be. Raises ValueError for one that the field does not take."""
    value = backfill.value
    if backfill.typed and not (field.kind in (Kind.TEXT, Kind.UUID) and not field.array):
        with contextlib.suppress(ValueError):  # a date or a word: what the field is has to tell
            value = json.loads(value)
    return default_to_json(value, type_of(field.sql_type, field.kind), field.enum_values)


def parse_rename(text: str) -> Rename | ModelRename:
    """`task.title:name`, or `task:ticket` for a model. Raises ValueError."""
    field, colon, now = text.partition(":")
    model, dot, before = field.partition(".")
    if model and colon and now and not dot and "." not in now:
        return ModelRename(model, now)
    now = now.rpartition(".")[2]
    if not (colon and dot and model and before and now):
        raise ValueError(f"{text!r} is not of the form model.field:name or model:name")
    return Rename(model, before, now)


def parse_backfill(text: str) -> Backfill:
    """`task.priority=0`. Raises ValueError."""
    field, equals, value = text.partition("=")
    model, dot, name = field.partition(".")
    if not (equals and dot and model and name):
        raise ValueError(f"{text!r} is not of the form model.field=value")
    return Backfill(model, name, value, typed=True)


def wishes_of_wire(options: Mapping[str, Any], *, migrate: bool) -> Wishes:
    """What `force`, `renames` and `backfills` of `POST /api/schema` ask for (contract 1.12).

    A rename goes `{"from": "tasks.title", "to": "tasks.name"}` or `"to": "name"`. Raises PgsyncError:
    incompatible_change for one that is no field's.
    """
    unexecutable = []
    renames = []
    for entry in options.get("renames") or ():
        try:
            renames.append(parse_rename(f"{entry.get('from')}:{entry.get('to')}"))
        except ValueError:
            unexecutable.append(
                f"rename {entry.get('from')} to {entry.get('to')}: fields are renamed, model.field, and models"
            )
    backfills = []
    for entry in options.get("backfills") or ():
        if isinstance(entry.get("model"), str) and isinstance(entry.get("field"), str) and "value" in entry:
            backfills.append(Backfill(entry["model"], entry["field"], entry["value"]))
        else:
            unexecutable.append("a backfill is {model, field, value}")
    if unexecutable:
        message = "the push cannot do what was asked: " + "; ".join(unexecutable)
        raise PgsyncError("incompatible_change", message, details={"unexecutable": unexecutable, "warnings": []})
    return Wishes(
        migrate=migrate, force=options.get("force") is True, renames=tuple(renames), backfills=tuple(backfills)
    )


def _named(name: str, models: Iterable[Model | ResolvedModel]) -> str | None:
    """The key of the model with this key, typename or name."""
    return _spellings(models).get(name.lower())


def _spellings(models: Iterable[Model | ResolvedModel]) -> dict[str, str]:
    found: dict[str, str] = {}
    for spelling in ("name", "typename", "key"):
        for model in models:
            found[str(getattr(model, spelling)).lower()] = model.key
    return found
