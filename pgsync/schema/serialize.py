"""From model classes to SchemaJSON, version 3, with what it cannot carry under the one extra key `pgsync`.

Only what was declared is looked at here; whether it makes sense is judged by `resolve`, in the same way for a document
that somebody pushed.
"""

from __future__ import annotations

import inspect
import re
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, ClassVar, ForwardRef, Literal, Union
from uuid import UUID

from pgsync.models import Kind
from pgsync.names import snake_case
from pgsync.schema.hash import EXTENSION
from pgsync.schema.model import MISSING, FieldOptions, Marker, Missing, Model, Ref, plural_key
from pgsync.schema.problem import Problem
from pgsync.schema.types import (
    BOOLEAN,
    BY_SQL,
    BYTEA,
    DATE,
    DOUBLE,
    INTEGER,
    JSONB,
    NUMERIC,
    PLAIN,
    TEXT,
    TIMESTAMPTZ,
    UUID_TYPE,
    ColumnType,
    array_of,
    default_to_json,
    named,
)

VERSION = 3

# What get_origin answers, which the type checker does not know.
_ANNOTATED: Any = Annotated
_CLASS_VAR: Any = ClassVar
_UNIONS: tuple[Any, ...] = (Union, types.UnionType)

_PYTHON_TYPES: Mapping[Any, ColumnType] = {
    str: TEXT,
    int: INTEGER,
    float: DOUBLE,
    Decimal: NUMERIC,
    bool: BOOLEAN,
    datetime: TIMESTAMPTZ,
    date: DATE,
    UUID: UUID_TYPE,
    bytes: BYTEA,
    list: JSONB,
    dict: JSONB,
    Any: JSONB,
}
_KNOWN = (
    "str, int, bigint, float, Decimal, bool, datetime, date, UUID, bytes, Literal of strings, list, dict, JSON or Ref"
)


@dataclass(frozen=True, slots=True)
class _Type:
    column: ColumnType
    nullable: bool = False
    enum_values: tuple[str, ...] | None = None
    target: type[Model] | None = None


class _RefusedError(Exception):
    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


def to_document(
    classes: Sequence[type[Model]],
    *,
    identity_roles: Sequence[Mapping[str, Any]] = (),
    session_settings: Mapping[str, str] | None = None,
) -> tuple[dict[str, Any], list[Problem]]:
    """The document of these models, and what of them could not be written down."""
    problems: list[Problem] = []
    models: dict[str, Any] = {}
    extensions: dict[str, Any] = {}
    keys = {cls: _key(cls) for cls in classes}
    for cls in classes:
        key = keys[cls]
        if key in models:
            other = next(c for c in classes if keys[c] == key)
            problems.append(
                Problem(
                    f"has the same key {key!r} as {other.__name__}",
                    f"give one of them another: class {cls.__name__}(Model, key=...)",
                    cls.__name__,
                )
            )
            continue
        models[key], extensions[key] = _ModelWriter(cls, keys, problems).write()
    document: dict[str, Any] = {
        "v": VERSION,
        "models": models,
        "identityRoles": [dict(role) for role in identity_roles],
    }
    if session_settings:
        document["sessionSettings"] = dict(session_settings)
    document[EXTENSION] = {"models": extensions}
    return document, problems


def _key(cls: type[Model]) -> str:
    return cls.__pgsync_options__.key or plural_key(cls.__name__)


