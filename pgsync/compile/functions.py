"""The generated functions of a model, and the dispatchers that name every model.

A commit reaches a model's static SQL through the dispatchers, so no statement is ever put together at run time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pgsync import sqlfiles
from pgsync.compile.columns import cast_of, default_literal, expected, from_data, is_assigned
from pgsync.expression import render_rule
from pgsync.models import Kind
from pgsync.names import literal, quote
from pgsync.schema.resolved import ResolvedField, ResolvedModel, ResolvedSchema

MODEL_FUNCTIONS = {
    "check": "jsonb",
    "create": "text, jsonb",
    "update": "text, jsonb",
    "delete": "text",
    "lock": "text, boolean",
    "texts": "text, text[]",
    "sees": "text",
    "saw": "jsonb",
    "diagnose": "jsonb",
    "record": "",
}
"""Template under `pgsync_generated/` and argument types of each function of a model."""

DISPATCHERS = {
    "resolve_model": ("resolve_model", "text"),
    "apply_operation": ("apply_operation", "text, text, text, jsonb"),
    "lock_row": ("lock_row", "text, text, boolean"),
    "row_texts": ("row_texts", "text, text, text[]"),
    "sees_row": ("sees_row", "text, text"),
    "seen_as": ("seen_as", "pgsync_private.change, boolean"),
    "diagnose": ("diagnose_model", "text, jsonb"),
    "claim_scope": ("claim_scope", "text, text"),
    "claims_enforced": ("claims_enforced", "text"),
    "claims_preemptible": ("claims_preemptible", "text"),
    "edges": ("edges", "text, text"),
    "edge_kinds": ("edge_kinds", ""),
}
"""Template and argument types of each function that names every model."""


@dataclass(frozen=True, slots=True)
class TableNames:
    """A model's table and key as they stand in SQL text."""

    model: ResolvedModel
    table: str = field(init=False)
    id: str = field(init=False)
    tenant: str | None = field(init=False)

    def __post_init__(self) -> None:
        m = self.model
        object.__setattr__(self, "table", f"{quote(m.namespace)}.{quote(m.table)}")
        object.__setattr__(self, "id", quote(m.id.column))
        object.__setattr__(self, "tenant", quote(m.tenant_column) if m.tenant_column is not None else None)

    @property
    def key_columns(self) -> str:
        """The columns that tell a row from every other: tenant first, as in the primary key."""
        return self.id if self.tenant is None else f"{self.tenant}, {self.id}"

    def tenant_value(self, *, once: bool = False) -> str:
        """The caller's organization in the type of the tenant column; `once` per query, for policies.

        What is no value of that type is nobody's organization: a comparison with it does not fail, it finds nothing.
        """
        kind = self._tenant_kind
        name = "id" if kind is Kind.TEXT else "uuid" if kind is Kind.UUID else "integer"
        function = f"pgsync.organization_{name}()"
        return f"(SELECT {function})" if once else function

    def tenant_of(self, text: str) -> str:
        """The organization that this SQL expression names, in the type of the tenant column."""
        kind = self._tenant_kind
        if kind is Kind.TEXT:
            return text
        return f"pgsync_private.as_{'uuid' if kind is Kind.UUID else 'integer'}({text})"

    @property
    def _tenant_kind(self) -> Kind:
        found = self.model.field_of_column(self.model.tenant_column or "")
        if found is None or cast_of(found) in ("", "text"):
            return Kind.TEXT
        return Kind.UUID if found.kind is Kind.UUID else Kind.INTEGER


