"""Tables of a schema for those who let us make them: `migrate`, `dev` and the first push into an empty database.

The primary key is (tenant, id): an id that another organization has is no obstacle and tells nothing, a reference
carries the tenant so that it cannot leave the organization, and the key's index serves every list.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pgsync import sqlfiles
from pgsync.compile.columns import default_literal
from pgsync.compile.functions import TableNames
from pgsync.names import is_plain, literal, quote
from pgsync.schema.resolved import ResolvedField, ResolvedModel, ResolvedSchema


def table_statements(schema: ResolvedSchema, model: ResolvedModel) -> Iterator[dict[str, Any]]:
    """The steps that make a model's table, its indexes and its references; each as the fields of a `Statement`."""
    names = TableNames(model)
    columns = [_column(model, f) for f in model.fields]
    constraints = [f"CONSTRAINT {_name(model, 'pkey')} PRIMARY KEY ({names.key_columns})"]
    constraints += [check for f in model.declared if (check := enum_check(model, f))]
    yield {
        "kind": "table",
        "identity": names.table,
        "sql": sqlfiles.render(
            "on_table/create_table.sql", key=model.key, table=names.table, columns=columns, constraints=constraints
        ),
        "migrates": True,
    }
    for f in model.declared:
        reference = next((r for r in model.references if r.column == f.column and r.enforced), None)
        if f.indexed or f.unique or reference is not None:
            yield _index(model, names, f, "Finds the rows of a reference" if reference else "Declared in the schema")
    for group in model.groups:
        f_group = model.field_of_column(group.column)
        referred = any(r.column == group.column and r.enforced for r in model.references)
        if f_group is not None and not f_group.base and not f_group.indexed and not referred:
            yield _index(model, names, f_group, "Finds the rows of a sync group")
    subject = None if model.grants is None else model.field_of_column(model.grants.subject_column)
    if subject is not None and not (subject.indexed or subject.unique):
        referred = any(r.column == subject.column and r.enforced for r in model.references)
        if not referred and all(g.column != subject.column for g in model.groups):
            yield _index(model, names, subject, "Finds the memberships of a participant")
    for reference in model.references:
        target = schema.model(reference.target)
        if not reference.enforced or target is None:
            continue
        target_names = TableNames(target)
        shared_tenant = names.tenant is not None and target_names.tenant is not None
        own = f"{names.tenant}, {quote(reference.column)}" if shared_tenant else quote(reference.column)
        name = _name(model, f"{reference.column}_fkey")
        yield {
            "kind": "foreign_key",
            "identity": f"{names.table}.{name}",
            "sql": sqlfiles.render(
                "on_table/foreign_key.sql",
                key=model.key,
                relation=reference.relation,
                table=names.table,
                table_literal=literal(names.table),
                name=name,
                name_literal=literal(_plain_name(model, f"{reference.column}_fkey")),
                columns=own,
                target=target_names.table,
                target_columns=target_names.key_columns if shared_tenant else target_names.id,
                action=_on_delete(reference.on_delete, quote(reference.column) if shared_tenant else None),
            ),
            "lock": "SHARE ROW EXCLUSIVE on both tables",
            "migrates": True,
        }


def add_column(model: ResolvedModel, f: ResolvedField) -> str:
    """The statement that adds a field's column to a table that exists."""
    names = TableNames(model)
    check = enum_check(model, f)
    return sqlfiles.render(
        "on_table/add_column.sql",
        key=model.key,
        field=f.name,
        table=names.table,
        column=_column(model, f),
        constraints=[check] if check else [],
        validations=[_name(model, f"{f.column}_check")] if check else [],
    )


def change_enum_values(model: ResolvedModel, f: ResolvedField) -> str:
    """The statements that make the check constraint of a column that exists fit its field, which may be no enum now."""
    return sqlfiles.render(
        "on_table/enum_values.sql",
        key=model.key,
        field=f.name,
        table=TableNames(model).table,
        name=_name(model, f"{f.column}_check"),
        constraint=enum_check(model, f),
    )


def drop_not_null(model: ResolvedModel, f: ResolvedField) -> str:
    """The statement that lets a column that exists be null."""
    return sqlfiles.render(
        "on_table/drop_not_null.sql",
        key=model.key,
        field=f.name,
        table=TableNames(model).table,
        column=quote(f.column),
    )


def is_not_null(model: ResolvedModel, f: ResolvedField) -> bool:
    """Whether the field's column is NOT NULL in a table that we make."""
    return f.column in (model.id.column, model.tenant_column) or (f.strict and not f.nullable)


def enum_check(model: ResolvedModel, f: ResolvedField) -> str:
    """The check constraint of an enum field; "" for any other."""
    if not f.enum_values:
        return ""
    values = ", ".join(literal(v) for v in f.enum_values)
    return f"CONSTRAINT {_name(model, f'{f.column}_check')} CHECK ({quote(f.column)} IN ({values}))"


def _column(model: ResolvedModel, f: ResolvedField) -> str:
    parts = [quote(f.column), f.sql_type]
    if f.identity:
        parts.append("GENERATED BY DEFAULT AS IDENTITY")
    if is_not_null(model, f):
        parts.append("NOT NULL")
    if f.default is not None:
        parts.append(f"DEFAULT {default_literal(f)}")
    elif f.base and f.name in ("createdAt", "updatedAt"):
        parts.append("DEFAULT pg_catalog.now()")
    return " ".join(parts)


def _index(model: ResolvedModel, names: TableNames, f: ResolvedField, why: str) -> dict[str, Any]:
    columns = quote(f.column) if names.tenant is None else f"{names.tenant}, {quote(f.column)}"
    stem = f.column if model.tenant_column is None else f"{model.tenant_column}_{f.column}"
    index = _name(model, f"{stem}_{'key' if f.unique else 'idx'}")
    return {
        "kind": "index",
        "identity": f"{quote(model.namespace)}.{index}",
        "sql": sqlfiles.render(
            "on_table/index.sql",
            why=f"{why}: {f.name}.",
            index=index,
            table=names.table,
            columns=columns,
            unique=f.unique,
        ),
        "lock": "SHARE",
        "migrates": True,
    }


def _plain_name(model: ResolvedModel, suffix: str) -> str:
    return f"{model.table}_{suffix}"


def _name(model: ResolvedModel, suffix: str) -> str:
    """A constraint or index name: Postgres's own default, written out."""
    name = _plain_name(model, suffix)
    return name if is_plain(name) else quote(name)


def _on_delete(action: str, column: str | None) -> str:
    if action == "set null" and column is not None:
        return f"ON DELETE SET NULL ({column})"
    return f"ON DELETE {action.upper()}"
