"""The whole output of a compilation: statements grouped by model, each with what a reviewer wants to know about it.

Order matters and is fixed: tables before references, functions before triggers, row security before the grants that let
anybody in, and the publication last, so that a table streams only when everything about it is in place.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pgsync import sqlfiles
from pgsync.compile.functions import TableNames, readable, render_dispatchers, render_functions
from pgsync.compile.tables import table_statements
from pgsync.names import literal, quote
from pgsync.schema.resolved import ResolvedModel, ResolvedSchema


@dataclass(frozen=True, slots=True)
class Statement:
    """One step of a push, idempotent by itself.

    `model` is the schema key, "" for what names all models. `kind` and `identity` tell it from every other; `lock` is
    the strongest lock on a table that it takes; `undo` takes it back, "" where that is part of another step's undo.
    `migrates`: it creates or alters columns, so it runs only on tables that a push may make.
    """

    model: str
    kind: str
    identity: str
    sql: str
    lock: str = "none"
    undo: str = ""
    migrates: bool = False

    @property
    def hash(self) -> str:
        """SHA-256 of the text, in hex: how a push knows that nothing is to do, and `doctor` that nobody edited it."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Bundle:
    """All statements in the order in which they run."""

    schema: ResolvedSchema
    statements: tuple[Statement, ...]

    def text(self, *, tables: bool = True) -> str:
        """The bundle as one `.sql` text under a header; runs in one transaction under `psql -v ON_ERROR_STOP=1 -f`."""
        chosen = [s for s in self.statements if tables or not s.migrates]
        return "".join(_render(self.schema, chosen))


def compile_schema(schema: ResolvedSchema, row_security_was_on: Mapping[str, bool] | None = None) -> Bundle:
    """The SQL of a schema. `row_security_was_on` says by model key whose table had row security of its own before."""
    was_on = row_security_was_on or {}
    models = sorted(schema.models, key=lambda m: m.key)
    statements: list[Statement] = []
    tables = [Statement(model.key, **step) for model in models for step in table_statements(schema, model)]
    statements.extend(sorted(tables, key=lambda s: s.kind == "foreign_key"))  # a reference needs the other table
    for model in models:
        for signature, sql in render_functions(model, schema).items():
            statements.append(
                Statement(
                    model.key,
                    "function",
                    signature,
                    sql + _comment(f"FUNCTION {signature}", model.key, sql),
                    undo=f"DROP FUNCTION IF EXISTS {signature};",
                )
            )
        statements.extend(_on_table(model, rls_was_off=not was_on.get(model.key, False)))
    for signature, sql in render_dispatchers(models).items():
        statements.append(Statement("", "function", signature, sql + _comment(f"FUNCTION {signature}", "", sql)))
    return Bundle(schema=schema, statements=tuple(statements))


def removal(namespace: str, table: str, key: str, *, rls_was_off: bool) -> str:
    """The statements that take pgsync off a model's table; the table and its rows stay."""
    return sqlfiles.render(
        "on_table/remove.sql",
        key=key,
        table=f"{quote(namespace)}.{quote(table)}",
        namespace_literal=literal(namespace),
        table_literal=literal(table),
        identity_literal=literal(f"{quote(namespace)}.{quote(table)}"),
        rls_was_off=rls_was_off,
    )


def needs_full_identity(model: ResolvedModel) -> bool:
    """Whether the log must carry whole old rows: when visibility depends on more than the tenant and the id.

    A membership decides what somebody else may see, so what it said before it changed or went must be known.
    """
    stable = {model.id.column, model.tenant_column}
    return model.rule is not None or model.grants is not None or any(g.column not in stable for g in model.groups)


def _on_table(model: ResolvedModel, *, rls_was_off: bool) -> Iterator[Statement]:
    names = TableNames(model)
    writable = "true"
    if names.tenant is not None:
        writable = f"{names.tenant} = {names.tenant_value('(SELECT pgsync.organization_id())')}"
    context = {
        "key": model.key,
        "name": model.name,
        "table": names.table,
        "namespace": quote(model.namespace),
        "namespace_literal": literal(model.namespace),
        "table_literal": literal(model.table),
        "identity_literal": literal(names.table),
        "tenant": names.tenant,
        "tenant_literal": literal(model.tenant_column or ""),
        "readable": readable(model),
        "writable": writable,
        "grant_literal": literal(model.typename.lower()),
        "rls_was_off": rls_was_off,
        "full": needs_full_identity(model),
        "enforced": model.claims == "enforced",
        "key_literal": literal(model.key),
        "id_literal": literal(model.id.column),
        "fields_literal": literal(json.dumps({f.column: f.name for f in model.fields}, sort_keys=True)),
        "conflict_literal": literal(json.dumps(dict(model.conflict or {}), sort_keys=True)),
    }
    undo = removal(model.namespace, model.table, model.key, rls_was_off=rls_was_off)
    for kind, lock in (
        ("row_security", "ACCESS EXCLUSIVE, no scan"),
        ("triggers", "SHARE ROW EXCLUSIVE"),
        ("grants", "none"),
        ("replication", "ACCESS EXCLUSIVE, no scan"),
    ):
        sql = sqlfiles.render(f"on_table/{kind}.sql", **context)
        yield Statement(model.key, kind, names.table, sql, lock=lock, undo=undo if kind == "row_security" else "")


def _comment(what: str, model: str, sql: str) -> str:
    digest = hashlib.sha256(sql.encode()).hexdigest()[:16]
    about = f"model={model} " if model else ""
    return f"COMMENT ON {what} IS '[pgsync {about}hash={digest}]';\n"


def _render(schema: ResolvedSchema, statements: list[Statement]) -> Iterator[str]:
    models = sorted({s.model for s in statements if s.model})
    yield f"-- pgsync: what the schema with hash {schema.hash} puts into a database.\n"
    yield f"-- Models: {', '.join(models) or 'none'}.\n"
    yield "-- Needs: what sql/ installs (roles, namespaces, functions), and the rights of the owner of the tables.\n"
    yield "-- Locks: up to ACCESS EXCLUSIVE on each model's table, for a moment; nothing is rewritten or scanned.\n"
    yield "-- Undo: run the statements at each model's head.\n"
    yield "BEGIN;\n"
    yield "SET LOCAL lock_timeout = '5s';\n"
    yield "SET LOCAL search_path = '';\n"
    current: str | None = None
    told: set[str] = set()
    for statement in statements:
        if statement.model != current:
            current = statement.model
            yield f"\n\n-- ===== {current or 'all models'} =====\n"
            undo = [s.undo for s in reversed(statements) if s.model == current and s.undo]
            if undo and current not in told:
                told.add(current)
                yield "-- Undo:\n"
                yield from (f"--   {line}\n" for text in undo for line in text.rstrip("\n").split("\n"))
        yield f"\n-- {statement.kind} {statement.identity}"
        yield f" (lock: {statement.lock})\n" if statement.lock != "none" else "\n"
        yield statement.sql
    yield "\nCOMMIT;\n"