def readable(model: ResolvedModel, *, alias: str | None = None) -> list[str]:
    """What must hold of a row for a participant to see it: tenant, groups, rule. `alias` goes before each column."""
    names = TableNames(model)
    prefix = "" if alias is None else f"{alias}."
    conditions = []
    if names.tenant is not None:
        conditions.append(f"{prefix}{names.tenant} = {names.tenant_value(once=True)}")
    if model.groups:
        held = "ANY ((SELECT pgsync.sync_groups())::text[])"
        belongs = [f"{literal(g.kind + ':')} || {prefix}{quote(g.column)} = {held}" for g in model.groups]
        conditions.append(belongs[0] if len(belongs) == 1 else "(" + " OR ".join(belongs) + ")")
    elif names.tenant is not None:
        conditions.append("(SELECT pgsync.holds_group('org:' || pgsync.organization_id()))")
    if model.expression is not None:
        conditions.append(f"({render_rule(model.expression, alias=alias)})")
    return conditions or ["true"]


def render_functions(model: ResolvedModel, schema: ResolvedSchema) -> dict[str, str]:
    """The statements of a model's functions by signature, e.g. `pgsync_generated.task_create(text, jsonb)`."""
    view = _view(model) | {"references": [*_references(model, schema)]}
    result = {}
    for suffix, arguments in MODEL_FUNCTIONS.items():
        if suffix == "saw" and not view["kept"]:
            continue
        signature = f"pgsync_generated.{model.name}_{suffix}({arguments})"
        body = sqlfiles.render(f"pgsync_generated/{suffix}.sql", m=view)
        result[signature] = body + _ownership(signature, writer=suffix != "record")
    return result


def render_dispatchers(models: Sequence[ResolvedModel]) -> dict[str, str]:
    """The statements of the dispatchers by signature. With no models: dispatchers that know none."""
    spellings: dict[str, ResolvedModel] = {}
    for spelling in ("table", "typename", "key"):  # a key wins over another's table name
        for model in models:
            spellings[str(getattr(model, spelling)).lower()] = model
    context: dict[str, Any] = {
        "models": [
            {
                "name": m.name,
                "shared": m.tenant_column is None,
                "grant_literal": literal(m.typename.lower()),
                "is_kept": bool(_kept_fields(m)),
                **_archiving(m),
            }
            for m in sorted(models, key=lambda m: m.name)
        ],
        "edges": [_edge(m) for m in sorted(models, key=lambda m: m.name) if m.grants is not None],
        "enforced": ", ".join(sorted(literal(m.name) for m in models if m.claims == "enforced")),
        "preemptible": ", ".join(sorted(literal(m.name) for m in models if m.preempt)),
        "edge_kinds": ", ".join(sorted({literal(m.grants.kind) for m in models if m.grants is not None})),
        "spellings": [
            {"literal": literal(name), "answer": _answer(model)} for name, model in sorted(spellings.items())
        ],
    }
    result = {}
    for name, (template, arguments) in DISPATCHERS.items():
        signature = f"pgsync_generated.{name}({arguments})"
        result[signature] = sqlfiles.render(f"pgsync_generated/{template}.sql", **context) + _ownership(
            signature, writer=True
        )
    return result


_SUBJECTS = {
    Kind.TEXT: "edges.p_participant",
    Kind.UUID: "pgsync_private.as_uuid(edges.p_participant)",
    Kind.INTEGER: "pgsync_private.as_integer(edges.p_participant)",
}
"""A participant's id in the type of the column that names it; null when it cannot be one."""


def _edge(model: ResolvedModel) -> dict[str, str | None]:
    grants = model.grants
    assert grants is not None
    names = TableNames(model)
    subject = model.field_of_column(grants.subject_column)
    assert subject is not None
    return {
        "key_literal": literal(model.key),
        "kind_literal": literal(f"{grants.kind}:"),
        "table": names.table,
        "id": names.id,
        "tenant": names.tenant,
        "tenant_value": names.tenant_of("edges.p_organization"),
        "subject": quote(grants.subject_column),
        "subject_value": _SUBJECTS[subject.kind],
        "scope": quote(grants.scope_column),
    }


