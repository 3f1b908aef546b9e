"""The difference between a database and a schema as a list of steps.

Additive steps are planned; what would lose data or break connected clients is refused by name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import orjson

from pgsync import sqlfiles
from pgsync.compile import Bundle, compile_schema
from pgsync.compile.bundle import removal
from pgsync.compile.functions import TableNames
from pgsync.compile.tables import add_column, change_enum_values, drop_not_null, is_not_null
from pgsync.errors import PgsyncError
from pgsync.models import Model, model_to_json
from pgsync.names import literal
from pgsync.push.install import install_steps
from pgsync.push.introspect import Installed, Table
from pgsync.push.step import Step
from pgsync.schema.resolved import ResolvedModel, ResolvedSchema, to_runtime

__all__ = ["Plan", "PushError", "Step", "make_plan"]


class PushError(PgsyncError):
    """A schema that cannot be pushed into this database as things are; `details["problems"]` says why, one by one."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a push will run, in order; empty when the database is in sync.

    `document_hash`: the schema hash (1.12). `begin`: what the transaction begins with, timeouts and the lock of pushes.
    """

    steps: tuple[Step, ...]
    document_hash: str
    models: int
    begin: str = ""

    @property
    def sql(self) -> str:
        """The text that a push runs, as one script."""
        head = "-- pgsync push: the statements below, in one transaction.\nBEGIN;\n"
        body = "".join(f"\n-- {step.title}\n{step.sql.rstrip()}\n" for step in self.steps)
        return head + self.begin + body + "\nCOMMIT;\n"


def make_plan(
    schema: ResolvedSchema,
    installed: Installed,
    tables: dict[tuple[str, str], Table],
    *,
    migrate: bool,
    force: bool,
    begin: str = "",
) -> Plan:
    """The steps from `installed` to `schema`.

    `begin` is the text that the transaction begins with. Raises PushError: `model_not_provisioned` for tables that are
    missing (unless `migrate` may make them) or do not fit, `incompatible_change` for what the previous version has and
    this one lacks (unless `force`).
    """
    problems = [*_misfits(schema, installed, tables, migrate=migrate)]
    if problems:
        message = _say("the tables do not fit the schema", problems)
        raise PushError("model_not_provisioned", message, details={"problems": problems})
    removed = [m for m in installed.models if schema.model(m.key) is None]
    if not force:
        losses = [*_losses(schema, installed, removed)]
        if losses:
            message = _say("the push would break connected clients (force it to go on)", losses)
            raise PushError("incompatible_change", message, details={"unexecutable": losses})

    was_on = {
        m.key: t.row_security_was_on for m in schema.models if (t := tables.get((m.namespace, m.table))) is not None
    }
    bundle = compile_schema(schema, was_on)
    steps = [*install_steps(installed)]
    for model in removed:
        steps.extend(_remove(model, installed, tables.get((model.namespace, model.table))))
    steps.extend(_create(bundle, installed, tables, migrate=migrate))
    ours = _ours(schema, installed, tables)
    objects = [
        {"model": s.model, "kind": s.kind, "identity": s.identity, "hash": s.hash}
        for s in bundle.statements
        if not s.migrates or s.model in ours
    ]
    definition_hash = _definition_hash(schema, bundle)
    if steps or definition_hash != installed.definition_hash:
        steps.append(_activate(schema, definition_hash, objects))
    return Plan(steps=tuple(steps), document_hash=schema.hash, models=len(schema.models), begin=begin)


def _say(head: str, problems: Sequence[str]) -> str:
    return head + ":\n" + "\n".join(f"  {p}" for p in problems)


def _misfits(
    schema: ResolvedSchema, installed: Installed, tables: dict[tuple[str, str], Table], *, migrate: bool
) -> Iterator[str]:
    for model in schema.models:
        where = f"{model.key}: table {model.namespace}.{model.table}"
        table = tables.get((model.namespace, model.table))
        if table is None:
            if not migrate:
                yield f"{where} does not exist; create it, or push without --no-tables"
            continue
        if table.kind not in ("r", "p"):
            yield f"{where} is not a table; name a table of this database in the model"
            continue
        key = [c for c in (model.tenant_column, model.id.column) if c is not None]
        if list(table.primary_key) not in (sorted(key), [model.id.column]):
            # Writes find a row by it, and it is what the log says of a row that is gone.
            wanted = " or ".join(dict.fromkeys((f"({', '.join(key)})", f"({model.id.column})")))
            yield f"{where}, its primary key is ({', '.join(table.primary_key)}); it has to be {wanted}"
        for f in model.fields:
            column = table.columns.get(f.column)
            if column is None:
                if not migrate or not _made_by_us(model, installed):
                    yield f"{where} has no column {f.column} for field {f.name}; add it as {f.sql_type}"
            elif column.sql_type != f.sql_type:
                said = f"column {f.column} is {column.sql_type}, field {f.name} says {f.sql_type}"
                yield f"{where}, {said}; change one of them"


def _losses(schema: ResolvedSchema, installed: Installed, removed: Sequence[Model]) -> Iterator[str]:
    for gone in removed:
        yield f"model {gone.key} is gone from the schema; its table and rows would stay, its clients would break"
    for before in installed.models:
        model = schema.model(before.key)
        if model is None:
            continue
        if (before.namespace, before.table) != (model.namespace, model.table):
            yield f"model {before.key} moves from table {before.table} to {model.table}"
        for f in before.fields:
            now = model.field(f.name)
            where = f"field {before.key}.{f.name}"
            if now is None:
                yield f"{where} is gone from the schema; its column and values would stay"
                continue
            if now.enum_values is not None and f.enum_values is None:
                yield f"{where} takes only {', '.join(map(repr, now.enum_values))} from now on"
            elif now.enum_values is not None:
                lost = [v for v in f.enum_values or () if v not in now.enum_values]
                if lost:
                    yield f"{where} loses the values {', '.join(map(repr, lost))}"
            if not f.required and now.strict and not now.nullable:
                yield f"{where} becomes required; rows may have none"


def _made_by_us(model: ResolvedModel, installed: Installed) -> bool:
    return installed.hash_of("table", TableNames(model).table) is not None


def _ours(schema: ResolvedSchema, installed: Installed, tables: dict[tuple[str, str], Table]) -> set[str]:
    """The keys of the models whose tables a push made or is about to make."""
    return {m.key for m in schema.models if (m.namespace, m.table) not in tables or _made_by_us(m, installed)}


def _create(
    bundle: Bundle, installed: Installed, tables: dict[tuple[str, str], Table], *, migrate: bool
) -> Iterator[Step]:
    ours = _ours(bundle.schema, installed, tables)
    for statement in bundle.statements:
        if statement.migrates and (not migrate or statement.model not in ours):
            continue
        model = bundle.schema.model(statement.model)
        table = tables.get((model.namespace, model.table)) if model is not None else None
        if statement.kind == "table" and model is not None and table is not None:
            yield from _change_table(model, installed, table)
            continue
        if installed.hash_of(statement.kind, statement.identity) == statement.hash:
            continue
        title = f"{statement.model or 'all models'}: {statement.kind.replace('_', ' ')} {statement.identity}"
        yield Step(title, statement.sql, lock=statement.lock)


def _change_table(model: ResolvedModel, installed: Installed, table: Table) -> Iterator[Step]:
    before = next((m for m in installed.models if m.key == model.key), None)
    for f in model.fields:
        column = table.columns.get(f.column)
        was = before.field_of_column(f.column) if before is not None else None
        if column is None:
            lock = "ACCESS EXCLUSIVE, no scan" if f.enum_values is None else "ACCESS EXCLUSIVE, reads the table"
            yield Step(f"{model.key}: add field {f.name}", add_column(model, f), lock=lock)
            continue
        if was is not None and was.enum_values != f.enum_values:
            title = f"{model.key}: change the values of field {f.name}"
            yield Step(title, change_enum_values(model, f), lock="ACCESS EXCLUSIVE, reads the table")
        if column.not_null and not is_not_null(model, f):
            title = f"{model.key}: make field {f.name} optional"
            yield Step(title, drop_not_null(model, f), lock="ACCESS EXCLUSIVE, no scan")


def _remove(model: Model, installed: Installed, table: Table | None) -> Iterator[Step]:
    if table is not None:
        was_off = not table.row_security_was_on
        sql = removal(model.namespace, model.table, model.key, rls_was_off=was_off)
        yield Step(f"{model.key}: take pgsync off the table", sql, lock="ACCESS EXCLUSIVE, no scan")
    for found in (installed.objects or {}).values():
        if found.model == model.key and found.kind == "function":
            yield Step(f"{model.key}: drop {found.identity}", f"DROP FUNCTION IF EXISTS {found.identity};\n")


def _definition_hash(schema: ResolvedSchema, bundle: Bundle) -> str:
    digest = hashlib.sha256(orjson.dumps(schema.document, option=orjson.OPT_SORT_KEYS))
    for statement in bundle.statements:
        digest.update(statement.hash.encode())
    return digest.hexdigest()


def _activate(schema: ResolvedSchema, definition_hash: str, objects: list[dict[str, str]]) -> Step:
    arguments = [
        literal(schema.hash),
        literal(definition_hash),
        literal(json.dumps(schema.document, ensure_ascii=False)),
        literal(json.dumps([model_to_json(to_runtime(m)) for m in schema.models], ensure_ascii=False)),
        literal(json.dumps(objects, ensure_ascii=False)),
    ]
    sql = sqlfiles.render("push/activate.sql", arguments=arguments)
    return Step("activate this version", sql)
