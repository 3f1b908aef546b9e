"""The bundle that a DBA reads and applies with psql: roles.sql, push.sql, concurrent.sql, revert.sql.

Made of the same statements that `pgsync push` runs, so that both end in the same catalog.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pgsync import sqlfiles
from pgsync.compile import runtime
from pgsync.compile.bundle import Bundle, Statement, removal
from pgsync.compile.functions import TableNames
from pgsync.compile.tables import (
    MARK,
    add_foreign_key,
    create_index,
    create_table,
    foreign_keys,
    indexes,
    mark_index,
)
from pgsync.names import literal, quote
from pgsync.schema.resolved import ResolvedModel, ResolvedSchema

FILES = ("roles.sql", "push.sql", "concurrent.sql", "revert.sql")
"""In the order in which they are run; the last takes all of it back."""


def bundle_files(bundle: Bundle, *, migrate: bool) -> Mapping[str, str]:
    """The text of each of `FILES`. `migrate`: push.sql also makes the tables that are missing."""
    values = _values(bundle, migrate=migrate)
    return {name: sqlfiles.render(f"bundle/{name}", **values) for name in FILES}


def model_script(bundle: Bundle) -> str:
    """What push.sql does for the models, tables included, without runtime and activation, as a script of its own."""
    return sqlfiles.render("bundle/models.sql", **_values(bundle, migrate=True))


def source_version() -> str:
    """The version of pgsync that compiles."""
    try:
        return version("pgsync-layer")
    except PackageNotFoundError:  # run from a checkout that was not installed
        return "of a checkout"


def _values(bundle: Bundle, *, migrate: bool) -> dict[str, Any]:
    models = sorted(bundle.schema.models, key=lambda m: m.key)
    keys = [m.key for m in models]
    return {
        "version": source_version(),
        "hash": bundle.schema.hash,
        "definition_hash": bundle.definition_hash,
        "keys": keys,
        "migrate": migrate,
        "roles": runtime.roles(),
        "migrations": [{"name": literal(m.name), "sql": m.sql} for m in runtime.migrations()],
        "publication": runtime.publication(),
        "first_dispatchers": [sql for _, sql in runtime.first_dispatchers()],
        "runtime_functions": [f.sql for f in runtime.function_files()],
        "first_partitions": runtime.first_partitions(),
        "runtime_models": literal(bundle.runtime_models()),
        "tables": [_table(bundle.schema, m) for m in models],
        "nulls_one_column": any(k.nulls_one_column for m in models for k in foreign_keys(bundle.schema, m)),
        "functions": _by_model(keys, bundle.functions),
        "on_tables": _by_model(keys, bundle.on_tables),
        "dispatchers": bundle.dispatchers,
        "table_names": [TableNames(m).table for m in models],
        "activation": bundle.activation(),
        "removals": [{"key": m.key, "sql": removal(m.namespace, m.table, m.key)} for m in models],
        "model_undos": [(s.model, s.undo) for s in bundle.functions],
        "uninstall": sqlfiles.read("uninstall.sql"),
    }


def _by_model(keys: Sequence[str], statements: Sequence[Statement]) -> list[dict[str, Any]]:
    return [{"key": key, "statements": [s for s in statements if s.model == key]} for key in keys]


def _table(schema: ResolvedSchema, model: ResolvedModel) -> dict[str, Any]:
    names = TableNames(model)
    return {
        "key": model.key,
        "name": model.name,
        "table": names.table,
        "literal": literal(names.table),
        "mark": literal(f"{MARK}{model.key}]"),
        "create": create_table(model),
        "indexes": [
            {
                "create": create_index(model, index),
                "concurrently": create_index(model, index, concurrently=True),
                "mark": mark_index(model, index),
                "name": literal(index.name),
                "qualified": f"{quote(model.namespace)}.{quote(index.name)}",
                "literal": literal(f"{quote(model.namespace)}.{quote(index.name)}"),
            }
            for index in indexes(model)
        ],
        "references": [
            {
                "valid": add_foreign_key(model, key, valid=True),
                "not_valid": add_foreign_key(model, key, valid=False),
                "name": quote(key.name),
                "literal": literal(key.name),
            }
            for key in foreign_keys(schema, model)
        ],
    }