def _answer(model: ResolvedModel) -> str:
    mutable = "true" if model.mutable else "false"
    conflict = literal(json.dumps(dict(model.conflict), sort_keys=True)) if model.conflict else "NULL"
    archived = literal(archive_field.name) if (archive_field := _archive_field(model)) is not None else "NULL"
    names = f"'{model.name}', {literal(model.typename.lower())}, {literal(model.key)}"
    table = TableNames(model).table
    key = f"{literal(table)}, {literal(model.id.column)}" if model.id.kind is Kind.INTEGER else "NULL, NULL"
    return f"ARRAY[{names}, '{mutable}', {conflict}, {archived}, {key}]"


def _archive_field(model: ResolvedModel) -> ResolvedField | None:
    """The field that the actions archive and unarchive set: a date or a boolean by its conventional name."""
    for f in model.declared:
        if f.array:
            continue
        if f.name in ("archivedAt", "archived_at") and f.kind is Kind.TIMESTAMPTZ and f.nullable:
            return f
        if f.name == "archived" and f.kind is Kind.BOOLEAN:
            return f
    return None


def _archiving(model: ResolvedModel) -> dict[str, str]:
    f = _archive_field(model)
    if f is None:
        return {"archive": "", "unarchive": ""}
    name = literal(f.name)
    if f.kind is Kind.BOOLEAN:
        return {
            "archive": f"pg_catalog.jsonb_build_object({name}, true)",
            "unarchive": f"pg_catalog.jsonb_build_object({name}, false)",
        }
    now = "pgsync_private.iso(pg_catalog.statement_timestamp())"
    return {
        "archive": f"pg_catalog.jsonb_build_object({name}, {now})",
        "unarchive": f"pg_catalog.jsonb_build_object({name}, NULL)",
    }


def _ownership(signature: str, *, writer: bool) -> str:
    lines = [
        "",
        f"ALTER FUNCTION {signature} OWNER TO pgsync_owner;",
        f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC;",
    ]
    if writer:
        lines.append(f"GRANT EXECUTE ON FUNCTION {signature} TO pgsync_writer;")
    return "\n".join(lines) + "\n"


def _id_check(model: ResolvedModel) -> str:
    if model.id.kind is Kind.UUID:
        return "v_ignored := pgsync_private.require_uuid_id(p_id);"
    if model.id.kind is Kind.INTEGER:
        bits = {"smallint": 16, "integer": 32, "bigint": 64}[model.id.sql_type]
        return f"v_ignored := pgsync_private.require_integer_id(p_id, {bits});"
    return ""


def _view(model: ResolvedModel) -> dict[str, Any]:
    names = TableNames(model)
    id_cast = "" if model.id.kind is Kind.TEXT else f"::{model.id.sql_type}"
    where = f"t.{names.id} = p_id{id_cast}"
    if names.tenant is not None:
        where = f"t.{names.tenant} = {names.tenant_value()}\n    AND {where}"
    base = {f.name: f for f in model.fields if f.base}
    tenant_field = next((f for f in base.values() if f.column == model.tenant_column), None)
    known = sorted({f.name for f in model.fields} | {"id", "createdAt", "updatedAt", "organizationId", "createdBy"})
    written = [f for f in model.declared if not f.readonly]
    checked = [(f, e) for f in written if (e := expected(f)) is not None]
    required = [f for f in written if not f.nullable]
    return {
        "key": model.key,
        "name": model.name,
        "table": names.table,
        "table_literal": literal(model.table),
        "identity_literal": literal(names.table),
        "key_literal": literal(model.key),
        "known_fields": ", ".join(literal(name) for name in known),
        "field_list_literal": literal(", ".join(f.name for f in model.declared)),
        "tenant_field": literal(tenant_field.name) if tenant_field is not None else None,
        "checked": [{"literal": literal(f.name), "json_types": e[0], "expected": e[1]} for f, e in checked],
        "readonly": [{"literal": literal(f.name)} for f in model.declared if f.readonly],
        "decimal_arrays": [{"literal": literal(f.name)} for f in written if f.array and f.kind is Kind.DECIMAL],
        "enums": [
            {
                "literal": literal(f.name),
                "enum_literals": ", ".join(literal(v) for v in f.enum_values),
                "enum_list_literal": literal(", ".join(f.enum_values)),
            }
            for f in written
            if f.enum_values
        ],
        "not_null": [{"literal": literal(f.name)} for f in required],
        "must_be_given": ", ".join(literal(f.name) for f in required if f.strict and f.default is None),
        "id_check": _id_check(model),
        "identity": model.id.identity,
        "inserted": _insert(model, names, base, tenant_field, id_cast),
        "updated": _update(model, base),
        "where": where,
        "readable": readable(model, alias="t"),
        "converted": [
            {"literal": literal(f.name), "value": from_data(f), "type": f.sql_type if is_assigned(f) else ""}
            for f in written
        ],
        "texts": [{"literal": literal(f.name), "column": quote(f.column)} for f in model.fields],
        "recorded": [
            {"literal": literal(f.name), "changed": _changed(f)} for f in model.fields if _is_recorded(model, f)
        ],
        **_recorded_key(model, names),
        **_kept(model),
        **_recorded_anyway(model),
    }


