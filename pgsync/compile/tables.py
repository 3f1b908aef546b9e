"""Tables of a schema for those who let us make them: `migrate`, `dev` and the first push into an empty database.

The primary key is (tenant, id): an id that another organization has is no obstacle and tells nothing, a reference
carries the tenant so that it cannot leave the organization, and the key's index serves every list.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pgsync import sqlfiles
from pgsync.compile.columns import default_literal
from pgsync.compile.functions import TableNames
from pgsync.names import MAX_BYTES, is_plain, is_reserved, literal, quote
from pgsync.schema.resolved import Reference, ResolvedField, ResolvedModel, ResolvedSchema

MARK = "[pgsync model="
"""What the comment on a table begins with that pgsync made; only such tables are altered later."""

MADE = "[pgsync] "
"""What the comment on an index or reference begins with that pgsync made; only such ones go with the schema's wish."""


@dataclass(frozen=True, slots=True)
class Index:
    """An index that a model asks for. `name` is plain, `columns` and `why` as they stand in SQL text."""

    name: str
    columns: str
    unique: bool
    why: str
    field: str


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A reference with a constraint. `name` is plain; the rest is SQL text, `target` a whole table name."""

    name: str
    relation: str
    column: str
    columns: str
    target: str
    target_columns: str
    action: str

    @property
    def nulls_one_column(self) -> bool:
        """Whether deleting what is referred to empties one of the columns alone, as PostgreSQL can from 15 on."""
        return self.action.endswith(")")


def create_table(model: ResolvedModel) -> str:
    """The statement that makes a model's table, without indexes and references."""
    names = TableNames(model)
    constraints = [f"CONSTRAINT {quote(constraint_name(model, 'pkey'))} PRIMARY KEY ({names.key_columns})"]
    constraints += [check for f in model.declared if (check := enum_check(model, f))]
    return sqlfiles.render(
        "on_table/create_table.sql",
        key=model.key,
        mark=f"{MARK}{model.key}]",
        table=names.table,
        columns=[_column(model, f) for f in model.fields],
        constraints=constraints,
    )


def indexes(model: ResolvedModel) -> tuple[Index, ...]:
    """The indexes that a model asks for beside its primary key."""
    return tuple(_indexes(model))


def _indexes(model: ResolvedModel) -> Iterator[Index]:
    for f in model.declared:
        reference = next((r for r in model.references if r.column == f.column and r.enforced), None)
        if f.indexed or f.unique or reference is not None:
            yield _index(model, f, "Finds the rows of a reference" if reference else "Declared in the schema")
    for group in model.groups:
        f_group = model.field_of_column(group.column)
        referred = any(r.column == group.column and r.enforced for r in model.references)
        if f_group is not None and not f_group.base and not f_group.indexed and not f_group.unique and not referred:
            yield _index(model, f_group, "Finds the rows of a sync group")
    subject = None if model.grants is None else model.field_of_column(model.grants.subject_column)
    if subject is not None and not (subject.indexed or subject.unique):
        referred = any(r.column == subject.column and r.enforced for r in model.references)
        if not referred and all(g.column != subject.column for g in model.groups):
            yield _index(model, subject, "Finds the memberships of a participant")


def create_index(model: ResolvedModel, index: Index, *, concurrently: bool = False) -> str:
    """The statement that builds an index; `concurrently`: beside readers and writers, outside of a transaction."""
    return sqlfiles.render(
        "on_table/index.sql",
        why=index.why,
        index=quote(index.name),
        qualified=qualified(model, index.name),
        comment=literal(f"{MADE}{index.why}"),
        table=TableNames(model).table,
        columns=index.columns,
        unique=index.unique,
        concurrently=concurrently,
    )


def mark_index(model: ResolvedModel, index: Index) -> str:
    """The statement that says of an index that pgsync has built it beside readers and writers."""
    comment = literal(f"{MADE}{index.why}")
    return sqlfiles.render("on_table/mark_index.sql", qualified=qualified(model, index.name), comment=comment)


def qualified(model: ResolvedModel, name: str) -> str:
    """An index of a model's table as it stands in SQL text."""
    return f"{quote(model.namespace)}.{quote(name)}"


def foreign_keys(schema: ResolvedSchema, model: ResolvedModel) -> tuple[ForeignKey, ...]:
    """The references of a model that are held by a constraint."""
    return tuple(
        _foreign_key(model, reference, target)
        for reference in model.references
        if reference.enforced and (target := schema.model(reference.target)) is not None
    )


def add_foreign_key(model: ResolvedModel, key: ForeignKey, *, valid: bool) -> str:
    """The statement that adds a reference; not `valid`: for new rows at once, for others when it is validated."""
    return sqlfiles.render(
        "on_table/foreign_key.sql",
        key=model.key,
        relation=key.relation,
        table=TableNames(model).table,
        name=quote(key.name),
        columns=key.columns,
        target=key.target,
        target_columns=key.target_columns,
        action=key.action,
        valid=valid,
        comment=literal(f"{MADE}Relation {key.relation}."),
    )


