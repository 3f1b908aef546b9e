"""The runtime description of a pushed schema: what the gateway and the stream know about each model.

`compile` writes it, `push` stores it beside the version, `pgsync.schema_v1()` returns it. It is all that the
gateway and the stream ever learn about a schema, so a gateway needs neither the schema file nor DDL rights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """How a column's text form becomes JSON; see `pgsync.values`. Arrays carry the kind of their element."""

    TEXT = "text"
    INTEGER = "integer"
    FLOAT = "float"
    DECIMAL = "decimal"
    BOOLEAN = "boolean"
    TIMESTAMPTZ = "timestamptz"
    TIMESTAMP = "timestamp"
    DATE = "date"
    UUID = "uuid"
    JSON = "json"
    BYTES = "bytes"


@dataclass(frozen=True, slots=True)
class Field:
    """One column of a synced table and its name on the wire.

    `sql_type` is the Postgres type as `format_type` prints it (`timestamp with time zone`, `text[]`).
    `required`: the column may not be null on the wire. `base`: one of the contract's base fields (id, createdAt, ..),
    which no client may write except `id` on create. `readonly`: none may write it at all.
    """

    name: str
    column: str
    kind: Kind
    sql_type: str
    array: bool = False
    required: bool = False
    base: bool = False
    enum_values: tuple[str, ...] | None = None
    readonly: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """A row belongs to the sync group `<kind>:<value of column>` (none when the column is null)."""

    kind: str
    column: str


@dataclass(frozen=True, slots=True)
class Grants:
    """A row is a membership: the participant that `subject_column` names holds `<kind>:<value of scope_column>`."""

    subject_column: str
    scope_column: str
    kind: str


@dataclass(frozen=True, slots=True)
class Model:
    """A synced table.

    `name` is the model's name in SQL (`task` of `task_create`), `fields` all columns on the wire in declared order,
    base fields included. `tenant_column` is None for a model that all organizations share. `groups` are those of a
    row; a model without any belongs to `org:<organization>`. `rule` is the read rule over column names and `actor.*`.
    `grants`: its rows are memberships.
    """

    key: str
    typename: str
    name: str
    namespace: str
    table: str
    id_column: str
    tenant_column: str | None
    fields: tuple[Field, ...]
    groups: tuple[Group, ...] = ()
    rule: str | None = None
    mutable: bool = True
    load: str = "instant"
    conflict: Mapping[str, str] | None = None
    claims: str = "advisory"
    hash: str = ""
    grants: Grants | None = None

    def field(self, name: str) -> Field | None:
        """The field with this wire name."""
        return next((f for f in self.fields if f.name == name), None)

    def field_of_column(self, column: str) -> Field | None:
        """The field stored in this column."""
        return next((f for f in self.fields if f.column == column), None)

    @property
    def id_field(self) -> Field:
        """The field of the row id."""
        found = self.field_of_column(self.id_column)
        assert found is not None
        return found


@dataclass(frozen=True, slots=True)
class ActiveSchema:
    """The version that a database obeys: `version` counts pushes, `hash` is the contract's schema hash (1.12).

    `renamed`: keys of now by the keys, in lower case, that models had before.
    """

    version: int
    hash: str
    pushed_at: str | None
    models: tuple[Model, ...]
    document: Mapping[str, Any] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    _names: Mapping[str, Model] = field(default_factory=dict, init=False, repr=False, compare=False)
    _tables: Mapping[tuple[str, str], Model] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names: dict[str, Model] = {}
        for spelling in ("table", "typename", "key"):  # a key wins over another's table name
            for model in self.models:
                names[str(getattr(model, spelling)).lower()] = model
        object.__setattr__(self, "_names", names)
        object.__setattr__(self, "_tables", {(m.namespace, m.table): m for m in self.models})

    def find(self, name: str) -> Model | None:
        """The model with this key, typename or table name, whatever the case (contract section 0)."""
        return self._names.get(name.lower())

    def of_table(self, namespace: str, table: str) -> Model | None:
        """The model stored in this table."""
        return self._tables.get((namespace, table))


EMPTY = ActiveSchema(version=0, hash="", pushed_at=None, models=())


def model_to_json(model: Model) -> dict[str, Any]:
    """The JSON form kept in `pgsync_private.schema_version.models`."""
    return {
        "key": model.key,
        "typename": model.typename,
        "name": model.name,
        "namespace": model.namespace,
        "table": model.table,
        "idColumn": model.id_column,
        "tenantColumn": model.tenant_column,
        "fields": [
            {
                "name": f.name,
                "column": f.column,
                "kind": f.kind.value,
                "sqlType": f.sql_type,
                "array": f.array,
                "required": f.required,
                "base": f.base,
                "enumValues": list(f.enum_values) if f.enum_values is not None else None,
            }
            | ({"readOnly": True} if f.readonly else {})
            for f in model.fields
        ],
        "groups": [{"kind": g.kind, "column": g.column} for g in model.groups],
        "rule": model.rule,
        "mutable": model.mutable,
        "load": model.load,
        "conflict": dict(model.conflict) if model.conflict is not None else None,
        "claims": model.claims,
        "hash": model.hash,
        "grants": None
        if model.grants is None
        else {
            "subjectColumn": model.grants.subject_column,
            "scopeColumn": model.grants.scope_column,
            "kind": model.grants.kind,
        },
    }


def model_from_json(data: Mapping[str, Any]) -> Model:
    """The inverse of `model_to_json`."""
    return Model(
        key=data["key"],
        typename=data["typename"],
        name=data["name"],
        namespace=data["namespace"],
        table=data["table"],
        id_column=data["idColumn"],
        tenant_column=data["tenantColumn"],
        fields=tuple(
            Field(
                name=f["name"],
                column=f["column"],
                kind=Kind(f["kind"]),
                sql_type=f["sqlType"],
                array=f["array"],
                required=f["required"],
                base=f["base"],
                enum_values=tuple(f["enumValues"]) if f["enumValues"] is not None else None,
                readonly=f.get("readOnly", False),
            )
            for f in data["fields"]
        ),
        groups=tuple(Group(kind=g["kind"], column=g["column"]) for g in data["groups"]),
        rule=data["rule"],
        mutable=data["mutable"],
        load=data["load"],
        conflict=data["conflict"],
        claims=data["claims"],
        hash=data["hash"],
        grants=_grants_from_json(data.get("grants")),
    )


def _grants_from_json(data: Mapping[str, Any] | None) -> Grants | None:
    return None if data is None else Grants(data["subjectColumn"], data["scopeColumn"], data["kind"])


def active_schema_from_json(data: Mapping[str, Any] | None) -> ActiveSchema:
    """What `pgsync.schema_v1()` returned; `EMPTY` when nothing has been pushed."""
    if data is None:
        return EMPTY
    return ActiveSchema(
        version=data["version"],
        hash=data["hash"],
        pushed_at=data["pushedAt"],
        models=tuple(model_from_json(m) for m in data["models"]),
        document=data["schema"],
        renamed=data.get("renamed", {}),
    )