def _kept_fields(model: ResolvedModel) -> list[ResolvedField]:
    """The fields that decide who sees a row, where that is more than its organization: the change log keeps them."""
    if not model.groups and model.expression is None:
        return []
    columns = {g.column for g in model.groups}
    if model.expression is not None:
        columns.update(model.expression.columns)
    if model.tenant_column is not None:
        columns.add(model.tenant_column)
    return [f for f in model.fields if f.column in columns]


def _kept(model: ResolvedModel) -> dict[str, Any]:
    fields = _kept_fields(model)

    def values(row: str) -> str:
        pairs = [f"{literal(f.column)}, {kept_value(row, f)}" for f in fields]
        return f"pg_catalog.jsonb_build_object({', '.join(pairs)})"

    def kept_value(row: str, f: ResolvedField) -> str:
        value = f"{row}.{quote(f.column)}"
        # A rule asks of JSON only whether it is there.
        return f"CASE WHEN {value} IS NOT NULL THEN '{{}}'::jsonb END" if f.kind is Kind.JSON else value

    def changed(f: ResolvedField) -> str:
        new, old = f"NEW.{quote(f.column)}", f"OLD.{quote(f.column)}"
        return f"({new} IS NULL) <> ({old} IS NULL)" if f.kind is Kind.JSON else f"{new} IS DISTINCT FROM {old}"

    return {
        "kept": [{"column": quote(f.column), "type": f.sql_type} for f in fields],
        "kept_names": ", ".join(literal(f.column) for f in fields),
        "kept_floats": any(f.kind is Kind.FLOAT for f in fields),
        "kept_changed": " OR ".join(changed(f) for f in fields),
        "kept_old": values("OLD"),
        "kept_new": values("NEW"),
    }


def _references(model: ResolvedModel, schema: ResolvedSchema) -> Iterator[dict[str, Any]]:
    """The references that another organization's row must not satisfy."""
    for reference in model.references:
        target = schema.model(reference.target)
        field = model.field_of_column(reference.column)
        if target is None or target.tenant_column is None or field is None or not reference.enforced:
            continue
        names = TableNames(target)
        yield {
            "literal": literal(field.name),
            "value": from_data(field),
            "own": target.key == model.key,
            "table": names.table,
            "id": names.id,
            "tenant": names.tenant,
            "tenant_value": names.tenant_value(),
            "target_literal": literal(target.key),
        }