class _ModelWriter:
    def __init__(self, cls: type[Model], keys: Mapping[type[Model], str], problems: list[Problem]) -> None:
        self._cls = cls
        self._keys = keys
        self._problems = problems
        self._names = {c.__name__: c for c in keys}
        self._fields: dict[str, Any] = {}
        self._relations: dict[str, Any] = {}
        self._extended_fields: dict[str, Any] = {}
        self._extended_relations: dict[str, Any] = {}
        self._extension: dict[str, Any] = {"strict": True}

    def write(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The model's entry and what goes beside it."""
        cls, options = self._cls, self._cls.__pgsync_options__
        annotations = _annotations(cls)
        for attribute, (annotation, owner) in annotations.items():
            self._write_attribute(attribute, annotation, owner)
        for attribute, value in vars(cls).items():
            if isinstance(value, FieldOptions) and attribute not in annotations:
                self._report(attribute, "has Field(...) but no type", f"write {attribute}: <type> = Field(...)")
        entry: dict[str, Any] = {
            "fields": self._fields,
            "relations": self._relations,
            "load": options.load,
            "typename": options.typename or cls.__name__,
            "tableName": options.table or _key(cls),
            "tenancy": {"kind": "none"} if options.tenant is None else {"kind": "column", "column": options.tenant},
            "plane": "tenant",
        }
        if options.scope is not False:
            entry["scope"] = options.scope
        if options.grants is not None:
            entry["grants"] = self._grants(options.grants)
        if options.groups:
            entry["entityRoles"] = [role for group in options.groups if (role := self._role(group)) is not None]
        if options.conflict is not None:
            entry["conflict"] = dict(options.conflict)
        entry["mutable"] = options.mutable
        if options.namespace != "public":
            self._extension["namespace"] = options.namespace
        if options.rule is not None:
            self._extension["rule"] = options.rule
        if options.claims != "advisory":
            self._extension["claims"] = options.claims
        if options.table is not None and options.table == _key(cls) != snake_case(options.table):
            self._extension["table"] = options.table  # chosen, though it is what the builder would fill in
        if options.tenant_type != "text":
            self._extension["tenant"] = options.tenant_type
        if options.preempt:
            self._extension["preempt"] = True
        if options.without:
            self._extension["without"] = list(options.without)
        if self._extended_fields:
            self._extension["fields"] = self._extended_fields
        if self._extended_relations:
            self._extension["relations"] = self._extended_relations
        return entry, self._extension

    def _grants(self, grants: object) -> Any:
        if isinstance(grants, (tuple, list)) and len(grants) == 2:
            return {"subject": grants[0], "scope": grants[1]}
        self._report(
            None,
            f"grants {grants!r} is not a pair",
            'write grants=("user", "workspace")',
            "schema_grants_shape_invalid",
        )
        return {"subject": "", "scope": ""}

    def _role(self, group: object) -> dict[str, Any] | None:
        kind, colon, field = group.partition(":") if isinstance(group, str) else ("", "", "")
        if not (kind and colon and field):
            self._report(None, f"group {group!r} is not <kind>:<field>", 'write it as in groups=["inbox:recipient_id"]')
            return None
        return {"kind": kind, "source": {"field": field, "multi": False}}

    def _write_attribute(self, attribute: str, annotation: object, owner: type) -> None:
        value = getattr(self._cls, attribute, MISSING)
        options = value if isinstance(value, FieldOptions) else FieldOptions(default=value)
        name = options.name or attribute
        try:
            field_type = self._read_type(self._evaluate(annotation, owner))
        except _RefusedError as refused:
            self._report(name, refused.message, refused.remedy)
            return
        if name == "id":
            self._write_id(field_type, options)
            return
        if name in self._fields:
            self._report(name, "is declared twice", "give one of the two another name")
            return
        self._write_field(name, field_type, options)
        if field_type.target is not None:
            self._write_relation(name, field_type, options)
        elif options.parent or options.on_delete is not None or options.relation is not None or not options.fk:
            self._report(
                name,
                "has options of a reference (relation, parent, on_delete, fk) but is none",
                "declare its type as Ref[<model>], or leave the options out",
            )

    def _write_id(self, field_type: _Type, options: FieldOptions) -> None:
        allowed = FieldOptions(column=options.column, sql=options.sql)
        if field_type.nullable or field_type.enum_values or field_type.target or options != allowed:
            self._report("id", "takes a type, column= and sql= only", "write id: str, id: UUID, id: int or id: bigint")
            return
        if (options.sql or field_type.column.sql) != TEXT.sql:
            self._extension["id"] = options.sql or field_type.column.sql
        if options.column is not None:
            self._extension["idColumn"] = options.column

    def _write_field(self, name: str, field_type: _Type, options: FieldOptions) -> None:
        column_type = field_type.column
        is_reference = field_type.target is not None
        indexed = options.index if options.index is not None else is_reference
        field: dict[str, Any] = {
            "type": "enum" if field_type.enum_values is not None else column_type.json,
            "isOptional": field_type.nullable,
            "isIndexed": bool(indexed),
        }
        if options.column is not None:
            field["column"] = options.column
        if field_type.enum_values is not None:
            field["enumValues"] = list(field_type.enum_values)
        self._fields[name] = field
        extended: dict[str, Any] = {}
        if options.sql is not None:
            extended["type"] = options.sql
            if named(options.sql) is None and PLAIN[field["type"]] != column_type:
                extended["base"] = column_type.sql
            column_type = named(options.sql, column_type) or column_type
        elif not is_reference and PLAIN[field["type"]] != column_type:
            extended["type"] = column_type.sql
        if options.readonly:
            extended["readonly"] = True
        if options.unique:
            extended["unique"] = True
        if options.default is not None and not isinstance(options.default, Missing):
            try:
                extended["default"] = default_to_json(options.default, column_type, field_type.enum_values)
            except ValueError as error:
                self._report(name, f"default {options.default!r} does not fit: {error}", "correct the default")
        elif options.default is None and not field_type.nullable:
            self._report(
                name, "has the default None but may not be null", "write its type as <type> | None, or leave = None out"
            )
        if extended:
            self._extended_fields[name] = extended

    def _write_relation(self, name: str, field_type: _Type, options: FieldOptions) -> None:
        assert field_type.target is not None
        relation = options.relation or re.sub(r"(?<=.)(_id|Id)\Z", "", name)
        if relation in self._relations:
            self._report(
                name, f"is a second reference called {relation!r}", "give it another name: Field(relation=...)"
            )
            return
        entry: dict[str, Any] = {
            "type": "belongsTo",
            "target": self._keys[field_type.target],
            "foreignKey": name,
            "foreignKeyColumn": options.column or snake_case(name),
        }
        relation_options = {
            option: True
            for option, said in (("index", options.index), ("parent", options.parent), ("fk", options.fk))
            if said
        }
        if relation_options:
            entry["options"] = relation_options
        self._relations[relation] = entry
        if options.on_delete is not None:
            self._extended_relations[relation] = {"onDelete": options.on_delete}

    def _evaluate(self, annotation: object, owner: type) -> object:
        """An annotation may be text, whole or in part: classes are declared in any order."""
        while isinstance(annotation, (str, ForwardRef)):
            text = annotation if isinstance(annotation, str) else annotation.__forward_arg__
            module = sys.modules.get(owner.__module__)
            try:
                annotation = eval(text, dict(vars(module)) if module else {}, dict(self._names))
            except Exception as error:  # noqa: BLE001  it is the author's code that runs here
                raise _RefusedError(
                    f"type {text!r} cannot be read ({error})", "import or define what it names"
                ) from None
        return annotation

    def _read_type(self, annotation: Any) -> _Type:
        origin = typing.get_origin(annotation)
        if origin is _ANNOTATED:
            base, *extra = typing.get_args(annotation)
            marker = next((item for item in extra if isinstance(item, Marker)), None)
            return _Type(BY_SQL[marker.sql]) if marker else self._read_type(base)
        if origin in _UNIONS:
            members = [self._resolved_member(item) for item in typing.get_args(annotation)]
            rest = [item for item in members if item is not types.NoneType]
            if len(rest) != 1 or len(rest) == len(members):
                raise _RefusedError(
                    f"type {_show(annotation)} has more than one kind of value", "use one type, or JSON"
                )
            inner = self._read_type(rest[0])
            return _Type(inner.column, True, inner.enum_values, inner.target)
        if origin is Literal:
            return _Type(TEXT, enum_values=_enum_values(typing.get_args(annotation)))
        if isinstance(annotation, type) and issubclass(annotation, StrEnum):
            return _Type(TEXT, enum_values=_enum_values([member.value for member in annotation]))
        if annotation is Ref or origin is Ref:
            return self._read_reference(annotation)
        if origin is list:
            return _Type(self._list_type(typing.get_args(annotation)[0]))
        if origin is dict:
            return _Type(JSONB)
        try:
            column_type = _PYTHON_TYPES.get(annotation)
        except TypeError:  # an annotation that cannot be hashed
            column_type = None
        if column_type is None:
            hint = "write Ref[...] around it" if _is_model(annotation) else f"use {_KNOWN}"
            raise _RefusedError(f"type {_show(annotation)} has no column type", hint)
        return _Type(column_type)

    def _resolved_member(self, item: Any) -> Any:
        return self._evaluate(item, self._cls) if isinstance(item, (str, ForwardRef)) else item

    def _read_reference(self, annotation: Any) -> _Type:
        arguments = typing.get_args(annotation)
        if not arguments:
            raise _RefusedError("refers to nothing", "write Ref[<model>]")
        target = self._evaluate(arguments[0], self._cls)
        if not _is_model(target):
            raise _RefusedError(
                f"refers to {_show(target)}, which is not a model", "name a class that derives from Model"
            )
        if target not in self._keys:
            raise _RefusedError(
                f"refers to {_show(target)}, which is not part of this schema",
                f"add {_show(target)} to Schema(...), or hold its id in a plain field",
            )
        assert isinstance(target, type)
        return _Type(_id_type(target), target=target)

    def _list_type(self, item: Any) -> ColumnType:
        item = self._evaluate(item, self._cls)
        if item is Any or item is dict or typing.get_origin(item) is dict:
            return JSONB
        inner = self._read_type(item)
        if inner.nullable or inner.enum_values or inner.target or inner.column.array or inner.column.kind is Kind.JSON:
            raise _RefusedError(
                f"a list of {_show(item)} has no array type",
                "use a list of a plain type, or list alone, which is stored as jsonb",
            )
        return array_of(inner.column)

    def _report(self, field: str | None, message: str, remedy: str, code: str = "invalid_schema") -> None:
        self._problems.append(Problem(message, remedy, self._cls.__name__, field, code))


def _annotations(cls: type[Model]) -> dict[str, tuple[object, type]]:
    """Public annotations of a model and its bases, the bases' first, each with the class that it was written in."""
    found: dict[str, tuple[object, type]] = {}
    for owner in reversed(cls.__mro__):
        if not _is_model(owner) or owner is Model:
            continue
        for name, annotation in _own_annotations(owner).items():
            is_class_variable = (
                annotation.startswith(("ClassVar", "typing.ClassVar"))
                if isinstance(annotation, str)
                else _CLASS_VAR in (annotation, typing.get_origin(annotation))
            )
            if not name.startswith("_") and not is_class_variable:
                found[name] = (annotation, owner)
    return found


def _own_annotations(owner: type) -> Mapping[str, object]:
    """The annotations as written; where Python evaluates them late, names that are not known yet stay as text."""
    if sys.version_info >= (3, 14):
        import annotationlib

        return annotationlib.get_annotations(owner, format=annotationlib.Format.FORWARDREF)
    return inspect.get_annotations(owner)


def _id_type(cls: type[Model]) -> ColumnType:
    """The type of a model's id as far as it can be told; what is wrong with it is said where it is declared."""
    found = _annotations(cls).get("id")
    if found is None:
        return TEXT
    writer = _ModelWriter(cls, {cls: ""}, [])
    try:
        return writer._read_type(writer._evaluate(*found)).column
    except _RefusedError:
        return TEXT


def _enum_values(values: Sequence[object]) -> tuple[str, ...]:
    if not values or not all(isinstance(value, str) for value in values):
        raise _RefusedError(f"choice {', '.join(map(repr, values))} is not of strings", "use strings, or a plain type")
    return tuple(str(value) for value in values)


def _is_model(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Model)


def _show(annotation: object) -> str:
    if typing.get_origin(annotation) is None and isinstance(annotation, type):
        return annotation.__name__
    return str(annotation).replace("typing.", "")
