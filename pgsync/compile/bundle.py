"""The whole output of a compilation: statements grouped by model, each with what a reviewer wants to know about it.

Order matters and is fixed: first the functions of the models, which lock no table; then what is on each table, row
security before the grants that let anybody in and the publication last, so that a table streams only when everything
about it is in place; then the functions that name all models.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from pgsync import sqlfiles
from pgsync.compile.functions import TableNames, readable, render_dispatchers, render_functions
from pgsync.models import model_to_json
from pgsync.names import literal, quote
from pgsync.schema.resolved import ResolvedModel, ResolvedSchema, to_runtime


@dataclass(frozen=True, slots=True)
class Statement:
    """One step of a push, idempotent by itself.

    `model` is the schema key, "" for what names all models. `kind` and `identity` tell it from every other. `lock` is
    the strongest lock that it takes on `table`, which is quoted, "" where there is none; none of them reads a table's
    rows. `undo` takes it back, "" where that is part of another statement's undo.
    """

    model: str
    kind: str
    identity: str
    sql: str
    lock: str = ""
    table: str = ""
    undo: str = ""

    @property
    def hash(self) -> str:
        """SHA-256 of the text, in hex: how a push knows that nothing is to do, and `doctor` that nobody edited it."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Bundle:
    """Everything but the tables themselves, in the order in which it runs."""

    schema: ResolvedSchema
    functions: tuple[Statement, ...]
    on_tables: tuple[Statement, ...]
    dispatchers: tuple[Statement, ...]

    @property
    def statements(self) -> tuple[Statement, ...]:
        """All of them."""
        return self.functions + self.on_tables + self.dispatchers

    @property
    def definition_hash(self) -> str:
        """SHA-256 of the document with everything that only pgsync knows, and of all statements; in hex."""
        digest = hashlib.sha256(orjson.dumps(self.schema.document, option=orjson.OPT_SORT_KEYS))
        for statement in self.statements:
            digest.update(statement.hash.encode())
        return digest.hexdigest()

    def activation(self) -> str:
        """The statement that makes this the active version."""
        objects = [{"model": s.model, "kind": s.kind, "identity": s.identity, "hash": s.hash} for s in self.statements]
        arguments = [
            literal(self.schema.hash),
            literal(self.definition_hash),
            literal(json.dumps(self.schema.document, ensure_ascii=False)),
            literal(self.runtime_models()),
            literal(json.dumps(objects, ensure_ascii=False)),
        ]
        return sqlfiles.render("bundle/activate.sql", arguments=arguments)

    def runtime_models(self) -> str:
        """What gateways are to know about the models, as JSON."""
        return json.dumps([model_to_json(to_runtime(m)) for m in self.schema.models], ensure_ascii=False)


def compile_schema(schema: ResolvedSchema) -> Bundle:
    """The SQL of a schema."""
    models = sorted(schema.models, key=lambda m: m.key)
    return Bundle(
        schema=schema,
        functions=tuple(
            Statement(
                model.key,
                "function",
                signature,
                sql + _comment(f"FUNCTION {signature}", model.key, sql),
                undo=f"DROP FUNCTION IF EXISTS {signature};\n",
            )
            for model in models
            for signature, sql in render_functions(model, schema).items()
        ),
        on_tables=tuple(statement for model in models for statement in _on_table(model)),
        dispatchers=tuple(
            Statement("", "function", signature, sql + _comment(f"FUNCTION {signature}", "", sql))
            for signature, sql in render_dispatchers(models).items()
        ),
    )


def removal(namespace: str, table: str, key: str) -> str:
    """The statements that take pgsync off a model's table; the table and its rows stay."""
    return sqlfiles.render(
        "on_table/remove.sql",
        key=key,
        table=f"{quote(namespace)}.{quote(table)}",
        namespace_literal=literal(namespace),
        table_literal=literal(table),
        identity_literal=literal(f"{quote(namespace)}.{quote(table)}"),
    )


def needs_full_identity(model: ResolvedModel) -> bool:
    """Whether the log must carry whole old rows: when visibility depends on more than the tenant and the id.

    A membership decides what somebody else may see, so what it said before it changed or went must be known.
    """
    stable = {model.id.column, model.tenant_column}
    return model.rule is not None or model.grants is not None or any(g.column not in stable for g in model.groups)


def _on_table(model: ResolvedModel) -> Iterator[Statement]:
    names = TableNames(model)
    writable = "true"
    if names.tenant is not None:
        writable = f"{names.tenant} = {names.tenant_value(once=True)}"
    context = {
        "key": model.key,
        "name": model.name,
        "table": names.table,
        "namespace": quote(model.namespace),
        "sequences": model.id.identity or any(f.readonly for f in model.fields),
        "namespace_literal": literal(model.namespace),
        "table_literal": literal(model.table),
        "identity_literal": literal(names.table),
        "tenant": names.tenant,
        "tenant_literal": literal(model.tenant_column or ""),
        "readable": readable(model),
        "writable": writable,
        "grant_literal": literal(model.typename.lower()),
        "full": needs_full_identity(model),
        "enforced": model.claims == "enforced",
        "key_literal": literal(model.key),
        "id_literal": literal(model.id.column),
        "fields_literal": literal(json.dumps({f.column: f.name for f in model.fields}, sort_keys=True)),
        "conflict_literal": literal(json.dumps(dict(model.conflict or {}), sort_keys=True)),
    }
    undo = removal(model.namespace, model.table, model.key)
    for kind, lock in (
        ("row_security", "ACCESS EXCLUSIVE"),
        ("triggers", "ACCESS EXCLUSIVE" if model.claims != "enforced" else "SHARE ROW EXCLUSIVE"),
        ("grants", ""),
        ("replication", "ACCESS EXCLUSIVE"),
    ):
        sql = sqlfiles.render(f"on_table/{kind}.sql", **context)
        own_undo = undo if kind == "row_security" else ""
        yield Statement(model.key, kind, names.table, sql, lock=lock, table=names.table if lock else "", undo=own_undo)


def _comment(what: str, model: str, sql: str) -> str:
    digest = hashlib.sha256(sql.encode()).hexdigest()[:16]
    about = f"model={model} " if model else ""
    return f"COMMENT ON {what} IS '[pgsync {about}hash={digest}]';\n"