def _insert(
    model: ResolvedModel,
    names: TableNames,
    base: dict[str, ResolvedField],
    tenant_field: ResolvedField | None,
    id_cast: str,
) -> list[dict[str, str]]:
    columns = []
    if names.tenant is not None:
        columns.append({"column": names.tenant, "value": names.tenant_value()})
    columns.append({"column": names.id, "value": f"p_id{id_cast}"})
    for f in model.declared:
        if f.readonly:
            continue
        value = from_data(f)
        if f.default is not None:
            value = f"CASE WHEN p_data ? {literal(f.name)} THEN {value} ELSE {default_literal(f)} END"
        columns.append({"column": quote(f.column), "value": value})
    for name, value in (
        ("createdAt", "pg_catalog.statement_timestamp()"),
        ("updatedAt", "pg_catalog.statement_timestamp()"),
        ("createdBy", "pgsync.participant_id()"),
    ):
        if name in base:
            columns.append({"column": quote(base[name].column), "value": value})
    return columns


def _update(model: ResolvedModel, base: dict[str, ResolvedField]) -> list[dict[str, str]]:
    columns = [
        {
            "column": quote(f.column),
            "value": f"CASE WHEN p_data ? {literal(f.name)} THEN {from_data(f)} ELSE t.{quote(f.column)} END",
        }
        for f in model.declared
        if not f.readonly
    ]
    if "updatedAt" in base:
        columns.append({"column": quote(base["updatedAt"].column), "value": "pg_catalog.statement_timestamp()"})
    if not columns:  # nothing but the key: an update still answers whether the row is there
        columns.append({"column": quote(model.id.column), "value": f"t.{quote(model.id.column)}"})
    return columns


def _changed(f: ResolvedField) -> str:
    column = quote(f.column)
    if f.sql_type == "json":  # no equality operator
        return f"NEW.{column}::text IS DISTINCT FROM OLD.{column}::text"
    return f"NEW.{column} IS DISTINCT FROM OLD.{column}"


def _is_recorded(model: ResolvedModel, f: ResolvedField) -> bool:
    return f.column not in (model.id.column, model.tenant_column) and not (f.base and f.name == "updatedAt")


def _recorded_anyway(model: ResolvedModel) -> dict[str, Any]:
    """What the change log needs of a row whose table has been changed by hand; literals."""
    recorded = [[f.column, f.name] for f in model.fields if _is_recorded(model, f)]
    needed = [model.id.column, *filter(None, (model.tenant_column,)), *(g.column for g in model.groups)]
    return {
        "columns": ", ".join(f"{quote(f.column)} {f.sql_type}" for f in model.fields),
        "needed_columns": f"ARRAY[{', '.join(map(literal, dict.fromkeys(needed)))}]",
        "recorded_literal": literal(json.dumps(recorded, ensure_ascii=False)),
        "id_literal": literal(model.id.column),
        "tenant_literal": literal(model.tenant_column) if model.tenant_column is not None else "",
        "groups": [{"kind": literal(f"{g.kind}:"), "column": literal(g.column)} for g in model.groups],
    }


def _recorded_key(model: ResolvedModel, names: TableNames) -> dict[str, str]:
    def text(row: str, column: str) -> str:
        found = model.field_of_column(column)
        cast = "" if found is not None and found.kind is Kind.TEXT and cast_of(found) in ("", "text") else "::text"
        return f"{row}.{quote(column)}{cast}"

    def groups(*rows: str) -> str:
        if not model.groups:
            return "NULL"
        parts = [f"{literal(g.kind + ':')} || {text(row, g.column)}" for row in rows for g in model.groups]
        return f"pg_catalog.array_remove(ARRAY[{', '.join(parts)}], NULL)"

    same = f"NEW.{names.id} = OLD.{names.id}"
    if names.tenant is not None:
        same = f"NEW.{names.tenant} IS NOT DISTINCT FROM OLD.{names.tenant} AND {same}"
    return {
        "key_unchanged": same,
        "new_id": text("NEW", model.id.column),
        "old_id": text("OLD", model.id.column),
        "new_tenant": text("NEW", model.tenant_column) if model.tenant_column is not None else "NULL",
        "old_tenant": text("OLD", model.tenant_column) if model.tenant_column is not None else "NULL",
        "new_groups": groups("NEW"),
        "old_groups": groups("OLD"),
        "both_groups": groups("NEW", "OLD"),
    }