def add_column(model: ResolvedModel, f: ResolvedField, fill: str = "") -> str:
    """The statement that adds a field's column to a table that exists.

    `fill`: what the rows that are there get, as SQL text; "" for the field's default, or null.
    """
    return sqlfiles.render(
        "on_table/add_column.sql",
        key=model.key,
        field=f.name,
        table=TableNames(model).table,
        name=quote(f.column),
        column=_column(model, f, fill),
        fill_only=bool(fill) and not default_of(f),
        default=default_of(f) if fill else "",
        constraint=enum_check(model, f),
    )


def change_type(model: ResolvedModel, f: ResolvedField, policies: Sequence[str] = ()) -> str:
    """The statements that give a field's column its type, refused by themselves when the table has rows.

    `policies`: those that name the column, which go first.
    """
    check = enum_check(model, f)
    return sqlfiles.render(
        "on_table/change_type.sql",
        key=model.key,
        field=f.name,
        table=TableNames(model).table,
        column=quote(f.column),
        type=f.sql_type,
        default=default_of(f),
        check=quote(constraint_name(model, f"{f.column}_check")),
        constraint=check,
        policies=policies,
    )


def constraint_name(model: ResolvedModel, suffix: str) -> str:
    """A constraint or index name: Postgres's own default, written out; not quoted."""
    return f"{model.table}_{suffix}"


def unfit_names(schema: ResolvedSchema, model: ResolvedModel) -> Iterator[str]:
    """Why we do not make this model's table: names that would need quotes, or that Postgres would cut off."""
    for what, name in [("namespace", model.namespace), ("table", model.table)] + [
        ("column", f.column) for f in model.fields
    ]:
        if not is_plain(name):
            yield f"{what} {name!r} is not of lower-case letters, digits and _, beginning with a letter"
        elif is_reserved(name):
            yield f"{what} {name!r} is a reserved word of SQL"
    made = [constraint_name(model, "pkey"), *(index.name for index in indexes(model))]
    made += [key.name for key in foreign_keys(schema, model)]
    made += [constraint_name(model, f"{f.column}_check") for f in model.declared if f.enum_values]
    for name in made:
        if len(name.encode()) > MAX_BYTES:
            yield f"needs an object {name!r}, longer than the {MAX_BYTES} bytes of a name"


def is_not_null(model: ResolvedModel, f: ResolvedField) -> bool:
    """Whether the field's column is NOT NULL in a table that we make."""
    return f.column in (model.id.column, model.tenant_column) or (f.strict and not f.nullable)


def enum_check(model: ResolvedModel, f: ResolvedField) -> str:
    """The check constraint of an enum field; "" for any other."""
    if not f.enum_values:
        return ""
    values = ", ".join(literal(v) for v in f.enum_values)
    return f"CONSTRAINT {quote(constraint_name(model, f'{f.column}_check'))} CHECK ({quote(f.column)} IN ({values}))"


def default_of(f: ResolvedField) -> str:
    """The default of the field's column in a table that we make, as SQL text; "" when it has none."""
    if f.default is not None:
        return default_literal(f)
    return "pg_catalog.now()" if f.base and f.name in ("createdAt", "updatedAt") else ""


def _column(model: ResolvedModel, f: ResolvedField, fill: str = "") -> str:
    parts = [quote(f.column), f.sql_type]
    if f.identity:
        parts.append("GENERATED BY DEFAULT AS IDENTITY")
    if is_not_null(model, f):
        parts.append("NOT NULL")
    if default := fill or default_of(f):
        parts.append(f"DEFAULT {default}")
    return " ".join(parts)


def _index(model: ResolvedModel, f: ResolvedField, why: str) -> Index:
    columns = [f.column] if model.tenant_column is None else [model.tenant_column, f.column]
    if any(r.column == f.column and r.enforced and r.to_shared for r in model.references):
        columns.reverse()  # a foreign key looks for the rows of all organizations
    return Index(
        name=constraint_name(model, f"{'_'.join(columns)}_{'key' if f.unique else 'idx'}"),
        columns=", ".join(quote(column) for column in columns),
        unique=f.unique,
        why=f"{why}: {f.name}.",
        field=f.name,
    )


def _foreign_key(model: ResolvedModel, reference: Reference, target: ResolvedModel) -> ForeignKey:
    names, target_names = TableNames(model), TableNames(target)
    shared_tenant = names.tenant is not None and target_names.tenant is not None
    column = quote(reference.column)
    action = f"ON DELETE {reference.on_delete.upper()}"
    if reference.on_delete == "set null" and shared_tenant:
        action += f" ({column})"  # the tenant stays
    return ForeignKey(
        name=constraint_name(model, f"{reference.column}_fkey"),
        relation=reference.relation,
        column=reference.column,
        columns=f"{names.tenant}, {column}" if shared_tenant else column,
        target=target_names.table,
        target_columns=target_names.key_columns if shared_tenant else target_names.id,
        action=action,
    )
